import type { Box2, WebGLRenderer } from "three";
import { describe, expect, test } from "vitest";
import { Atlas, PAGE_SIDE } from "./Atlas";
import { EXACT } from "./cellLevels";
import { STATES } from "./cellStates";
import { ValueStore } from "./ValueStore";

const STREAM = ["pos", "d_model"];
const PATTERN = ["head", "query", "key"];

function count(size: number): Float32Array {
  return Float32Array.from({ length: size }, (_, index) => index + 1);
}

/** Numbers of both signs, no two alike. */
function noise(size: number): Float32Array {
  return Float32Array.from({ length: size }, (_, at) => Math.sin(at * 12.9898) * (1 + (at % 7)));
}

/** The cell of largest magnitude of each `down` x `across` cells, as one would write it down. */
function poolPlainly(cells: Float32Array, columns: number, down: number, across: number): Float32Array {
  const rows = cells.length / columns;
  const [pooledRows, pooledColumns] = [Math.ceil(rows / down), Math.ceil(columns / across)];
  return Float32Array.from({ length: pooledRows * pooledColumns }, (_, at) => {
    const [top, left] = [Math.floor(at / pooledColumns) * down, (at % pooledColumns) * across];
    const own: number[] = [];
    for (let row = top; row < Math.min(rows, top + down); row++)
      for (let column = left; column < Math.min(columns, left + across); column++)
        own.push(cells[row * columns + column] as number);
    return own
      .filter(Number.isFinite)
      .reduce((most, each) => (Math.abs(each) > Math.abs(most) ? each : most), 0);
  });
}

describe("the value store", () => {
  test("gives back what was put in, by index", () => {
    const store = new ValueStore();
    store.set({ address: "resid_pre.0", axes: STREAM, shape: [3, 4], level: 0, values: count(12) });
    expect(store.valueAt({ address: "resid_pre.0", index: [0, 0] })).toBe(1);
    expect(store.valueAt({ address: "resid_pre.0", index: [2, 3] })).toBe(12);
    expect(store.valueAt({ address: "resid_pre.0", index: [3, 0] })).toBeNull();
    expect(store.valueAt({ address: "resid_pre.9", index: [0, 0] })).toBeNull();
  });

  test("tells what is masked, broken and missing from numbers", () => {
    const store = new ValueStore();
    const values = Float32Array.from([1, Number.NEGATIVE_INFINITY, Number.NaN, 4]);
    store.set({ address: "attn_scores.0", axes: PATTERN, shape: [1, 2, 2], level: 0, values });
    store.set({ address: "mlp_out.0", axes: STREAM, shape: [2, 2], level: 0, values });
    const texels = (name: string) =>
      [0, 1].flatMap((row) => [0, 1].map((column) => store.sheet(name, 0)?.texelAt(EXACT, row, column)));
    expect(texels("attn_scores.0")).toEqual([1, STATES.masked, STATES.notANumber, 4].map(Math.fround));
    expect(texels("mlp_out.0")).toEqual([1, STATES.infinite, STATES.notANumber, 4].map(Math.fround));
    expect(store.sheet("mlp_out.0", 0)?.texelAt(EXACT, 2, 0)).toBe(Math.fround(STATES.absent));
    for (const index of [
      [0, 0, 1],
      [0, 1, 0],
    ])
      expect(store.valueAt({ address: "attn_scores.0", index })).toBeNull();
    expect(store.valueAt({ address: "attn_scores.0", index: [0, 1, 1] })).toBe(4);
  });

  test("a probability of a key that comes later is masked, one of zero before it is zero", () => {
    const store = new ValueStore();
    store.set({
      address: "attn_probs.0",
      axes: PATTERN,
      shape: [1, 2, 2],
      level: 0,
      values: Float32Array.of(1, 0, 0, 1),
    });
    expect(store.valueAt({ address: "attn_probs.0", index: [0, 0, 1] })).toBeNull();
    expect(store.valueAt({ address: "attn_probs.0", index: [0, 1, 0] })).toBe(0);
  });

  test("no cell has the number of a pool that it is in", () => {
    const store = new ValueStore();
    store.set({ address: "w", axes: ["row", "column"], shape: [2, 3], level: 2, values: count(6) });
    for (const [index, value] of [
      [[0, 0], 1],
      [[3, 3], 1],
      [[4, 8], 6],
    ] as const) {
      expect(store.valueAt({ address: "w", index: [...index] })).toBeNull();
      expect(store.poolAt({ address: "w", index: [...index] })).toEqual({ value, rows: 4, columns: 4 });
    }
    // A vector is pooled along its only axis.
    store.set({ address: "norm", axes: ["d_model"], shape: [3], level: 3, values: count(3) });
    expect(store.poolAt({ address: "norm", index: [9] })).toEqual({ value: 2, rows: 1, columns: 8 });
  });

  test("grows along the tokens, with keys, beyond its first room", () => {
    const store = new ValueStore();
    store.set({ address: "attn_probs.0", axes: PATTERN, shape: [2, 2, 2], level: 0, values: count(8) });
    for (let row = 2; row < 12; row++) {
      const values = new Float32Array(2 * (row + 1)).fill(row);
      store.append("attn_probs.0", PATTERN, [2, 0, 0], row, row + 1, values);
    }
    expect(store.valueAt({ address: "attn_probs.0", index: [1, 1, 1] })).toBe(8);
    expect(store.valueAt({ address: "attn_probs.0", index: [0, 11, 11] })).toBe(11);
    expect(store.valueAt({ address: "attn_probs.0", index: [1, 7, 3] })).toBe(7);
    expect(store.valueAt({ address: "attn_probs.0", index: [1, 7, 8] })).toBeNull();
  });

  test("takes rows of a tensor that it has not seen", () => {
    const store = new ValueStore();
    store.append("z.0", ["head", "pos", "d_head"], [2, 0, 2], 3, 5, count(8));
    expect(store.valueAt({ address: "z.0", index: [1, 4, 1] })).toBe(8);
    expect(store.valueAt({ address: "z.0", index: [0, 2, 0] })).toBeNull();
    expect(store.rangeOf("z.0")?.limit).toBeGreaterThan(0);
  });

  test("keeps the scale of the most exact values", () => {
    const store = new ValueStore();
    const put = (side: number, level: number, value: number) =>
      store.set({
        address: "w",
        axes: ["row", "column"],
        shape: [side, side],
        level,
        values: new Float32Array(side * side).fill(value),
      });
    put(4, 0, 0.5);
    put(2, 1, 9);
    expect(store.rangeOf("w")?.limit).toBe(0.5);
  });

  test("keeps within its pages: what is not wanted makes way, oldest first", () => {
    const store = new ValueStore(new Atlas(4));
    const put = (address: string, side = PAGE_SIDE) =>
      store.set({
        address,
        axes: ["row", "column"],
        shape: [side, side],
        level: 0,
        values: new Float32Array(side * side).fill(1),
      });
    for (const name of ["a", "b", "c", "d"]) put(name);
    store.want([{ name: "a" }, { name: "e" }]);
    put("e");
    expect(
      ["a", "b", "c", "d", "e"].filter((name) => store.valueAt({ address: name, index: [0, 0] }) === 1),
    ).toEqual(["a", "c", "d", "e"]);
    // What does not fit at all is there in part, and nothing wanted is lost for it.
    store.want(["a", "c", "d", "e", "f"].map((name) => ({ name })));
    put("f", 256);
    expect(store.valueAt({ address: "a", index: [PAGE_SIDE - 1, PAGE_SIDE - 1] })).toBe(1);
    expect(store.valueAt({ address: "f", index: [255, 255] })).toBeNull();
  });

  test("sends the rows of a new token and nothing else", () => {
    const atlas = new Atlas();
    const store = new ValueStore(atlas);
    const sent: number[] = [];
    const device = {
      copyTextureToTexture: (_from: unknown, _to: unknown, box: Box2) =>
        sent.push((box.max.x - box.min.x) * (box.max.y - box.min.y)),
    } as unknown as WebGLRenderer;
    store.set({ address: "attn_probs.0", axes: PATTERN, shape: [4, 40, 40], level: 0, values: count(6400) });
    store.set({ address: "resid_pre.0", axes: STREAM, shape: [40, 200], level: 0, values: count(8000) });
    store.upload(device);
    sent.length = 0;
    store.append("attn_probs.0", PATTERN, [4, 0, 0], 40, 41, count(4 * 41));
    store.append("resid_pre.0", STREAM, [0, 200], 40, 41, count(200));
    store.upload(device);
    expect(sent.reduce((sum, texels) => sum + texels, 0)).toBe(4 * 41 + 200);
    sent.length = 0;
    store.upload(device);
    expect(sent).toEqual([]);
  });

  test("takes no room for what comes after the queries, unless a model looks at it", () => {
    const side = 200;
    const cells = (seen: number) =>
      Float32Array.from({ length: side * side }, (_, at) => (at % side > Math.floor(at / side) ? seen : 0.5));
    // 28 of 49 pages are on the diagonal or below it.
    const store = new ValueStore(new Atlas(28 + 49));
    const put = (address: string, seen: number) =>
      store.set({ address, axes: PATTERN, shape: [1, side, side], level: 0, values: cells(seen) });
    expect([put("attn_probs.0", 0), put("attn_probs.1", 0.25)]).toEqual([true, true]);
    const value = (address: string, row: number, key: number) =>
      store.valueAt({ address, index: [0, row, key] });
    expect([value("attn_probs.0", 199, 10), value("attn_probs.0", 10, 199)]).toEqual([0.5, null]);
    expect([value("attn_probs.1", 199, 10), value("attn_probs.1", 10, 199)]).toEqual([0.5, 0.25]);
    expect(store.sheet("attn_probs.0", 0)?.texelAt(EXACT, 10, 199)).toBe(STATES.masked);
  });

  test("grows by a little, and sends again what it has", () => {
    const atlas = new Atlas();
    const store = new ValueStore(atlas);
    let sentTexels = 0;
    const device = {
      copyTextureToTexture: (_from: unknown, _to: unknown, box: Box2) => {
        sentTexels += (box.max.x - box.min.x) * (box.max.y - box.min.y);
      },
    } as unknown as WebGLRenderer;
    const side = 512;
    const put = (at: number) =>
      store.set({
        address: `w${at}`,
        axes: ["row", "column"],
        shape: [side, side],
        level: 0,
        values: new Float32Array(side * side).fill(at),
      });
    for (let at = 1; at <= 9; at++) put(at);
    store.upload(device);
    expect(atlas.bytes).toBe(10 * side * side * 4);
    sentTexels = 0;
    for (let at = 10; at <= 11; at++) put(at);
    store.upload(device);
    // One layer more than ten is two more, and all that there was goes to the new texture.
    expect([atlas.bytes, sentTexels]).toEqual([12 * side * side * 4, 11 * side * side]);
    expect([1, 10, 11].map((at) => store.valueAt({ address: `w${at}`, index: [511, 511] }))).toEqual([
      1, 10, 11,
    ]);
  });

  test("one head comes, grows and goes without the others", () => {
    const store = new ValueStore(new Atlas(2));
    const one = (lead: number) => ({
      address: "attn_probs.0",
      axes: PATTERN,
      shape: [1, 2, 2],
      level: 0,
      lead,
      values: Float32Array.of(1, 0, lead, 1),
    });
    const held = (lead: number) => store.valueAt({ address: "attn_probs.0", index: [lead, 1, 0] });
    store.set(one(5));
    store.set(one(2));
    expect([held(5), held(2), held(0)]).toEqual([5, 2, null]);
    // A live frame has all heads; those that nobody looks at take no room.
    store.append("attn_probs.0", PATTERN, [8, 0, 0], 2, 3, count(8 * 3));
    expect([0, 2, 5].map((lead) => store.valueAt({ address: "attn_probs.0", index: [lead, 2, 1] }))).toEqual([
      null,
      8,
      17,
    ]);
    store.append("attn_probs.0", PATTERN, [8, 0, 0], 3, 4, Float32Array.of(9, 9, 9, 9), 5);
    expect([2, 5].map((lead) => store.valueAt({ address: "attn_probs.0", index: [lead, 3, 3] }))).toEqual([
      null,
      9,
    ]);
    store.want([{ name: "attn_probs.0", lead: 2 }]);
    expect([store.whyMissing("attn_probs.0", 2), store.whyMissing("attn_probs.0", 1)]).toEqual([
      "coming",
      null,
    ]);
    store.set(one(7));
    expect([held(5), held(2), held(7)]).toEqual([null, 2, 7]);
  });

  test("a part of a large matrix is exact where it is here, and the coarser picture stays around it", () => {
    const store = new ValueStore();
    const side = 256;
    const at = (row: number, column: number) => row * side + column + 1;
    store.set({
      address: "w",
      axes: ["row", "column"],
      shape: [side / 4, side / 4],
      level: 2,
      values: Float32Array.from({ length: (side / 4) ** 2 }, () => -5),
    });
    store.set({
      address: "w",
      axes: ["row", "column"],
      shape: [64, 64],
      level: 0,
      values: Float32Array.from({ length: 64 * 64 }, (_, cell) => at(128 + (cell >> 6), 64 + (cell & 63))),
      part: { row: 128, column: 64, ofRows: side, ofColumns: side },
    });
    const value = (row: number, column: number) => store.valueAt({ address: "w", index: [row, column] });
    expect([value(128, 64), value(191, 127), value(191, 128), value(0, 0)]).toEqual([
      at(128, 64),
      at(191, 127),
      null,
      null,
    ]);
    expect(store.poolAt({ address: "w", index: [191, 128] })?.value).toBe(-5);
    expect(store.sheet("w", 0)?.tableSize()).toEqual({ columns: 8, rows: 8 });
  });

  test("rows that come change the pools that they are in", () => {
    const store = new ValueStore();
    store.set({
      address: "resid_pre.0",
      axes: STREAM,
      shape: [2, 2],
      level: 1,
      values: Float32Array.of(1, 2, 3, 4),
    });
    store.append("resid_pre.0", STREAM, [0, 4], 4, 5, Float32Array.of(-9, 1, 0.5, -0.25));
    store.append("resid_pre.0", STREAM, [0, 4], 5, 6, Float32Array.of(1, 1, 7, 0));
    const pool = (row: number, column: number) =>
      store.poolAt({ address: "resid_pre.0", index: [row, column] })?.value;
    expect([pool(4, 0), pool(5, 2), pool(0, 0), pool(3, 3)]).toEqual([-9, 7, 1, 4]);
  });

  test("draws rows and columns that are less than a pixel as pools, each axis by itself, also of rows that come later", () => {
    const [rows, columns] = [90, 50];
    const cells = noise(rows * columns);
    cells[3] = Number.NaN;
    const plain = poolPlainly(cells, columns, 4, 2);
    const shown = { rows: 2, columns: 1 };
    const pools = (store: ValueStore) =>
      Array.from(plain, (_, at) => {
        const [row, column] = [4 * Math.floor(at / 25), 2 * (at % 25)];
        const { value, ...size } = store.poolAt({ address: "mlp_in.0", index: [row, column] }) ?? {};
        expect(size).toEqual({ rows: 4, columns: 2 });
        return value;
      });
    const matrix = (count: number) => ({
      address: "mlp_in.0",
      axes: STREAM,
      shape: [count, columns],
      level: 0,
      values: cells.subarray(0, count * columns),
    });
    const appendAfter = (store: ValueStore, first: number) => {
      for (let row = first; row < rows; row++) {
        const values = cells.subarray(row * columns, (row + 1) * columns);
        store.append("mlp_in.0", STREAM, [0, columns], row, row + 1, values);
      }
    };
    const want = (store: ValueStore) => store.want([{ name: "mlp_in.0", shown }]);
    const whole = new ValueStore();
    want(whole);
    whole.set(matrix(rows));
    expect(pools(whole)).toEqual([...plain]);
    expect(whole.valueAt({ address: "mlp_in.0", index: [0, 0] })).toBeNull();
    const grown = new ValueStore();
    want(grown);
    grown.set(matrix(41));
    appendAfter(grown, 41);
    expect(pools(grown)).toEqual([...plain]);
    // Seen from farther away only once all rows have come; the scale stays that of exact cells.
    const left = new ValueStore();
    left.set(matrix(41));
    appendAfter(left, 41);
    const range = left.rangeOf("mlp_in.0");
    want(left);
    expect(pools(left)).toEqual([...plain]);
    expect(left.rangeOf("mlp_in.0")).toEqual(range);
    expect(whole.rangeOf("mlp_in.0")).toEqual(range);
    // And near again: the exact cells take the place of the pools.
    left.want([{ name: "mlp_in.0", shown: { rows: 0, columns: 0 } }]);
    left.set(matrix(rows));
    expect(left.valueAt({ address: "mlp_in.0", index: [89, 49] })).toBe(cells.at(-1));
  });

  test("pools a pattern with its diagonal, and leaves what comes later masked", () => {
    const side = 70;
    const store = new ValueStore();
    const cells = Float32Array.from({ length: side * side }, (_, at) =>
      at % side > Math.floor(at / side) ? Number.NEGATIVE_INFINITY : -at,
    );
    store.set({ address: "attn_scores.0", axes: PATTERN, shape: [1, side, side], level: 0, values: cells });
    store.want([{ name: "attn_scores.0", lead: 0, shown: { rows: 1, columns: 1 } }]);
    const sheet = store.sheet("attn_scores.0", 0);
    const level = { rows: 1, columns: 1 };
    expect(sheet?.levels).toEqual([level]);
    expect([0, 17, 34].map((at) => sheet?.valueAt(level, at, at))).toEqual(
      [0, 17, 34].map((at) => -(2 * at + 1) * side - (2 * at + 1)),
    );
    expect([1, 33, 40].map((key) => sheet?.texelAt(level, 0, key))).toEqual([
      Math.fround(STATES.masked),
      STATES.masked,
      STATES.masked,
    ]);
  });

  test("a text of any length takes the room of its picture", () => {
    const store = new ValueStore();
    const pixels = 100;
    const want = (count: number) => {
      const halvings = Math.max(0, Math.round(Math.log2(count / pixels)));
      const square = { rows: halvings, columns: halvings };
      store.want([
        { name: "attn_probs.0", shown: square },
        { name: "resid_pre.0", shown: { rows: halvings, columns: 1 } },
      ]);
    };
    const append = (row: number) => {
      want(row + 1);
      store.append("attn_probs.0", PATTERN, [20, 0, 0], row, row + 1, noise(20 * (row + 1)));
      store.append("resid_pre.0", STREAM, [0, 512], row, row + 1, noise(512));
    };
    for (let row = 0; row < 100; row++) append(row);
    const before = store.bytes;
    for (let row = 100; row < 400; row++) append(row);
    expect(store.bytes / before).toBeLessThan(1.15);
    expect(store.poolAt({ address: "resid_pre.0", index: [399, 511] })).toMatchObject({
      rows: 4,
      columns: 2,
    });
  });

  test("keeps the first tokens for a text that begins alike, and nothing of what followed", () => {
    const store = new ValueStore();
    const isSite = (name: string) => name !== "positions.weight";
    const pattern = { address: "attn_probs.0", axes: PATTERN, shape: [2, 3, 3], level: 0 };
    store.set({ ...pattern, values: count(18) });
    store.set({ address: "pooled", axes: STREAM, shape: [3, 2], level: 1, values: count(6) });
    store.set({ address: "positions.weight", axes: STREAM, shape: [4, 2], level: 0, values: count(8) });
    store.keepRows(2, isSite);
    expect(store.valueAt({ address: "attn_probs.0", index: [1, 1, 1] })).toBe(14);
    expect(store.valueAt({ address: "attn_probs.0", index: [1, 2, 1] })).toBeNull();
    // The first two tokens fill one pool.
    expect(store.poolAt({ address: "pooled", index: [1, 0] })?.value).toBe(1);
    expect(store.poolAt({ address: "pooled", index: [2, 0] })).toBeNull();
    expect(store.valueAt({ address: "positions.weight", index: [3, 1] })).toBe(8);
    // A gap between what is kept and what comes holds no number of the text before.
    store.append(
      "attn_probs.0",
      PATTERN,
      [2, 0, 0],
      3,
      4,
      Float32Array.from({ length: 8 }, () => 7),
    );
    expect(store.valueAt({ address: "attn_probs.0", index: [0, 3, 0] })).toBe(7);
    expect(store.valueAt({ address: "attn_probs.0", index: [0, 2, 0] })).toBeNull();
    store.keepRows(1, isSite);
    expect(store.has("pooled")).toBe(false);
  });
});

test("the list of a tensor's matrices leads to the entries of each, also after others moved them", () => {
  const store = new ValueStore();
  const set = (name: string, lead?: number) =>
    store.set({
      address: name,
      axes: PATTERN,
      shape: [lead === undefined ? 3 : 1, 70, 70],
      level: 0,
      values: count((lead === undefined ? 3 : 1) * 70 * 70),
      lead,
    });
  const entries = () => store.pages.image.data as unknown as Uint32Array;
  /** The page of the first cell of a head, as the shader finds it; null where the head is not held. */
  const pageOf = (name: string, head: number, heads: number) => {
    const list = store.leadsOf(name, heads)?.at ?? -1;
    const first = entries()[list + 2 * head] ?? 0;
    return first === 0 ? null : entries()[first - 1];
  };
  expect(store.leadsOf("attn_probs.0", 3)).toBeNull();
  set("attn_probs.0");
  set("attn_probs.1", 2);
  expect(store.leadsOf("attn_probs.0", 3)).toMatchObject({ columns: 70, rows: 70 });
  const pages = [0, 1, 2].map((head) => pageOf("attn_probs.0", head, 3));
  expect(new Set(pages).size).toBe(3);
  expect([0, 1, 2].map((head) => pageOf("attn_probs.1", head, 3) === null)).toEqual([true, true, false]);
  store.want([{ name: "attn_probs.0" }]);
  // So many that the table is put in order and grows.
  for (let at = 0; at < 70; at++)
    store.set({
      address: `w.${at}`,
      axes: ["row", "column"],
      shape: [1, 64 * 300],
      level: 0,
      values: count(64 * 300),
    });
  expect([0, 1, 2].map((head) => pageOf("attn_probs.0", head, 3))).toEqual(pages);
  store.clear((name) => name !== "attn_probs.0");
  expect(store.leadsOf("attn_probs.0", 3)).toBeNull();
});
