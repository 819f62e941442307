import { expect } from "vitest";
import type { Pixels } from "./drive.ts";

/** Up to what glyphs that came in another order differ by. */
export function expectSamePicture(pixels: Pixels, other: Pixels): void {
  expect(pixels.backgroundLuminance).toBe(other.backgroundLuminance);
  expect(pixels.drawnShare).toBeCloseTo(other.drawnShare, 3);
  expect(Math.abs(pixels.distinctColors / other.distinctColors - 1)).toBeLessThan(0.01);
}
