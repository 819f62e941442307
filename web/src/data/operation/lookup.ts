import { cellOf } from "./ExplainedCell";
import type { Inputs, Operation } from "./Inputs";
import { weightOf } from "./Operands";

/** Rows of a table, by token ids or by positions. */
export const lookupOperation: Operation = {
  attributes: ["by", "first"],

  async cell(inputs, [pos = 0, feature = 0]) {
    const row = rowOf(inputs, pos);
    return cellOf(await inputs.read(0, [row, feature]), `row ${row}`);
  },

  async row(inputs, index) {
    const { name } = weightOf(inputs.given(0));
    return Array.from(await inputs.operands.readWeight(name, [rowOf(inputs, index.at(-1) ?? 0), null]));
  },
};

function rowOf({ attributes, operands }: Inputs, pos: number): number {
  return attributes.by === "token_ids" ? (operands.tokenIds[pos] ?? 0) : pos + Number(attributes.first ?? 0);
}
