import { number } from "./digits";
import { addUp, PAIR } from "./formula";
import type { Operation } from "./Inputs";
import { findKvHead, siteOf } from "./Operands";
import { type Addend, operandOf } from "./term";

/** Each query with each key of the head that it shares. */
export const dotOperation: Operation = {
  attributes: [],

  async cell(inputs, [head = 0, query = 0, key = 0]) {
    const [first, second] = [siteOf(inputs.given(0)).address, siteOf(inputs.given(1)).address];
    const kvHead = findKvHead(inputs.operands, head, first, second);
    const [q, k] = await Promise.all([
      inputs.operands.readSite(first, [head, query, null]),
      inputs.operands.readSite(second, [kvHead, key, null]),
    ]);
    const terms: Addend[] = Array.from(q, (x, at) => {
      const y = k[at] ?? Number.NaN;
      const operands = [
        operandOf("site", first, [head, query, at], x),
        operandOf("site", second, [kvHead, key, at], y),
      ];
      return { label: `feature ${at}`, contribution: x * y, operands, formula: PAIR };
    });
    const value = addUp(terms.map((term) => term.contribution));
    return { value, terms, latex: `${number(value)} = \\sum_d q_d k_d` };
  },
};
