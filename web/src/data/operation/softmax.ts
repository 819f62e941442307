import type { NumberPart, Part } from "../../protocol/formulaParts";
import { hundredths, number } from "./digits";
import { addUp, apply, FIRST, named, times } from "./formula";
import type { Operation } from "./Inputs";
import { siteOf } from "./Operands";
import { type Addend, oneOf, operandOf } from "./term";

/** Exponentials of larger scores are taken relative to the largest. */
const LARGEST_EXPONENT = 30;

/** How a query shares its attention among the keys that it sees, and a learned sink where there is one. */
export const softmaxOperation: Operation = {
  attributes: [],

  async cell(inputs, [head = 0, query = 0, key = 0]) {
    const { address } = siteOf(inputs.given(0));
    const row = Array.from(await inputs.operands.readSite(address, [head, query, null]));
    const rows = row.map((score, at) => ({
      label: `key ${at}`,
      score,
      operand: operandOf("site", address, [head, query, at], score),
    }));
    const sink = inputs.count > 1 ? await inputs.read(1, [head]) : null;
    if (sink) rows.push({ label: "sink", score: sink.value, operand: sink.operand });
    const scores = rows.map((each) => each.score);
    const shares = shareOut(scores);
    const { exponential, total } = exponentials(scores);
    const formula = times(exponential, [], [total]);
    const terms: Addend[] = rows
      .map(({ label, operand }, at) => ({
        label,
        contribution: shares[at] ?? Number.NaN,
        operands: [operand],
        formula,
      }))
      .filter((_, at) => scores[at] !== Number.NEGATIVE_INFINITY);
    const value = shares[key] ?? Number.NaN;
    const below = `\\sum_j e^{s_j}${sink ? ` + e^{${number(sink.value)}}` : ""}`;
    return {
      value,
      terms,
      latex: `${number(value)} = \\frac{e^{${number(scores[key] ?? Number.NaN)}}}{${below}}`,
      note: sink
        ? describeSink(shares.at(-1) ?? Number.NaN)
        : "The terms are the shares of all keys in this row, which the softmax makes sum to one.",
      result: oneOf(terms, `key ${key}`, value),
    };
  },
};

/** The softmax of numbers. */
export function shareOut(scores: number[]): number[] {
  const largest = largestOf(scores);
  const exponents = scores.map((score) => Math.exp(score - largest));
  const total = addUp(exponents);
  return exponents.map((each) => each / total);
}

/** The exponential of a term's own score, and the sum of those of all `scores`, both as the row needs them. */
export function exponentials(scores: number[]): { exponential: Part; total: NumberPart } {
  const largest = largestOf(scores);
  const isPlain = Math.abs(largest) <= LARGEST_EXPONENT || !Number.isFinite(largest);
  const total = addUp(scores.map((score) => Math.exp(isPlain ? score : score - largest)));
  const exponent: Part = isPlain ? FIRST : { kind: "sum", parts: [FIRST, named(-largest, "−largest score")] };
  return { exponential: apply("exp", exponent), total: named(total, "sum of exponentials") };
}

function largestOf(scores: number[]): number {
  return scores.reduce((largest, score) => Math.max(largest, score), Number.NEGATIVE_INFINITY);
}

function describeSink(share: number): string {
  return (
    "The terms are the shares of all keys in this row and of its learned sink, which stands in the softmax like " +
    `one more key and carries nothing: ${hundredths(share)} of this row went to the sink, and the keys share the ` +
    `other ${hundredths(1 - share)}.`
  );
}
