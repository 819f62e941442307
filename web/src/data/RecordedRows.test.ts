import { expect, test } from "vitest";
import type { Rows } from "./HeldRows";
import { RecordedRows } from "./RecordedRows";

const AXES = ["head", "query", "key"];
/** Bytes for rows that come live, where nothing depends on how many. */
const LIVE = 1 << 24;

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
  const rows = new RecordedRows(1 << 20, LIVE);
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
  const rows = new RecordedRows(1 << 20, LIVE);
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
  const rows = new RecordedRows(1 << 20, LIVE);
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
  const rows = new RecordedRows(1 << 20, LIVE);
  rows.turnTo("preview", 0);
  rows.add("preview", "stream", ["pos", "d_model"], 2, stream(0, 43, 170));
  expect(rows.find("preview", "stream", 5, 170)?.level).toBe(2);
  expect(rows.gaps("preview", "stream", 3, 180)).toMatchObject({ level: 2, gaps: [[168, 180]] });
  // With 300 positions there is one more, and with 70 there is none of pools of four.
  expect(rows.gaps("preview", "stream", 3, 300)).toBeNull();
  expect(rows.find("preview", "stream", 5, 70)).toBeNull();
});

test("beyond its budget it forgets what was used longest ago", () => {
  const rows = new RecordedRows(3 * pattern(0, 5).values.byteLength, LIVE);
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

/** The rows of one step of many tensors, as they come: all in one piece of memory. */
function frameOf(step: number, names: readonly string[], width: number): [string, Rows][] {
  const frame = new Float32Array(names.length * width).fill(step);
  return names.map((name, at) => {
    const values = frame.subarray(at * width, (at + 1) * width);
    return [name, { start: step, stop: step + 1, shape: [1, width], values, positions: step + 1 }];
  });
}

test("live rows let go of the frames that they came in, and take little more than their own size", () => {
  const rows = new RecordedRows(1 << 24, LIVE);
  rows.turnTo("written", 0);
  const names = Array.from({ length: 20 }, (_, at) => `resid_post.${at}`);
  for (let step = 0; step < 200; step++)
    for (const [name, own] of frameOf(step, names, 16))
      rows.add("written", name, ["pos", "d_model"], 0, own, true);
  const ownBytes = 20 * 200 * 16 * 4;
  expect(rows.bytes).toBeGreaterThanOrEqual(ownBytes);
  expect(rows.bytes).toBeLessThan(ownBytes * 1.25);
  expect(rows.valueAt("resid_post.7", [150, 3])).toBe(150);
  const parts = rows.after("resid_post.7", 100);
  expect(parts.length).toBeLessThan(16);
  for (const part of parts) expect(part.values.length).toBe((part.stop - part.start) * 16);
  const whole = rows.find("written", "resid_post.7", 0, 200);
  expect(whole?.values).toEqual(Float32Array.from({ length: 200 * 16 }, (_, at) => Math.floor(at / 16)));
});

test("of live rows of a pattern only the keys that are seen are held, and they come back as they were", () => {
  const rows = new RecordedRows(1 << 24, LIVE);
  const one = (start: number, stop: number) => {
    const { values, ...rest } = pattern(start, stop);
    return { ...rest, shape: [1, stop - start, stop], values: values.subarray(0, (stop - start) * stop) };
  };
  rows.turnTo("written", 0);
  rows.add("written", "probs 0", AXES, 0, one(0, 5));
  for (let row = 5; row < 299; row++) rows.add("written", "probs 0", AXES, 0, one(row, row + 1), true);
  rows.add("written", "probs 0", AXES, 0, one(299, 303), true);
  expect(rows.bytes).toBeLessThan(((303 * 304) / 2) * 4 * 1.25);
  expect(rows.valueAt("probs 0", [0, 60, 41])).toBe(1 + 6041);
  expect(rows.valueAt("probs 0", [0, 60, 61])).toBeNull();
  for (const { start, stop, shape, values } of rows.after("probs 0", 250)) {
    expect(shape).toEqual([1, stop - start, stop]);
    expect(values[(stop - start) * stop - 1]).toBe(1 + (stop - 1) * 101);
  }
  expect(rows.gaps("written", "probs 0", 0, 303)?.gaps).toEqual([]);
  expect(rows.find("written", "probs 0", 0, 303)?.values).toEqual(one(0, 303).values);
});

test("keys after the query that a model looks at are kept", () => {
  const rows = new RecordedRows(1 << 20, LIVE);
  rows.turnTo("written", 0);
  const seen = Float32Array.of(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8);
  rows.add("written", "probs 0", AXES, 0, {
    start: 2,
    stop: 4,
    shape: [1, 2, 4],
    values: seen,
    positions: 4,
  });
  expect(rows.valueAt("probs 0", [0, 2, 3])).toBe(Math.fround(0.4));
  expect(rows.after("probs 0", 0)[0]?.values).toEqual(seen);
});

test("what was written after the shared beginning takes nothing of the text before", () => {
  const rows = new RecordedRows(1 << 20, LIVE);
  rows.turnTo("one", 0);
  for (let row = 0; row < 12; row++)
    rows.add("one", "stream", ["pos", "d_model"], 0, stream(row, row + 1, row + 1));
  rows.turnTo("other", 7);
  expect(rows.valueAt("stream", [7, 0])).toBeNull();
  const other = (row: number) => ({ ...stream(row, row + 1, row + 1), values: Float32Array.of(-row, -row) });
  for (let row = 7; row < 9; row++) rows.add("other", "stream", ["pos", "d_model"], 0, other(row));
  expect(rows.after("stream", 0).map(({ start, stop }) => [start, stop])).toEqual([
    [0, 1],
    [1, 7],
    [7, 9],
  ]);
  expect([6, 7, 8].map((row) => rows.valueAt("stream", [row, 0]))).toEqual([6, -7, -8]);
});

test("live rows keep within a budget of their own: of all tensors the first positions go, and nothing that was read", () => {
  const budget = 64_000;
  const rows = new RecordedRows(1 << 20, budget);
  rows.turnTo("written", 0);
  const names = Array.from({ length: 20 }, (_, at) => `resid_post.${at}`);
  const prompt = {
    start: 0,
    stop: 10,
    shape: [10, 16],
    values: new Float32Array(160).fill(7),
    positions: 10,
  };
  for (const name of names) rows.add("written", name, ["pos", "d_model"], 0, prompt);
  const readBytes = rows.bytes;
  for (let step = 10; step < 300; step++) {
    for (const [name, own] of frameOf(step, names, 16))
      rows.add("written", name, ["pos", "d_model"], 0, own, true);
    expect(rows.bytes - readBytes).toBeLessThanOrEqual(budget);
  }
  for (const name of names) {
    expect(rows.valueAt(name, [299, 3])).toBe(299);
    expect(rows.valueAt(name, [5, 3])).toBe(7);
    const [gap, ...others] = rows.gaps("written", name, 0, 300)?.gaps ?? [];
    expect(others).toEqual([]);
    expect(gap?.[0]).toBe(10);
    // At least half of the budget is in use: 25 positions.
    expect(gap?.[1]).toBeLessThan(275);
  }
});

test("rows keep within the budget: what nobody asks for any more goes first", () => {
  const budget = 32_000;
  const rows = new RecordedRows(budget, LIVE);
  rows.turnTo("written", 0);
  const [early, late] = [
    ["a", "b", "c"],
    ["c", "d"],
  ];
  let most = 0;
  for (let step = 0; step < 200; step++) {
    for (const [name, own] of frameOf(step, step < 100 ? early : late, 16))
      rows.add("written", name, ["pos", "d_model"], 0, own);
    most = Math.max(most, rows.bytes);
  }
  expect(most).toBeLessThanOrEqual(budget);
  const held = ["a", "b", "c", "d"].filter((name) => rows.after(name, 0).length > 0);
  expect(held).toEqual(["b", "c", "d"]);
});
