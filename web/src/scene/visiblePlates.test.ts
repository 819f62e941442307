import { expect, test } from "vitest";
import type { View } from "../layout/Camera";
import type { Plate } from "../layout/Plate";
import { SteadyLevels } from "./SteadyLevels";
import { wantedOf } from "./visiblePlates";

const view = (distance: number, target: [number, number, number] = [0, 0, 0]): View => ({
  pose: { target, yaw: 0, pitch: 0, distance },
  width: 1000,
  height: 800,
  offset: { x: 0, y: 0 },
});

/** A plate that faces the camera, a unit for a cell. */
function plate(name: string, columns: number, rows: number, other: Partial<Plate> = {}): Plate {
  return {
    name,
    kind: "weight",
    station: "end",
    block: null,
    axes: ["row", "column"],
    lead: -1,
    leads: 1,
    corner: [-columns / 2, rows / 2, 0],
    right: [columns, 0, 0],
    down: [0, -rows, 0],
    thickness: 1,
    brightness: 1,
    columns: { axis: 1, count: columns },
    rows: { axis: 0, count: rows },
    paint: "weight",
    order: [0, 1],
    refused: null,
    unchecked: false,
    inputs: [],
    ...other,
  };
}

test("of a large matrix only what is on the screen is wanted, exactly where it is near, as the store is cut", () => {
  const large = plate("embed", 49152, 576, {
    columns: { axis: 0, count: 49152 },
    rows: { axis: 1, count: 576 },
  });
  const near = wantedOf([large], view(60), true, new SteadyLevels());
  expect(near.length).toBeGreaterThan(0);
  expect(near.length).toBeLessThan(12);
  for (const { level, part } of near) {
    expect(level).toBe(0);
    expect([(part?.row ?? 1) % 64, (part?.column ?? 1) % 512]).toEqual([0, 0]);
    // The plate shows the matrix on its side: its columns are rows.
    expect(part).toMatchObject({ ofRows: 49152, ofColumns: 576 });
    expect(Math.abs((part?.row ?? 0) - 49152 / 2)).toBeLessThan(200);
  }
  const [far, ...rest] = wantedOf([large], view(60_000), true, new SteadyLevels());
  expect(rest).toEqual([]);
  expect(far?.part).toBeUndefined();
  expect(far?.level).toBeGreaterThan(3);
});

test("one head is wanted by itself, and what is largest on the screen first", () => {
  const head = (lead: number, size: number): Plate =>
    plate("attn_probs.0", size, size, {
      kind: "site",
      axes: ["head", "query", "key"],
      lead,
      leads: 9,
      columns: { axis: 2, count: size },
      rows: { axis: 1, count: size },
    });
  const wanted = wantedOf(
    [plate("w", 60, 60), head(3, 12), head(4, 60)],
    view(100),
    true,
    new SteadyLevels(),
  );
  expect(wanted.map(({ name, lead }) => [name, lead])).toEqual([
    ["attn_probs.0", 4],
    ["w", undefined],
    ["attn_probs.0", 3],
  ]);
  expect(wantedOf([head(3, 50)], view(100), false, new SteadyLevels())).toEqual([]);
});
