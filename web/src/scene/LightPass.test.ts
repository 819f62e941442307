import { expect, test } from "vitest";
import { LightPass } from "./LightPass";

test("light runs from the first site past the last, then rests", () => {
  const light = new LightPass();
  light.play(2);
  expect(light.advance(1000)).toMatchObject({ pass: 0, running: true });
  const half = light.advance(2000);
  expect(half.pass).toBeGreaterThan(0.4);
  expect(half.pass).toBeLessThan(0.7);
  const end = light.advance(3001);
  expect(end.pass).toBeGreaterThan(1);
  expect(end.running).toBe(false);
});

test("scrubbing runs both ways and stops the pass", () => {
  const light = new LightPass();
  light.play(2);
  light.scrub(0.7);
  const later = light.advance(0);
  light.scrub(0.2);
  expect(light.advance(16).pass).toBeLessThan(later.pass);
  expect(light.advance(16).running).toBe(false);
});

test("reduced motion shows the end state at once", () => {
  const light = new LightPass();
  light.reducedMotion = true;
  light.play();
  light.freshen(3);
  light.arrive(3);
  expect(light.advance(0)).toEqual({ pass: 2, newest: [-1, 0], arriving: null, running: false });
});

test("a new column glows for a while", () => {
  const light = new LightPass();
  light.freshen(5);
  expect(light.advance(0).newest).toEqual([5, 1]);
  expect(light.advance(350).newest[1]).toBeLessThan(0.5);
  expect(light.advance(800)).toMatchObject({ newest: [-1, 0], running: false });
});
