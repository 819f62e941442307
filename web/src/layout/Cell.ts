/** One cell of a site or weight: indices in the order of its axes, at level 0. */
export interface Cell {
  address: string;
  index: number[];
}
