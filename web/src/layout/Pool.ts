/** A cell that is known at a coarse level only: the value of largest magnitude among so many cells. */
export interface Pool {
  value: number | null;
  rows: number;
  columns: number;
}
