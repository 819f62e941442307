import type { MatrixPart } from "../layout/Matrix";
import type { Level } from "./cellLevels";

/** A matrix that the camera can see, or the part of it that can be seen, and the level at which its cells are about a pixel. */
export interface Wanted {
  name: string;
  kind: "site" | "weight";
  level: number;
  /** Index along the leading axis, where it is read alone. */
  lead?: number | undefined;
  /** How coarse a whole matrix that grows is drawn: where a row or a column is less than a pixel, pools of them stand for it. */
  shown?: Level | undefined;
  /** In cells of the level; without it, the whole matrix. */
  part?: (MatrixPart & { rows: number; columns: number }) | undefined;
}
