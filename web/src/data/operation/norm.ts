import type { Operand, Part } from "../../protocol/formulaParts";
import { bracket, number } from "./digits";
import { cellOf, termsOf } from "./ExplainedCell";
import { FIRST, named } from "./formula";
import type { Inputs, Operation } from "./Inputs";
import { weightOf } from "./Operands";
import { scaled } from "./term";

/** Each row divided by its size, with a gain and a shift for each feature where there are any. */
export const normOperation: Operation = {
  attributes: ["norm", "eps", "offset", "merge_heads", "heads"],

  async cell(inputs, index) {
    const { row, place, feature } = await findRow(inputs, index);
    const inner = await inputs.cell(0, place);
    const isLayer = inputs.attributes.norm === "layer";
    const mean = isLayer ? meanOf(row, (x) => x) : 0;
    const size = Math.sqrt(meanOf(row, (x) => (x - mean) ** 2) + Number(inputs.attributes.eps)) || Number.NaN;
    const over = [named(size, isLayer ? "standard deviation" : "root mean square")];
    const { gain, operands, factors } = await explainGain(inputs, index, feature);
    const terms = scaled(termsOf(inner, "input"), gain / size, factors, over, operands);
    const top = isLayer ? `${number(inner.value)} - ${bracket(number(mean))}` : number(inner.value);
    let latex = `\\frac{${top}}{${number(size)}} \\cdot ${bracket(number(gain))}`;
    if (isLayer) {
      const centre = { label: "mean", contribution: -mean, operands: [], formula: named(-mean, "−mean") };
      terms.push(...scaled([centre], gain / size, factors, over, operands));
    }
    let value = ((inner.value - mean) * gain) / size;
    if (inputs.count > 2) {
      const bias = cellOf(await inputs.read(2, placeOf(inputs, 2, index, feature)), "norm bias");
      terms.push(...bias.terms);
      value += bias.value;
      latex += ` + ${bracket(bias.latex)}`;
    }
    return { value, terms, latex: `${number(value)} = ${latex}` };
  },

  /** The gain and the shift are read at once; by heads they are not, and each cell is told alone. */
  async row(inputs, index) {
    const weights = Array.from({ length: inputs.count - 1 }, (_, at) => weightOf(inputs.given(at + 1)).name);
    const isByHeads = weights.some((name) => inputs.operands.weightShape(name).length > 1);
    const length = (await inputs.row(0, index)).length;
    if (inputs.attributes.heads || isByHeads) {
      const cells = Array.from({ length }, (_, at) => inputs.explain([...index, at]));
      return (await Promise.all(cells)).map((cell) => cell.value);
    }
    const [x, ...parts] = await Promise.all([
      inputs.row(0, index),
      ...weights.map((name) => inputs.operands.readWeight(name, [null])),
    ]);
    const mean = inputs.attributes.norm === "layer" ? meanOf(x, (each) => each) : 0;
    const size = Math.sqrt(meanOf(x, (each) => (each - mean) ** 2) + Number(inputs.attributes.eps));
    const offset = Number(inputs.attributes.offset ?? 0);
    const [gains, shifts] = parts;
    return x.map(
      (each, at) => ((each - mean) / size) * (gains ? (gains[at] ?? 0) + offset : 1) + (shifts?.[at] ?? 0),
    );
  },
};

/** What a norm is over: its values, the cell's index in the norm's input, and which of the values that is. */
async function findRow(
  inputs: Inputs,
  index: number[],
): Promise<{ row: number[]; place: number[]; feature: number }> {
  if (!inputs.attributes.heads)
    return { row: await inputs.row(0, index.slice(0, -1)), place: index, feature: index.at(-1) ?? 0 };
  const heads = Number(inputs.attributes.heads);
  const [head = 0, pos = 0, within = 0] = index;
  if (inputs.attributes.merge_heads) {
    const rows = await Promise.all(Array.from({ length: heads }, (_, each) => inputs.row(0, [each, pos])));
    return { row: rows.flat(), place: index, feature: head * (rows[0]?.length ?? 0) + within };
  }
  const row = await inputs.row(0, [pos]);
  const feature = head * Math.floor(row.length / heads) + within;
  return { row, place: [pos, feature], feature };
}

/** A norm's gain at one feature: its value, its cell and its formula; one, where it has none. */
async function explainGain(
  inputs: Inputs,
  index: number[],
  feature: number,
): Promise<{ gain: number; operands: Operand[]; factors: Part[] }> {
  if (inputs.count < 2) return { gain: 1, operands: [], factors: [] };
  const { operand, value } = await inputs.read(1, placeOf(inputs, 1, index, feature));
  const offset = Number(inputs.attributes.offset ?? 0);
  const factor: Part = offset ? { kind: "sum", parts: [named(offset, "offset"), FIRST] } : FIRST;
  return { gain: value + offset, operands: [operand], factors: [factor] };
}

/** Where a gain or shift stands for one feature; they may be by heads, [head, d_head]. */
function placeOf(inputs: Inputs, at: number, [head = 0]: number[], feature: number): number[] {
  const isByHeads = inputs.operands.weightShape(weightOf(inputs.given(at)).name).length === 2;
  return isByHeads ? [head, feature] : [feature];
}

function meanOf(row: number[], of: (value: number) => number): number {
  return row.reduce((sum, value) => sum + of(value), 0) / row.length;
}
