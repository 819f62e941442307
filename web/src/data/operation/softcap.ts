import { number, significant } from "./digits";
import { apply, named, product, TOTAL } from "./formula";
import type { Operation } from "./Inputs";

/** Numbers bent so that none passes a limit. */
export const softcapOperation: Operation = {
  attributes: ["cap"],

  async cell(inputs, index) {
    const inner = await inputs.cell(0, index);
    const cap = Number(inputs.attributes.cap);
    const limit = named(cap, "cap");
    const value = cap * Math.tanh(inner.value / cap);
    const below = `\\frac{${number(inner.value)}}{${number(cap)}}`;
    return {
      value,
      terms: inner.terms,
      latex: `${number(value)} = ${number(cap)}\\tanh\\left(${below}\\right)`,
      note: `The terms sum to ${significant(inner.value)}, before the soft cap.`,
      result: product([limit, apply("tanh", product([inner.result ?? TOTAL], [limit]))]),
    };
  },
};
