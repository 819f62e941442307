import type { Operation } from "./Inputs";
import { NotFollowedError } from "./Operands";

/** Minus infinity where a query may not see a key. How the model itself masks is its own knowledge (`pattern`). */
export const maskOperation: Operation = {
  attributes: ["window", "chunk", "pattern", "block"],

  async cell(inputs, index) {
    const [, query = 0, key = 0] = index;
    const { window, chunk, pattern } = inputs.attributes;
    if (pattern !== undefined) throw new NotFollowedError("mask");
    const isNear = window == null || query - key < Number(window);
    const isInChunk = chunk == null || Math.floor(query / Number(chunk)) === Math.floor(key / Number(chunk));
    if (key <= query && isNear && isInChunk) return inputs.cell(0, index);
    return {
      value: Number.NEGATIVE_INFINITY,
      terms: [],
      latex: "-\\infty",
      note: "Masked: a position attends only to itself and what came before it.",
    };
  },
};
