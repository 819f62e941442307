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
  // The scene lays weights on the ground as the shader does: three quarters of their colour, over what it leaves of it.
  const { ground, weight } = RAMPS[theme];
  const { weight: etched, opacity } = PALETTES[theme];
  for (const [sign, { r, g, b }] of [etched[1], etched[0]].entries()) {
    const onGround = [r, g, b].map((part, at) =>
      Math.round(part * 255 * 0.75 + (ground[at] ?? 0) * (1 - 0.75 * opacity)),
    );
    for (const [at, part] of onGround.entries())
      expect(Math.abs(part - (weight[sign]?.[at] ?? 0)), `${theme} ${onGround}`).toBeLessThanOrEqual(1);
  }
});

test("zero is the ground, the limit is full brightness, and what is masked has no colour", () => {
  const colour = (value: number, limit: number, scale: "diverging" | "probability" = "diverging") =>
    colourOf(value, { limit, scale, logarithmic: false, theme: "dark" });
  expect(colour(0, 2)).toEqual(RAMPS.dark.ground);
  expect(colour(2, 2)).toEqual(RAMPS.dark.positive[2]);
  expect(colour(-5, 2)).toEqual(RAMPS.dark.negative[2]);
  expect(colour(2, 3, "probability")).toEqual(RAMPS.dark.probability[1]);
  expect(colour(Number.NEGATIVE_INFINITY, 2)).toBeNull();
  expect(colour(1, 0)).toEqual(RAMPS.dark.ground);
});

test("a logarithmic scale shows a hundredth beside the largest", () => {
  const scale = { limit: 1000, scale: "diverging", theme: "dark" } as const;
  const dim = colourOf(10, { ...scale, logarithmic: false });
  const seen = colourOf(10, { ...scale, logarithmic: true });
  expect(dim?.[0]).toBeLessThan(RAMPS.dark.ground[0] + 8);
  expect(seen?.[0]).toBeGreaterThan(RAMPS.dark.ground[0] + 100);
  expect(colourOf(1000, { ...scale, logarithmic: true })).toEqual(RAMPS.dark.positive[2]);
});
