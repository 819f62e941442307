import { expect, test } from "vitest";
import { PALETTES } from "../scene/palette";
import { colourOf, RAMPS } from "./colourScale";

test.each(["dark", "light"] as const)("panels and scene colour values alike: %s", (theme) => {
  for (const scale of ["positive", "negative", "probability"] as const) {
    const inScene = PALETTES[theme][scale].map(({ r, g, b }) =>
      [r, g, b].map((part) => Math.round(part * 255)),
    );
    expect(RAMPS[theme][scale]).toEqual(inScene);
  }
});

test("zero is the ground, the limit is full brightness, and what is masked has no colour", () => {
  expect(colourOf(0, 2, "diverging", "dark")).toEqual(RAMPS.dark.ground);
  expect(colourOf(2, 2, "diverging", "dark")).toEqual(RAMPS.dark.positive[2]);
  expect(colourOf(-5, 2, "diverging", "dark")).toEqual(RAMPS.dark.negative[2]);
  expect(colourOf(2, 3, "probability", "light")).toEqual(RAMPS.light.probability[1]);
  expect(colourOf(Number.NEGATIVE_INFINITY, 2, "diverging", "dark")).toBeNull();
  expect(colourOf(1, 0, "diverging", "dark")).toEqual(RAMPS.dark.ground);
});
