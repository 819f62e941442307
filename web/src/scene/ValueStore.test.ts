import { describe, expect, test } from "vitest";
import { ATLAS_SIDE, ValueStore } from "./ValueStore";

const STREAM = ["pos", "d_model"];
const PATTERN = ["head", "query", "key"];

function count(size: number): Float32Array {
  return Float32Array.from({ length: size }, (_, index) => index + 1);
}

describe("the value store", () => {
  test("gives back what was put in, by index", () => {
    const store = new ValueStore();
    store.set({ address: "resid_pre.0", axes: STREAM, shape: [3, 4], level: 0, values: count(12) }, 8);
    expect(store.valueAt({ address: "resid_pre.0", index: [0, 0] })).toBe(1);
    expect(store.valueAt({ address: "resid_pre.0", index: [2, 3] })).toBe(12);
    expect(store.valueAt({ address: "resid_pre.0", index: [3, 0] })).toBeNull();
    expect(store.valueAt({ address: "resid_pre.9", index: [0, 0] })).toBeNull();
  });

  test("shows no number for a masked cell", () => {
    const store = new ValueStore();
    const values = Float32Array.from([1, Number.NEGATIVE_INFINITY, Number.NaN, 4]);
    store.set({ address: "attn_scores.0", axes: PATTERN, shape: [1, 2, 2], level: 0, values }, 8);
    expect(store.valueAt({ address: "attn_scores.0", index: [0, 0, 1] })).toBeNull();
    expect(store.valueAt({ address: "attn_scores.0", index: [0, 1, 0] })).toBeNull();
    expect(store.valueAt({ address: "attn_scores.0", index: [0, 1, 1] })).toBe(4);
  });

  test("reads a pooled level by exact indices", () => {
    const store = new ValueStore();
    store.set({ address: "w", axes: ["row", "column"], shape: [2, 3], level: 2, values: count(6) }, 8);
    expect(store.valueAt({ address: "w", index: [0, 0] })).toBe(1);
    expect(store.valueAt({ address: "w", index: [3, 3] })).toBe(1);
    expect(store.valueAt({ address: "w", index: [4, 8] })).toBe(6);
  });

  test("grows along the tokens, with keys, beyond its first room", () => {
    const store = new ValueStore();
    store.set({ address: "attn_probs.0", axes: PATTERN, shape: [2, 2, 2], level: 0, values: count(8) }, 4);
    for (let row = 2; row < 12; row++) {
      const values = new Float32Array(2 * (row + 1)).fill(row);
      store.append("attn_probs.0", PATTERN, [2, 0, 0], row, row + 1, values, 4);
    }
    expect(store.valueAt({ address: "attn_probs.0", index: [1, 1, 1] })).toBe(8);
    expect(store.valueAt({ address: "attn_probs.0", index: [0, 11, 11] })).toBe(11);
    expect(store.valueAt({ address: "attn_probs.0", index: [1, 7, 3] })).toBe(7);
    expect(store.valueAt({ address: "attn_probs.0", index: [1, 7, 8] })).toBeNull();
  });

  test("takes rows of a tensor that it has not seen", () => {
    const store = new ValueStore();
    store.append("z.0", ["head", "pos", "d_head"], [2, 0, 2], 3, 5, count(8), 16);
    expect(store.valueAt({ address: "z.0", index: [1, 4, 1] })).toBe(8);
    expect(store.valueAt({ address: "z.0", index: [0, 2, 0] })).toBeNull();
    expect(store.get("z.0")?.limit).toBeGreaterThan(0);
  });

  test("keeps the scale of the most exact values", () => {
    const store = new ValueStore();
    store.set(
      {
        address: "w",
        axes: ["row", "column"],
        shape: [4, 4],
        level: 0,
        values: new Float32Array(16).fill(0.5),
      },
      8,
    );
    store.set(
      { address: "w", axes: ["row", "column"], shape: [2, 2], level: 1, values: new Float32Array(4).fill(9) },
      8,
    );
    expect(store.get("w")?.limit).toBe(0.5);
  });

  test("uses room again, and lets go of what is not wanted past its budget", () => {
    const store = new ValueStore();
    const put = (name: string) =>
      store.set(
        {
          address: name,
          axes: ["row", "column"],
          shape: [1024, 1024],
          level: 0,
          values: new Float32Array(1 << 20),
        },
        8,
      );
    put("a");
    store.clear();
    put("b");
    expect(store.bytes).toBe(ATLAS_SIDE * ATLAS_SIDE * 4);
    store.trim(new Set());
    expect(store.get("b")).toBeDefined();
    store.clear((name) => name === "b");
    expect(store.get("b")).toBeDefined();
  });

  test("keeps the first tokens for a text that begins alike, and nothing of what followed", () => {
    const store = new ValueStore();
    const isSite = (name: string) => name !== "positions.weight";
    const pattern = { address: "attn_probs.0", axes: PATTERN, shape: [2, 3, 3], level: 0 };
    store.set({ ...pattern, values: count(18) }, 64);
    store.set({ address: "pooled", axes: STREAM, shape: [3, 2], level: 1, values: count(6) }, 64);
    store.set({ address: "positions.weight", axes: STREAM, shape: [4, 2], level: 0, values: count(8) }, 64);
    store.keepRows(2, 8, isSite);
    expect(store.valueAt({ address: "attn_probs.0", index: [1, 1, 1] })).toBe(14);
    expect(store.valueAt({ address: "attn_probs.0", index: [1, 2, 1] })).toBeNull();
    // The first two tokens fill one pool.
    expect(store.valueAt({ address: "pooled", index: [1, 0] })).toBe(1);
    expect(store.valueAt({ address: "pooled", index: [2, 0] })).toBeNull();
    expect(store.valueAt({ address: "positions.weight", index: [3, 1] })).toBe(8);
    // A gap between what is kept and what comes holds no number of the text before.
    store.append(
      "attn_probs.0",
      PATTERN,
      [2, 0, 0],
      3,
      4,
      Float32Array.from({ length: 8 }, () => 7),
      8,
    );
    expect(store.valueAt({ address: "attn_probs.0", index: [0, 3, 0] })).toBe(7);
    expect(store.valueAt({ address: "attn_probs.0", index: [0, 2, 0] })).toBeNull();
    store.keepRows(1, 8, isSite);
    expect(store.get("pooled")).toBeUndefined();
  });
});
