/** How magnitudes become brightness. */
export interface Scaling {
  /** One scale for the same matrix of all blocks, so that they can be compared. */
  shared: boolean;
  logarithmic: boolean;
}
