import type { Part } from "../protocol/formulaParts";
import type {
  Anatomy,
  Equation,
  EquationInput,
  Explanation,
  Operand,
  Site,
  SiteInput,
  Term,
  WeightInput,
} from "../protocol/schema.generated";
import { activationFunctions } from "./activationFunctions";
import {
  asOne,
  bracket,
  cellOf,
  type ExplainedCell,
  isSingle,
  number,
  operandOf,
  pairOf,
  significant,
  sumOf,
  termsOf,
} from "./ExplainedCell";
import {
  apply,
  contributionOf,
  distinct,
  FIRST,
  finite,
  merged,
  named,
  PAIR,
  product,
  scaled,
  TOTAL,
  times,
} from "./makeFormula";

/** An index along each axis; null takes the whole axis. */
export type Selection = (number | null)[];

/** Where the numbers of an explanation come from. */
export interface Operands {
  tokenIds: number[];
  positions: number;
  readSite(address: string, selection: Selection): Promise<ArrayLike<number>>;
  readWeight(name: string, selection: Selection): Promise<ArrayLike<number>>;
  /** Cosine and sine tables of a block, a row for each position; null if the model has none. */
  readRotary(block: number): Promise<{ cos: number[][]; sin: number[][] } | null>;
}

/** The equation uses something that only the server can compute. */
export class NotFollowedError extends Error {
  override readonly name = "NotFollowedError";
}

type Input = SiteInput | WeightInput | EquationInput;

/** As many as the server lists. */
const LISTED_TERMS = 16;
/** Exponentials of larger scores are taken relative to the largest. */
const LARGEST_EXPONENT = 30;
/** Rounding makes less difference than this, relative to 1 + |value|; more of it means another equation. */
const TOLERANCE = 1e-3;

/** The attributes that are understood here, by operation. An equation with any other is left to the server. */
const KNOWN_ATTRIBUTES: Partial<Record<Equation["operation"], string[]>> = {
  lookup: ["by", "first"],
  add: [],
  scale: ["factor"],
  norm: ["norm", "eps", "offset"],
  matmul: ["heads", "merge_heads", "transposed"],
  rotary: ["block", "pairing", "table"],
  dot: [],
  softcap: ["cap"],
  mask: ["window", "chunk"],
  softmax: [],
  weighted_sum: [],
  activation: ["block", "function"],
  multiply: [],
};

/**
 * Where one cell comes from, as `glassformer/explain/explain.py` tells it, computed from the files of an export.
 * Throws NotFollowedError for an equation that needs the model itself.
 */
export async function explainCell(
  anatomy: Anatomy,
  site: Site,
  index: number[],
  operands: Operands,
): Promise<Explanation> {
  const value = (await operands.readSite(site.address, index))[0] ?? Number.NaN;
  const cell = site.equation ? await new Walk(anatomy, operands).follow(site.equation, index) : null;
  const recomputed = cell && Number.isFinite(cell.value) ? cell.value : null;
  const difference = recomputed !== null && Number.isFinite(value) ? Math.abs(value - recomputed) : null;
  if (difference !== null && difference > TOLERANCE * (1 + Math.abs(value)))
    throw new NotFollowedError(site.address);
  const { listed, rest } = listTerms(cell);
  return {
    address: site.address,
    axes: site.axes,
    index,
    value: Number.isFinite(value) ? value : null,
    provenance: site.provenance,
    equation: site.equation,
    latex: cell?.latex ?? "",
    recomputed,
    difference,
    terms: listed,
    rest_count: rest.length,
    rest_sum: finite(sumOf(rest)),
    result: cell?.result ?? TOTAL,
    note: cell?.note ?? "",
    batched_difference: null,
  };
}

/** Splits the terms into those to list (largest first, always with the one that the cell equals) and the others. */
function listTerms(cell: ExplainedCell | null): { listed: Term[]; rest: Term[] } {
  const terms = (cell?.terms ?? []).toSorted(
    (a, b) => Math.abs(contributionOf(b)) - Math.abs(contributionOf(a)),
  );
  const own = cell?.result?.kind === "term" ? cell.result.label : null;
  const late = terms.slice(LISTED_TERMS).filter((term) => term.label === own);
  const kept = LISTED_TERMS - late.length;
  return {
    listed: [...terms.slice(0, kept), ...late],
    rest: terms.slice(kept).filter((term) => term.label !== own),
  };
}

/** Evaluates one cell of an equation; indices are those of the equation's own result. */
class Walk {
  readonly #anatomy: Anatomy;
  readonly #operands: Operands;
  readonly #sites: Map<string, Site>;

  constructor(anatomy: Anatomy, operands: Operands) {
    this.#anatomy = anatomy;
    this.#operands = operands;
    const sites = [...anatomy.before, ...anatomy.blocks.flatMap((block) => block.sites), ...anatomy.after];
    this.#sites = new Map(sites.map((site) => [site.address, site]));
  }

  async follow(equation: Equation, index: number[]): Promise<ExplainedCell> {
    const cell = await this.#operate(equation, index);
    return { ...cell, terms: distinct(cell.terms) };
  }

  #operate(equation: Equation, index: number[]): Promise<ExplainedCell> {
    const { operation } = equation;
    const known = KNOWN_ATTRIBUTES[operation];
    const isKnown = known && Object.keys(equation.attributes ?? {}).every((name) => known.includes(name));
    if (!isKnown) throw new NotFollowedError(operation);
    switch (operation) {
      case "lookup":
        return this.#lookup(equation, index);
      case "add":
        return this.#add(equation, index);
      case "scale":
        return this.#scale(equation, index);
      case "norm":
        return this.#norm(equation, index);
      case "matmul":
        return this.#matmul(equation, index);
      case "rotary":
        return this.#rotary(equation, index);
      case "dot":
        return this.#dot(equation, index);
      case "softcap":
        return this.#softcap(equation, index);
      case "mask":
        return this.#mask(equation, index);
      case "softmax":
        return this.#softmax(equation, index);
      case "weighted_sum":
        return this.#weightedSum(equation, index);
      case "activation":
        return this.#activation(equation, index);
      default:
        return this.#multiply(equation, index);
    }
  }

  async #input(given: Input | undefined, index: number[]): Promise<ExplainedCell> {
    if (given?.kind === "equation") return this.follow(given.equation, index);
    const operand =
      given?.kind === "weight" ? await this.#weight(given, index) : await this.#site(given, index);
    return cellOf(operand);
  }

  async #site(given: Input | undefined, index: number[]): Promise<Operand> {
    const { address } = siteOf(given);
    const values = await this.#operands.readSite(address, index);
    return operandOf("site", address, index, values[0]);
  }

  /** By [d_out, d_in] index within the run that the input names; reported as stored. */
  async #weight(given: WeightInput, index: number[], transposed = false): Promise<Operand> {
    const stored = storedIndex(given, index, transposed);
    const values = await this.#operands.readWeight(given.name, stored);
    return operandOf("weight", given.name, stored, values[0]);
  }

  #shapeOf(address: string): number[] {
    const site = this.#sites.get(address);
    if (!site) throw new NotFollowedError(address);
    return site.shape.map((size) => size ?? this.#operands.positions);
  }

  async #lookup({ inputs, attributes }: Equation, [pos = 0, feature = 0]: number[]): Promise<ExplainedCell> {
    const byToken = attributes?.by === "token_ids";
    const row = byToken ? (this.#operands.tokenIds[pos] ?? 0) : pos + Number(attributes?.first ?? 0);
    return cellOf(await this.#weight(weightOf(inputs[0]), [row, feature]), `row ${row}`);
  }

  async #add({ inputs }: Equation, index: number[]): Promise<ExplainedCell> {
    const cells = await Promise.all(inputs.map((given) => this.#input(given, index)));
    const value = cells.reduce((sum, cell) => sum + cell.value, 0);
    const body = cells.map((cell) => bracket(number(cell.value))).join(" + ");
    const terms = cells.flatMap((cell) => termsOf(cell, "part"));
    return { value, terms, latex: `${number(value)} = ${body}` };
  }

  async #scale({ inputs, attributes }: Equation, index: number[]): Promise<ExplainedCell> {
    const inner = await this.#input(inputs[0], index);
    const factor = Number(attributes?.factor);
    const value = factor * inner.value;
    const latex = `${number(value)} = ${number(factor)} \\cdot ${bracket(number(inner.value))}`;
    const scale = named(factor, "scale");
    if (inner.result) return { ...inner, value, latex, result: times(inner.result, [scale]) };
    return { ...inner, value, terms: scaled(inner.terms, factor, [scale]), latex };
  }

  async #norm({ inputs, attributes }: Equation, index: number[]): Promise<ExplainedCell> {
    const [given, gainInput, biasInput] = inputs;
    const feature = index.at(-1) ?? 0;
    const rowIndex = index.slice(0, -1);
    let row: ArrayLike<number>;
    if (given?.kind === "equation") {
      const width = this.#anatomy.dimensions.d_head;
      const cells = Array.from({ length: width }, (_, at) => this.follow(given.equation, [...rowIndex, at]));
      row = (await Promise.all(cells)).map((cell) => cell.value);
    } else {
      row = await this.#operands.readSite(siteOf(given).address, [...rowIndex, null]);
    }
    const inner = await this.#input(given, index);
    const mean = attributes?.norm === "layer" ? meanOf(row, (x) => x) : 0;
    const size = Math.sqrt(meanOf(row, (x) => (x - mean) ** 2) + Number(attributes?.eps));
    const gainOperand = gainInput ? await this.#weight(weightOf(gainInput), [feature]) : null;
    const gain = gainOperand ? (gainOperand.value ?? 0) + Number(attributes?.offset ?? 0) : 1;
    const layer = attributes?.norm === "layer";
    const offset = Number(attributes?.offset ?? 0);
    const operands = gainOperand ? [gainOperand] : [];
    const shifted: Part = offset ? { kind: "sum", parts: [named(offset, "offset"), FIRST] } : FIRST;
    const factors = gainOperand ? [shifted] : [];
    const over = [named(size, layer ? "standard deviation" : "root mean square")];
    const terms = scaled(termsOf(inner, "input"), gain / size, factors, over, operands);
    let value = ((inner.value - mean) * gain) / size;
    const top = mean === 0 ? number(inner.value) : `${number(inner.value)} - ${bracket(number(mean))}`;
    let latex = `\\frac{${top}}{${number(size)}} \\cdot ${bracket(number(gain))}`;
    if (layer) {
      const centre = { label: "mean", contribution: -mean, operands: [], formula: named(-mean, "−mean") };
      terms.push(...scaled([centre], gain / size, factors, over, operands));
    }
    if (biasInput) {
      const bias = cellOf(await this.#weight(weightOf(biasInput), [feature]), "norm bias");
      terms.push(...bias.terms);
      value += bias.value;
      latex += ` + ${bracket(bias.latex)}`;
    }
    return { value, terms, latex: `${number(value)} = ${latex}` };
  }

  async #matmul({ inputs, attributes }: Equation, index: number[]): Promise<ExplainedCell> {
    const { address } = siteOf(inputs[0]);
    const map = weightOf(inputs[1]);
    const transposed = attributes?.transposed === true;
    const shape = this.#shapeOf(address);
    const merged = attributes?.merge_heads === true;
    const [head = 0, pos = 0, within = 0] = attributes?.heads ? index : [0, ...index];
    const out = attributes?.heads ? head * this.#anatomy.dimensions.d_head + within : within;
    const x = await this.#operands.readSite(address, merged ? [null, pos, null] : [pos, null]);
    const stored = storedIndex(map, [out, 0], transposed);
    stored[transposed ? 0 : 1] = null as unknown as number;
    const row = await this.#operands.readWeight(map.name, stored);
    if (row.length !== x.length) throw new NotFollowedError(address);
    const width = shape.at(-1) ?? 1;
    let value = 0;
    const terms: Term[] = Array.from(x, (each, at) => {
      const place = merged ? [Math.floor(at / width), pos, at % width] : [pos, at];
      const weight = row[at] ?? 0;
      value += each * weight;
      return {
        label: merged ? `head ${place[0]}, feature ${place[2]}` : `feature ${at}`,
        contribution: each * weight,
        operands: [
          operandOf("site", address, place, each),
          operandOf("weight", map.name, storedIndex(map, [out, at], transposed), weight),
        ],
        formula: PAIR,
      };
    });
    let body = "\\sum_j x_j w_j";
    if (inputs[2]) {
      const bias = cellOf(await this.#weight(weightOf(inputs[2]), [out]), "bias");
      terms.push(...bias.terms);
      value += bias.value;
      body += ` + ${bracket(bias.latex)}`;
    }
    return { value, terms, latex: `${number(value)} = ${body}` };
  }

  async #rotary({ inputs, attributes }: Equation, index: number[]): Promise<ExplainedCell> {
    const [head = 0, pos = 0, feature = 0] = index;
    const tables = await this.#operands.readRotary(Number(attributes?.block));
    if (!tables) throw new NotFollowedError("rotary");
    const [cos, sin] = [tables.cos, tables.sin].map((table) =>
      spread(table[pos] ?? [], String(attributes?.table), String(attributes?.pairing)),
    ) as [number[], number[]];
    const own = await this.#input(inputs[0], index);
    if (feature >= cos.length) return own;
    const half = cos.length / 2;
    const isFirst = attributes?.pairing === "halves" ? feature < half : feature % 2 === 0;
    const step = attributes?.pairing === "halves" ? half : 1;
    const other = await this.#input(inputs[0], [head, pos, feature + (isFirst ? step : -step)]);
    const c = cos[feature] ?? 1;
    const s = (isFirst ? -1 : 1) * (sin[feature] ?? 0);
    const value = own.value * c + other.value * s;
    const body = [
      [own.value, c],
      [other.value, s],
    ].map(([x = 0, y = 0]) => `${bracket(number(x))} \\cdot ${bracket(number(y))}`);
    const turn = (cell: ExplainedCell, factor: number, name: string) =>
      scaled(termsOf(cell, "input"), factor, [named(factor, name)]);
    const terms = merged(turn(own, c, "cos"), turn(other, s, isFirst ? "−sin" : "sin"));
    return { value, terms, latex: `${number(value)} = ${body.join(" + ")}` };
  }

  async #dot({ inputs }: Equation, [head = 0, query = 0, key = 0]: number[]): Promise<ExplainedCell> {
    const [first, second] = [siteOf(inputs[0]).address, siteOf(inputs[1]).address];
    const kvHead = this.#sharedHead(head, first, second);
    const [q, k] = await Promise.all([
      this.#operands.readSite(first, [head, query, null]),
      this.#operands.readSite(second, [kvHead, key, null]),
    ]);
    const terms = Array.from(q, (each, at) =>
      pairOf(`feature ${at}`, first, [head, query, at], each, second, [kvHead, key, at], k[at] ?? 0),
    );
    const value = sumOf(terms);
    return { value, terms, latex: `${number(value)} = \\sum_d q_d k_d` };
  }

  async #softcap({ inputs, attributes }: Equation, index: number[]): Promise<ExplainedCell> {
    const inner = await this.#input(inputs[0], index);
    const cap = Number(attributes?.cap);
    const limit = named(cap, "cap");
    const value = cap * Math.tanh(inner.value / cap);
    return {
      value,
      terms: inner.terms,
      latex: `${number(value)} = ${number(cap)}\\tanh\\left(\\frac{${number(inner.value)}}{${number(cap)}}\\right)`,
      note: `The terms sum to ${significant(inner.value)}, before the soft cap.`,
      result: product([limit, apply("tanh", product([inner.result ?? TOTAL], [limit]))]),
    };
  }

  async #mask({ inputs, attributes }: Equation, index: number[]): Promise<ExplainedCell> {
    const [query = 0, key = 0] = index.slice(-2);
    const window = attributes?.window == null ? Number.POSITIVE_INFINITY : Number(attributes.window);
    const chunk = attributes?.chunk == null ? Number.POSITIVE_INFINITY : Number(attributes.chunk);
    const isSeen =
      key <= query && query - key < window && Math.floor(query / chunk) === Math.floor(key / chunk);
    if (isSeen) return this.#input(inputs[0], index);
    return {
      value: Number.NEGATIVE_INFINITY,
      terms: [],
      latex: "-\\infty",
      note: "Masked: a position attends only to itself and what came before it.",
    };
  }

  async #softmax({ inputs }: Equation, [head = 0, query = 0, key = 0]: number[]): Promise<ExplainedCell> {
    const { address } = siteOf(inputs[0]);
    const scores = Array.from(await this.#operands.readSite(address, [head, query, null]));
    const rows = scores.map((score, at) => ({
      label: `key ${at}`,
      score,
      operand: operandOf("site", address, [head, query, at], score),
    }));
    const sink = inputs[1] ? await this.#weight(weightOf(inputs[1]), [head]) : null;
    if (sink) rows.push({ label: "sink", score: sink.value ?? Number.NEGATIVE_INFINITY, operand: sink });
    const largest = Math.max(...rows.map((row) => row.score));
    const shift = Math.abs(largest) <= LARGEST_EXPONENT ? 0 : largest;
    const total = rows.reduce((sum, row) => sum + Math.exp(row.score - shift), 0);
    const exponent: Part = shift ? { kind: "sum", parts: [FIRST, named(-shift, "−largest score")] } : FIRST;
    const formula = times(apply("exp", exponent), [], [named(total, "sum of exponentials")]);
    const terms = rows
      .filter((row) => row.score !== Number.NEGATIVE_INFINITY)
      .map(({ label, score, operand }) => ({
        label,
        contribution: finite(Math.exp(score - shift) / total),
        operands: [operand],
        formula,
      }));
    const own = scores[key] ?? Number.NEGATIVE_INFINITY;
    const value = Math.exp(own - shift) / total;
    const below = `\\sum_j e^{s_j}${sink ? ` + e^{${number(rows.at(-1)?.score ?? 0)}}` : ""}`;
    const isThere = terms.some((term) => term.label === `key ${key}`);
    return {
      value,
      terms,
      latex: `${number(value)} = \\frac{e^{${number(own)}}}{${below}}`,
      note: sink
        ? describeSink(Math.exp((rows.at(-1)?.score ?? 0) - shift) / total)
        : "The terms are the shares of all keys in this row, which the softmax makes sum to one.",
      result: isThere ? { kind: "term", label: `key ${key}` } : named(value, "share"),
    };
  }

  async #weightedSum(
    { inputs }: Equation,
    [head = 0, pos = 0, feature = 0]: number[],
  ): Promise<ExplainedCell> {
    const [first, second] = [siteOf(inputs[0]).address, siteOf(inputs[1]).address];
    const kvHead = this.#sharedHead(head, first, second);
    const [shares, values] = await Promise.all([
      this.#operands.readSite(first, [head, pos, null]),
      this.#operands.readSite(second, [kvHead, null, feature]),
    ]);
    const terms = Array.from({ length: pos + 1 }, (_, at) =>
      pairOf(
        `key ${at}`,
        first,
        [head, pos, at],
        shares[at] ?? 0,
        second,
        [kvHead, at, feature],
        values[at] ?? 0,
      ),
    );
    const value = sumOf(terms);
    return { value, terms, latex: `${number(value)} = \\sum_j a_j v_j` };
  }

  async #activation({ inputs, attributes }: Equation, index: number[]): Promise<ExplainedCell> {
    const name = String(attributes?.function);
    const activate = activationFunctions[name];
    if (!activate) throw new NotFollowedError(name);
    const inner = await this.#input(inputs[0], index);
    const value = activate(inner.value);
    const latex = `${number(value)} = \\operatorname{${name}}\\left(${number(inner.value)}\\right)`;
    const [only] = inner.terms;
    if (!only || !isSingle(inner))
      return { ...inner, value, latex, result: apply(name, inner.result ?? TOTAL) };
    const term = { ...only, contribution: finite(value), formula: apply(name, only.formula) };
    return { value, terms: [term], latex };
  }

  async #multiply({ inputs }: Equation, index: number[]): Promise<ExplainedCell> {
    const first = await this.#input(inputs[0], index);
    const second = await this.#input(inputs[1], index);
    const value = first.value * second.value;
    const shown = first.latex.split(" = ").at(-1);
    // Every term of the one is multiplied by the other as a whole.
    const isSum = (cell: ExplainedCell) => !cell.result && !isSingle(cell);
    const [many, one] = isSum(second) && !isSum(first) ? [second, first] : [first, second];
    const factor = asOne(one, "factor");
    const terms = isSum(many) ? many.terms : [{ ...asOne(many, "product"), label: "product" }];
    return {
      value,
      terms: scaled(terms, contributionOf(factor), [factor.formula], [], factor.operands),
      latex: `${number(value)} = ${shown} \\cdot ${bracket(number(second.value))}`,
    };
  }

  /** The key/value head that a query head reads. */
  #sharedHead(head: number, queries: string, keys: string): number {
    return Math.floor(head / ((this.#shapeOf(queries)[0] ?? 1) / (this.#shapeOf(keys)[0] ?? 1)));
  }
}

function siteOf(given: Input | undefined): SiteInput {
  if (given?.kind !== "site") throw new NotFollowedError("site");
  return given;
}

function weightOf(given: Input | undefined): WeightInput {
  if (given?.kind !== "weight") throw new NotFollowedError("weight");
  return given;
}

function storedIndex(given: WeightInput, [out = 0, ...within]: number[], transposed: boolean): number[] {
  const stored = [out + (given.start ?? 0), ...within];
  return transposed ? stored.reverse() : stored;
}

function meanOf(row: ArrayLike<number>, of: (value: number) => number): number {
  let sum = 0;
  for (let at = 0; at < row.length; at += 1) sum += of(row[at] as number);
  return sum / row.length;
}

/** A row of a cosine or sine table as one value for each rotated feature; models keep it in three forms. */
function spread(row: number[], kept: string, pairing: string): number[] {
  const angles =
    kept === "angles"
      ? row
      : kept === "halves"
        ? row.slice(0, row.length / 2)
        : row.filter((_, at) => at % 2 === 0);
  return pairing === "halves" ? [...angles, ...angles] : angles.flatMap((angle) => [angle, angle]);
}

function describeSink(share: number): string {
  const percent = (part: number) => `${(100 * part).toFixed(1)}%`;
  return (
    "The terms are the shares of all keys in this row and of its learned sink, which stands in the softmax like " +
    `one more key and carries nothing: ${percent(share)} of this row went to the sink, and the keys share the ` +
    `other ${percent(1 - share)}.`
  );
}
