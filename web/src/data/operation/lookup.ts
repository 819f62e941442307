import { cellOf } from "./ExplainedCell";
import type { Inputs, Operation } from "./Inputs";
import { weightOf } from "./Operands";

/** Rows of a table, by token ids, by positions, or one row for all. */
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
  if (attributes.by === "token_ids") return operands.tokenIds[pos] ?? 0;
  return Number(attributes.first ?? 0) + (attributes.by === "row" ? 0 : pos);
}
