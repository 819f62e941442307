import type { Selection } from "../Source";
import { bracket, number } from "./digits";
import { cellOf } from "./ExplainedCell";
import { addUp, FIRST, named, PAIR, times } from "./formula";
import type { Inputs, Operation } from "./Inputs";
import { NotFollowedError, siteOf, weightOf } from "./Operands";
import { type Addend, labelOf, operandOf } from "./term";

/** A linear map, with the bias where it has one. */
export const matmulOperation: Operation = {
  attributes: ["heads", "merge_heads", "transposed", "rows"],

  async cell(inputs, index) {
    const map = mapOf(inputs);
    const [head = 0, pos = 0, within = 0] = map.heads ? index : [0, ...index];
    const place = map.place(head * map.width + within);
    const [{ x, places, address }, row] = await Promise.all([
      readFeatures(inputs, pos),
      inputs.operands.readWeight(map.name, turned<Selection[number]>([place, null], map.isTransposed)),
    ]);
    if (row.length !== x.length) throw new NotFollowedError(map.name);
    const terms: Addend[] = places.map((each, at) => {
      const [value, weight] = [x[at] ?? Number.NaN, row[at] ?? Number.NaN];
      const label = labelOf(each);
      const contribution = value * weight;
      const operand = operandOf("weight", map.name, turned([place, at], map.isTransposed), weight);
      // What is computed on the way has no cell to point at.
      if (address === null)
        return { label, contribution, operands: [operand], formula: times(FIRST, [named(value, "input")]) };
      return {
        label,
        contribution,
        operands: [operandOf("site", address, each, value), operand],
        formula: PAIR,
      };
    });
    let value = addUp(terms.map((term) => term.contribution));
    let body = "\\sum_j x_j w_j";
    if (inputs.count > 2) {
      const { name } = weightOf(inputs.given(2));
      const [shift = Number.NaN] = Array.from(await inputs.operands.readWeight(name, [place]));
      const bias = cellOf({ operand: operandOf("weight", name, [place], shift), value: shift }, "bias");
      terms.push(...bias.terms);
      value += bias.value;
      body += ` + ${bracket(bias.latex)}`;
    }
    return { value, terms, latex: `${number(value)} = ${body}` };
  },

  /** The rows of the weight that it takes are read at once, since chunks hold many. */
  async row(inputs, index) {
    const map = mapOf(inputs);
    const first = map.heads ? (index[0] ?? 0) * map.width : 0;
    const places = Array.from({ length: map.width }, (_, at) => map.place(first + at));
    const start = Math.min(...places);
    const range = { start, stop: Math.max(...places) + 1 };
    const [{ x }, rows] = await Promise.all([
      readFeatures(inputs, index.at(-1) ?? 0),
      inputs.operands.readWeight(map.name, turned<Selection[number]>([range, null], map.isTransposed)),
    ]);
    const count = range.stop - start;
    const shifts =
      inputs.count > 2 ? await inputs.operands.readWeight(weightOf(inputs.given(2)).name, [range]) : [];
    return places.map((place) => {
      const at = place - start;
      const weightAt = (j: number) =>
        rows[map.isTransposed ? j * count + at : at * x.length + j] ?? Number.NaN;
      const value = addUp(Array.from(x, (each, j) => each * weightAt(j)));
      return inputs.count > 2 ? value + (shifts[at] ?? Number.NaN) : value;
    });
  },
};

interface LinearMap {
  name: string;
  /** The weight is stored [d_in, d_out]. */
  isTransposed: boolean;
  heads: number;
  /** Output features of a head, or all of them. */
  width: number;
  /** Where the weight has an output feature, which may share it with other maps. */
  place(out: number): number;
}

function mapOf(inputs: Inputs): LinearMap {
  const { name, start, stop } = weightOf(inputs.given(1));
  const isTransposed = inputs.attributes.transposed === true;
  const heads = Number(inputs.attributes.heads ?? 0);
  const size = inputs.operands.weightShape(name).at(isTransposed ? -1 : 0) ?? 0;
  const { rows } = inputs.attributes;
  if (!Array.isArray(rows)) {
    const width = ((stop ?? size) - (start ?? 0)) / (heads || 1);
    return { name, isTransposed, heads, width, place: (out) => out + (start ?? 0) };
  }
  // Groups of equal runs, of which the map has some from the `first` of each (see `list_rows` in matmul.py).
  const [groups = 1, units = 1, first = 0, count = 1] = rows.map(Number);
  const unit = size / (groups * units);
  const place = (out: number) =>
    Math.floor(out / (count * unit)) * units * unit + first * unit + (out % (count * unit));
  return { name, isTransposed, heads, width: (groups * count * unit) / (heads || 1), place };
}

function turned<Axis>(stored: Axis[], isTransposed: boolean): Axis[] {
  return isTransposed ? stored.toReversed() : stored;
}

/** The input features of a map at one position, each one's index, and their site; null where they are nested. */
async function readFeatures(
  inputs: Inputs,
  pos: number,
): Promise<{ x: ArrayLike<number>; places: number[][]; address: string | null }> {
  if (inputs.given(0)?.kind === "equation") {
    const x = await inputs.row(0, [pos]);
    return { x, places: x.map((_, at) => [pos, at]), address: null };
  }
  const { address } = siteOf(inputs.given(0));
  const isMerged = inputs.attributes.merge_heads === true;
  const x = await inputs.operands.readSite(address, isMerged ? [null, pos, null] : [pos, null]);
  const width = inputs.operands.siteShape(address).at(-1) ?? 1;
  const places = Array.from(x, (_, at) => (isMerged ? [Math.floor(at / width), pos, at % width] : [pos, at]));
  return { x, places, address };
}
