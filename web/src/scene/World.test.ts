import { expect, test } from "vitest";
import { sampleAnatomy, TALES } from "../layout/sampleAnatomy";
import { SAMPLE_TEXTS } from "../layout/sampleTexts";
import { World } from "./World";

test("a tile is as wide as its text in the face that it is set in", () => {
  const world = new World();
  const widthOf = (special: boolean) => {
    const token = { id: 1, text: "<|bos|>", special };
    const measure = (text: string, face: string) => text.length * (face === "mono" ? 0.6 : 0.3);
    world.place(sampleAnatomy(TALES), [token], 390, measure, SAMPLE_TEXTS);
    const { width = 0, size = 1 } = world.tiles[0] ?? {};
    return width / size;
  };
  // Control tokens are set in mono, four fifths as large.
  expect(widthOf(true) - widthOf(false)).toBeCloseTo(7 * (0.6 * 0.8 - 0.3));
});
