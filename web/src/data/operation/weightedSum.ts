import { number } from "./digits";
import { addUp, PAIR } from "./formula";
import type { Operation } from "./Inputs";
import { findKvHead, siteOf } from "./Operands";
import { type Addend, operandOf } from "./term";

/** Values of all keys, each as much as a query attends to it. */
export const weightedSumOperation: Operation = {
  attributes: [],

  async cell(inputs, [head = 0, pos = 0, feature = 0]) {
    const [first, second] = [siteOf(inputs.given(0)).address, siteOf(inputs.given(1)).address];
    const kvHead = findKvHead(inputs.operands, head, first, second);
    const [weights, values] = await Promise.all([
      inputs.row(0, [head, pos]),
      inputs.operands.readSite(second, [kvHead, null, feature]),
    ]);
    const products = weights.map((weight, at) => weight * (values[at] ?? Number.NaN));
    const terms: Addend[] = products.map((contribution, at) => ({
      label: `key ${at}`,
      contribution,
      operands: [
        operandOf("site", first, [head, pos, at], weights[at] ?? Number.NaN),
        operandOf("site", second, [kvHead, at, feature], values[at] ?? Number.NaN),
      ],
      formula: PAIR,
    }));
    const value = addUp(products);
    return {
      value,
      // Later keys are only seen where the model's own mask lets them be.
      terms: terms.filter((_, at) => at <= pos || weights[at] !== 0),
      latex: `${number(value)} = \\sum_j a_j v_j`,
    };
  },

  async row(inputs, [head = 0, pos = 0]) {
    const [first, second] = [siteOf(inputs.given(0)).address, siteOf(inputs.given(1)).address];
    const kvHead = findKvHead(inputs.operands, head, first, second);
    const width = inputs.operands.siteShape(second).at(-1) ?? 0;
    const [weights, values] = await Promise.all([
      inputs.row(0, [head, pos]),
      inputs.operands.readSite(second, [kvHead, null, null]),
    ]);
    return Array.from({ length: width }, (_, feature) =>
      addUp(weights.map((weight, at) => weight * (values[at * width + feature] ?? Number.NaN))),
    );
  },
};
