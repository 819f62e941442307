/** A tensor that the camera can see, and the level at which its cells are about a pixel. */
export interface Wanted {
  name: string;
  kind: "site" | "weight";
  level: number;
}
