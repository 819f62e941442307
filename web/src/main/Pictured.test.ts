import { expect, test } from "vitest";
import { Pictured } from "./Pictured";
import { RowSpans } from "./RowSpans";

test("runs of rows join where they meet, and what lies between is missing", () => {
  const rows = new RowSpans();
  for (const [start, stop] of [
    [4, 6],
    [0, 2],
    [9, 9],
    [6, 8],
  ] as const)
    rows.add(start, stop);
  expect(rows.all).toEqual([
    [0, 2],
    [4, 8],
  ]);
  expect(rows.gaps(10)).toEqual([
    [2, 4],
    [8, 10],
  ]);
  expect(rows.gaps(3)).toEqual([[2, 3]]);
  rows.add(1, 5);
  expect(rows.all).toEqual([[0, 8]]);
  rows.keep(3);
  expect(rows.gaps(4)).toEqual([[3, 4]]);
});

const HEAD = { name: "q.0", kind: "site", level: 0, lead: 3 } as const;
const matrix = (rows: number) => ({
  address: "q.0",
  axes: ["head", "pos", "d_head"],
  shape: [1, rows, 4],
  level: 0,
  lead: 3,
  values: new Float32Array(rows * 4),
});

test("what is drawn of a growing text needs no reading, but for rows that went by", () => {
  const pictured = new Pictured();
  const wanted = { ...HEAD, shown: { rows: 1, columns: 0 } };
  pictured.want([wanted]);
  expect(pictured.has(wanted)).toBe(false);
  pictured.take(matrix(10), 10);
  expect(pictured.has(wanted)).toBe(true);
  expect(pictured.gaps("q.0", 10)).toEqual([]);
  pictured.add("q.0", 10, 11);
  pictured.add("q.0", 14, 15);
  expect(pictured.gaps("q.0", 10)).toEqual([[11, 14]]);
  pictured.add("q.0", 11, 14, 3);
  expect(pictured.gaps("q.0", 15)).toEqual([]);
  // Another text that begins alike: of a pool that reached beyond its beginning nothing is left.
  pictured.keep(13, false);
  expect(pictured.gaps("q.0", 15)).toEqual([[13, 15]]);
  pictured.keep(13, true);
  expect(pictured.gaps("q.0", 15)).toEqual([[12, 15]]);
});

test("where all heads of a tensor are wanted together, all of them have to be there", () => {
  const pictured = new Pictured();
  const all = { name: "q.0", kind: "site", level: 0 } as const;
  pictured.want([all]);
  pictured.take(matrix(10), 10);
  expect(pictured.has(all, 4)).toBe(false);
  for (const lead of [0, 1, 2]) pictured.take({ ...matrix(10), lead }, 10);
  expect(pictured.has(all, 4)).toBe(true);
  const whole = { ...matrix(10), lead: undefined, shape: [4, 10, 4], values: new Float32Array(160) };
  pictured.clear();
  pictured.take(whole, 10);
  expect(pictured.has(all, 4)).toBe(true);
  pictured.want([all]);
  expect(pictured.gaps("q.0", 12)).toEqual([[10, 12]]);
});

test("a picture follows the camera away by itself, and is read again when it is too coarse, or was let go", () => {
  const pictured = new Pictured();
  const seen = (rows: number, columns: number) => ({ ...HEAD, shown: { rows, columns } });
  pictured.want([seen(0, 1)]);
  pictured.take(matrix(10), 10);
  const times = pictured.times("q.0");
  pictured.want([seen(2, 1)]);
  expect(pictured.has(seen(2, 1))).toBe(true);
  pictured.want([seen(0, 1)]);
  expect(pictured.has(seen(0, 1))).toBe(false);
  pictured.take(matrix(10), 10);
  expect(pictured.has(seen(0, 1))).toBe(true);
  expect(pictured.times("q.0")).not.toBe(times);
  pictured.want([]);
  expect(pictured.has(seen(0, 1))).toBe(false);
});
