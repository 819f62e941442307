/** Runs a part of a frame; its failure is told, and does not take the rest of the picture with it. */
export function guarded(part: () => void): void {
  try {
    part();
  } catch (error) {
    console.error("a part of the scene could not be drawn", error);
  }
}
