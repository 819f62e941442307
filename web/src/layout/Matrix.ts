/** The values of one site or weight at one level: 0 is exact, n is pooled 2^n x 2^n over the last two axes. */
export interface Matrix {
  address: string;
  axes: string[];
  /** In the order of `axes`. */
  shape: number[];
  level: number;
  values: Float32Array;
}
