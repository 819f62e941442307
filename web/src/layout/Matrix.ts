/** Part of a matrix at a level: its first row and column there, and how many cells the whole matrix has at that level. */
export interface MatrixPart {
  row: number;
  column: number;
  ofRows: number;
  ofColumns: number;
}

/** The values of one site or weight at one level: 0 is exact, n is pooled 2^n x 2^n over the last two axes. */
export interface Matrix {
  address: string;
  axes: string[];
  /** In the order of `axes`; 1 along the leading axis where `lead` says which index of it this is. */
  shape: number[];
  level: number;
  values: Float32Array;
  /** Index along the leading axis (a head, an expert), where it was read alone. */
  lead?: number | undefined;
  /** Where not the whole matrix was read. */
  part?: MatrixPart | undefined;
}
