/** Where the ride down a token's column stands: at a boundary, and at the part that mattered there, if one did. */
export interface RideStop {
  boundary: number;
  part: string | null;
}
