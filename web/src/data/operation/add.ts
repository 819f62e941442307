import { bracket, number } from "./digits";
import { termsOf } from "./ExplainedCell";
import { addUp } from "./formula";
import type { Inputs, Operation } from "./Inputs";

/** The sum of several tensors of one shape. */
export const addOperation: Operation = {
  attributes: [],

  async cell(inputs, index) {
    const cells = await Promise.all(placesOf(inputs).map((at) => inputs.cell(at, index)));
    const value = addUp(cells.map((cell) => cell.value));
    const terms = cells.flatMap((cell, at) => {
      const given = inputs.given(at);
      return termsOf(cell, given?.kind === "equation" ? given.equation.operation : "part");
    });
    const body = cells.map((cell) => bracket(number(cell.value))).join(" + ");
    return { value, terms, latex: `${number(value)} = ${body}` };
  },

  async row(inputs, index) {
    const rows = await Promise.all(placesOf(inputs).map((at) => inputs.row(at, index)));
    return rows.reduce((total, row) => total.map((value, at) => value + (row[at] ?? Number.NaN)));
  },
};

function placesOf(inputs: Inputs): number[] {
  return Array.from({ length: inputs.count }, (_, at) => at);
}
