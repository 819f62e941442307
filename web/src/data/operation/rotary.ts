import { bracket, number } from "./digits";
import { type ExplainedCell, termsOf } from "./ExplainedCell";
import { named } from "./formula";
import type { Operation } from "./Inputs";
import { NotFollowedError } from "./Operands";
import { mergedTerms, scaled } from "./term";

/** Pairs of features turned by an angle that grows with the position. */
export const rotaryOperation: Operation = {
  attributes: ["block", "pairing", "table"],

  async cell(inputs, index) {
    const [head = 0, pos = 0, feature = 0] = index;
    const { block, pairing, table } = inputs.attributes;
    const tables = await inputs.operands.readRotary(Number(block));
    if (!tables) throw new NotFollowedError("rotary");
    const cos = spreadTable(tables.cos[pos] ?? [], String(table), String(pairing));
    const sin = spreadTable(tables.sin[pos] ?? [], String(table), String(pairing));
    const own = await inputs.cell(0, index);
    if (feature >= cos.length) return own;
    const { partner, sign } = rotaryPartner(feature, cos.length, String(pairing));
    const other = await inputs.cell(0, [head, pos, partner]);
    const c = cos[feature] ?? Number.NaN;
    const s = sign * (sin[feature] ?? Number.NaN);
    const value = own.value * c + other.value * s;
    const write = (x: number, y: number) => `${bracket(number(x))} \\cdot ${bracket(number(y))}`;
    const turn = (cell: ExplainedCell, factor: number, name: string) =>
      scaled(termsOf(cell, "input"), factor, [named(factor, name)]);
    return {
      value,
      terms: mergedTerms(turn(own, c, "cos"), turn(other, s, sign > 0 ? "sin" : "−sin")),
      latex: `${number(value)} = ${write(own.value, c)} + ${write(other.value, s)}`,
    };
  },
};

/** A row of a cosine or sine table as one value for each rotated feature; models keep it in three forms. */
function spreadTable(row: number[], kept: string, pairing: string): number[] {
  const angles =
    kept === "angles"
      ? row
      : kept === "halves"
        ? row.slice(0, row.length / 2)
        : row.filter((_, at) => at % 2 === 0);
  return pairing === "halves" ? [...angles, ...angles] : angles.flatMap((angle) => [angle, angle]);
}

/** The feature that is mixed into another, and the sign of its sine term. */
function rotaryPartner(index: number, width: number, pairing: string): { partner: number; sign: number } {
  const step = pairing === "halves" ? width / 2 : 1;
  const isFirst = pairing === "halves" ? index < step : index % 2 === 0;
  return isFirst ? { partner: index + step, sign: -1 } : { partner: index - step, sign: 1 };
}
