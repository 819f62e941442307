import { bracket, number } from "./digits";
import { named, times } from "./formula";
import type { Operation } from "./Inputs";
import { scaled } from "./term";

/** A tensor times one number that the model declares. */
export const scaleOperation: Operation = {
  attributes: ["factor", "block"],

  async cell(inputs, index) {
    const inner = await inputs.cell(0, index);
    const factor = Number(inputs.attributes.factor);
    const value = factor * inner.value;
    const latex = `${number(value)} = ${number(factor)} \\cdot ${bracket(number(inner.value))}`;
    const part = named(factor, "scale");
    if (inner.result) return { ...inner, value, latex, result: times(inner.result, [part]) };
    return { ...inner, value, latex, terms: scaled(inner.terms, factor, [part]) };
  },

  async row(inputs, index) {
    const row = await inputs.row(0, index);
    return row.map((value) => value * Number(inputs.attributes.factor));
  },
};
