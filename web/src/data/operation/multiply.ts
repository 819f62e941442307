import { bracket, number } from "./digits";
import { asOne, isSum } from "./ExplainedCell";
import type { Operation } from "./Inputs";
import { scaled } from "./term";

/** Two tensors, cell by cell; `broadcast` says that the second has one value for a whole row. */
export const multiplyOperation: Operation = {
  attributes: ["broadcast"],

  async cell(inputs, index) {
    const oneEach = inputs.attributes.broadcast ? [...index.slice(0, -1), 0] : index;
    const [first, second] = await Promise.all([inputs.cell(0, index), inputs.cell(1, oneEach)]);
    const value = first.value * second.value;
    const shown = first.latex.split(" = ").at(-1);
    // One of the two is a factor of every term of the other.
    const [many, one] = isSum(second) && !isSum(first) ? [second, first] : [first, second];
    const factor = asOne(one, "factor");
    const terms = isSum(many) ? many.terms : [{ ...asOne(many, "product"), label: "product" }];
    return {
      value,
      terms: scaled(terms, factor.contribution, [factor.formula], [], factor.operands),
      latex: `${number(value)} = ${shown} \\cdot ${bracket(number(second.value))}`,
    };
  },

  async row(inputs, index) {
    const isOneEach = inputs.attributes.broadcast === true;
    const [first, second] = await Promise.all([inputs.row(0, index), inputs.row(1, index)]);
    return first.map((value, at) => value * (second[isOneEach ? 0 : at] ?? Number.NaN));
  },
};
