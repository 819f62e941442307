import { Color } from "three";
import { expect, test } from "vitest";
import type { View } from "../layout/Camera";
import { type RankedLine, readableLines } from "./readableLines";

const atlas = { measure: (text: string) => text.length * 0.5 };
const from = (distance: number): View => ({
  pose: { target: [0, 0, 0], yaw: 0, pitch: 0, distance },
  width: 1000,
  height: 800,
  offset: { x: 0, y: 0 },
});
const line = (text: string, x: number, rank: number): RankedLine => ({
  text,
  face: "sans",
  at: [x, 0, 0],
  color: new Color(),
  alpha: 1,
  align: "center",
  right: [10, 0, 0],
  up: [0, 10, 0],
  rank,
});

test("text of the world stays as it is where it can be read", () => {
  const lines = [line("Madrid", 0, 0), line("Spain", 60, 1)];
  expect(readableLines(lines, from(500), atlas)).toEqual(lines);
});

test("from where it cannot, what matters most is said in a readable size, and nothing over it", () => {
  const lines = [line("Lisbon", 20, 2), line("Madrid", 0, 0), line("far away", 5000, 3)];
  const shown = readableLines(lines, from(6000), atlas);
  expect(shown.map(({ text }) => text)).toEqual(["Madrid", "far away"]);
  for (const { sizePx, up } of shown) {
    expect(sizePx).toBeGreaterThan(9);
    expect(up).toBeUndefined();
  }
});

test("what is enlarged gives way to what stands there and can be read", () => {
  const small: RankedLine = { ...line("<|bos|>", 10, 0), right: [5, 0, 0], up: [0, 5, 0] };
  const shown = readableLines([small, line("Once", 0, 1)], from(1500), atlas);
  expect(shown.map(({ text }) => text)).toEqual(["Once"]);
});
