import { expect, test } from "vitest";
import { RecordedRows, type Rows } from "./RecordedRows";

const AXES = ["head", "query", "key"];

/** Rows of a pattern with two heads, each cell its own number; masked ones are 0. */
function pattern(start: number, stop: number, keys = stop): Rows {
  const values = [0, 1].flatMap((head) =>
    range(start, stop).flatMap((row) =>
      range(0, keys).map((key) => (key > row ? 0 : 1 + head * 1e4 + row * 100 + key)),
    ),
  );
  return { start, stop, shape: [2, stop - start, keys], values: Float32Array.from(values), positions: stop };
}

/** Rows of a stream, pooled `level` times. */
function stream(start: number, stop: number, positions: number): Rows {
  const values = range(start, stop).flatMap((row) => [row, row + 0.5]);
  return { start, stop, shape: [stop - start, 2], values: Float32Array.from(values), positions };
}

const range = (start: number, stop: number) => Array.from({ length: stop - start }, (_, at) => start + at);

function withPreview(): RecordedRows {
  const rows = new RecordedRows(1 << 20);
  rows.turnTo("preview", 0);
  rows.add("preview", "probs", AXES, 0, pattern(0, 5));
  return rows;
}

test("what has come whole is found, and has no gaps", () => {
  const rows = withPreview();
  expect(rows.find("preview", "probs", 0, 5)?.values).toEqual(pattern(0, 5).values);
  expect(rows.gaps("preview", "probs", 0, 5)?.gaps).toEqual([]);
  expect(rows.find("other", "probs", 0, 5)).toBeNull();
  expect(rows.gaps("preview", "unknown", 0, 5)).toBeNull();
});

test("a recording that begins alike lacks what follows alone, and joins to the same as one read whole", () => {
  const rows = withPreview();
  rows.turnTo("written", 4);
  expect(rows.gaps("written", "probs", 0, 9)?.gaps).toEqual([[4, 9]]);
  rows.add("written", "probs", AXES, 0, pattern(6, 7));
  rows.add("written", "probs", AXES, 0, pattern(7, 9));
  expect(rows.gaps("written", "probs", 0, 9)?.gaps).toEqual([[4, 6]]);
  expect(rows.find("written", "probs", 0, 9)).toBeNull();
  rows.add("written", "probs", AXES, 0, pattern(4, 6));
  expect(rows.find("written", "probs", 0, 9)?.values).toEqual(pattern(0, 9).values);
  expect(rows.find("written", "probs", 0, 9)?.shape).toEqual([2, 9, 9]);
  // Asked for as it was before, it is that, and nothing is lost.
  expect(rows.find("written", "probs", 0, 5)?.shape).toEqual([2, 5, 5]);
  expect(rows.find("written", "probs", 0, 9)?.values).toEqual(pattern(0, 9).values);
});

test("what was on its way for the recording before counts as far as the two are one", () => {
  const rows = new RecordedRows(1 << 20);
  rows.turnTo("preview", 0);
  rows.turnTo("written", 4);
  rows.add("preview", "probs", AXES, 0, pattern(0, 5));
  rows.add("unrelated", "probs", AXES, 0, pattern(0, 9));
  expect(rows.gaps("written", "probs", 0, 9)?.gaps).toEqual([[4, 9]]);
  expect(rows.valueAt("probs", [1, 3, 2])).toBe(10303);
  expect(rows.valueAt("probs", [1, 4, 2])).toBeNull();
});

test("another text takes everything away", () => {
  const rows = withPreview();
  rows.turnTo("other", 0);
  expect(rows.gaps("other", "probs", 0, 5)).toBeNull();
  expect(rows.valueAt("probs", [0, 1, 0])).toBeNull();
});

test("a pool that has got more cells since is read again, and no other", () => {
  const rows = new RecordedRows(1 << 20);
  rows.turnTo("preview", 0);
  // 170 positions in pools of four: the last has two.
  rows.add("preview", "stream", ["pos", "d_model"], 2, stream(0, 43, 170));
  expect(rows.gaps("preview", "stream", 2, 170)?.gaps).toEqual([]);
  expect(rows.gaps("preview", "stream", 2, 180)?.gaps).toEqual([[168, 180]]);
  rows.turnTo("written", 166);
  expect(rows.gaps("written", "stream", 2, 180)?.gaps).toEqual([[164, 180]]);
  rows.add("written", "stream", ["pos", "d_model"], 2, stream(41, 45, 180));
  expect(rows.find("written", "stream", 2, 180)?.values).toEqual(stream(0, 45, 180).values);
});

test("a level that is not there yet is the last there is", () => {
  const rows = withPreview();
  expect(rows.find("preview", "probs", 3, 5)?.level).toBe(0);
  // With 70 positions there is a coarser level, of which nothing is known.
  expect(rows.gaps("preview", "probs", 3, 70)).toBeNull();
});

test("a pooled level alone tells which is the last there is", () => {
  const rows = new RecordedRows(1 << 20);
  rows.turnTo("preview", 0);
  rows.add("preview", "stream", ["pos", "d_model"], 2, stream(0, 43, 170));
  expect(rows.find("preview", "stream", 5, 170)?.level).toBe(2);
  expect(rows.gaps("preview", "stream", 3, 180)).toMatchObject({ level: 2, gaps: [[168, 180]] });
  // With 300 positions there is one more, and with 70 there is none of pools of four.
  expect(rows.gaps("preview", "stream", 3, 300)).toBeNull();
  expect(rows.find("preview", "stream", 5, 70)).toBeNull();
});

test("beyond its budget it forgets what was used longest ago", () => {
  const rows = new RecordedRows(3 * pattern(0, 5).values.byteLength);
  rows.turnTo("preview", 0);
  for (const name of ["a", "b", "c", "d"]) rows.add("preview", name, AXES, 0, pattern(0, 5));
  expect(rows.find("preview", "a", 0, 5)).toBeNull();
  expect(rows.find("preview", "d", 0, 5)).not.toBeNull();
});

test("rows that were replaced are forgotten, and so is whose first positions they were", () => {
  const rows = withPreview();
  rows.turnTo("written", 4);
  rows.forget();
  expect(rows.gaps("written", "probs", 0, 5)).toBeNull();
  rows.add("preview", "probs", AXES, 0, pattern(0, 4));
  expect(rows.valueAt("probs", [0, 1, 1])).toBeNull();
  rows.add("written", "probs", AXES, 0, pattern(0, 5));
  expect(rows.find("written", "probs", 0, 5)?.values).toEqual(pattern(0, 5).values);
});
