import type { Part } from "../protocol/formulaParts";
import type { Operand, Term } from "../protocol/schema.generated";
import { contributionOf, FIRST, finite, named, PAIR, TOTAL, withTotal } from "./makeFormula";

/** A value while an explanation is being computed: the terms it is made of, and its formula written with numbers. */
export interface ExplainedCell {
  value: number;
  terms: Term[];
  latex: string;
  note?: string;
  /** The formula that gives the value from the terms; left out where the value is their sum. */
  result?: Part;
}

export function cellOf(operand: Operand, label = operand.name): ExplainedCell {
  const value = operand.value ?? Number.NaN;
  const term = { label, contribution: finite(value), operands: [operand], formula: FIRST };
  return { value, terms: [term], latex: number(value) };
}

export function isSingle(cell: ExplainedCell): boolean {
  return !cell.result && cell.terms.length === 1;
}

/** The value as a single term: its only term, the term that it equals, or a new one that names what all come to. */
export function asOne(cell: ExplainedCell, label: string): Term {
  const { result, terms } = cell;
  const own = result?.kind === "term" ? terms.find((term) => term.label === result.label) : terms[0];
  if (own && (isSingle(cell) || result?.kind === "term")) return own;
  const formula = withTotal(result ?? TOTAL, named(sumOf(terms), "sum"));
  return { label, contribution: finite(cell.value), operands: [], formula };
}

/** The terms that add up to the value; a single one where the value is not a sum. */
export function termsOf(cell: ExplainedCell, label: string): Term[] {
  return cell.result ? [asOne(cell, label)] : cell.terms;
}

export function sumOf(terms: Term[]): number {
  return terms.reduce((sum, term) => sum + contributionOf(term), 0);
}

export function operandOf(
  kind: Operand["kind"],
  name: string,
  index: number[],
  value: number | undefined,
): Operand {
  return { kind, name, index, value: value !== undefined && Number.isFinite(value) ? value : null };
}

export function pairOf(
  label: string,
  first: string,
  firstIndex: number[],
  x: number,
  second: string,
  secondIndex: number[],
  y: number,
): Term {
  const operands = [operandOf("site", first, firstIndex, x), operandOf("site", second, secondIndex, y)];
  return { label, contribution: finite(x * y), operands, formula: PAIR };
}

/** Four significant digits, as Python's `.4g` writes them. */
export function significant(value: number): string {
  const [mantissa = "", exponent = "0"] = value.toExponential(3).split("e");
  const power = Number(exponent);
  const trimmed = (text: string) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
  return power < -4 || power >= 4 ? `${trimmed(mantissa)}e${power}` : trimmed(value.toFixed(3 - power));
}

/** The same in LaTeX. */
export function number(value: number): string {
  if (Number.isNaN(value)) return "\\mathrm{NaN}";
  if (!Number.isFinite(value)) return value < 0 ? "-\\infty" : "\\infty";
  const [mantissa = "", power] = significant(value).split("e");
  return power === undefined ? mantissa : `${mantissa} \\cdot 10^{${power}}`;
}

export function bracket(text: string): string {
  return text.startsWith("-") ? `(${text})` : text;
}
