import { expect, test } from "vitest";
import { createAppStore } from "./createAppStore";
import { rideStops, startRide, stepRide } from "./rideStops";
import { spainEffects, spainReading, testedPart } from "./spainReading";

const told = (...stops: ReturnType<typeof rideStops>) =>
  stops.map(({ kind, boundary, part }) => `${kind} ${boundary}${part ? ` ${part}` : ""}`);

test("the ride stops where the reading says that it mattered, from the tile down to the bar", () => {
  expect(told(...rideStops(spainReading, spainEffects))).toEqual([
    "tile 0 token.18",
    "embedding 0",
    "part 1 mlp.0",
    // Of the parts the four that cost most, at their depth; of other words the two likeliest that come up.
    "part 2 head.1.3",
    "part 23 mlp.22",
    "part 25 head.24.4",
    "part 25 mlp.24",
    "word 26",
    "word 27",
    "leads 30",
    "bar 30",
  ]);
});

test("without effects it tells words alone, and on a model where no part is worth much still two parts", () => {
  expect(told(...rideStops(spainReading, null))).toEqual([
    "tile 0 token.18",
    "embedding 0",
    "word 26",
    "word 27",
    "leads 30",
    "bar 30",
  ]);
  const parts = ["head.3.0", "mlp.3", "head.2.1", "mlp.1"].map((name, at) =>
    testedPart(name, 0.59 - at / 1000, spainReading.token),
  );
  const stopped = told(...rideStops(spainReading, { ...spainEffects, parts })).filter((stop) =>
    stop.startsWith("part"),
  );
  expect(stopped).toEqual(["part 2 mlp.1", "part 3 head.2.1"]);
  // There all heads of a block together may be.
  const whole = testedPart("attention.2", 0.1, spainReading.token);
  const withWhole = rideStops(spainReading, { ...spainEffects, parts: [...parts, whole] });
  expect(told(...withWhole)).toContain("part 3 attention.2");
});

test("a word that another one leads at the end takes no lead, and effects of another word are not told", () => {
  const reading = { ...spainReading, token: { id: 7476, text: " Spain" } };
  const stops = told(...rideStops(reading, spainEffects));
  expect(stops.some((stop) => stop.startsWith("leads"))).toBe(false);
  expect(stops.some((stop) => stop.startsWith("part"))).toBe(false);
});

test("a ride starts when everything is tested, steps within its stops, and leaves what was selected", () => {
  const ready = { status: "ready" as const, error: null };
  const store = createAppStore({
    reading: { ...ready, value: spainReading },
    effects: { ...ready, status: "loading", value: spainEffects },
    selection: { address: "q.0", index: [0] },
  });
  store.setState(startRide);
  expect(store.getState().ride).toBe(null);
  store.setState({ effects: { ...ready, value: spainEffects } });
  store.setState(startRide);
  expect(store.getState()).toMatchObject({ ride: 0, selection: null });
  store.setState((state) => stepRide(state, -1));
  expect(store.getState().ride).toBe(0);
  store.setState((state) => stepRide(state, 1));
  store.setState((state) => stepRide(state, Number.POSITIVE_INFINITY));
  expect(store.getState().ride).toBe(10);
});
