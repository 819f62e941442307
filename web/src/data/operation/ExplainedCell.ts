import type { Operand, Part } from "../../protocol/formulaParts";
import { number } from "./digits";
import { addUp, FIRST, named, TOTAL, withTotal } from "./formula";
import type { Addend } from "./term";

/** A value while an explanation is being computed: the terms it is made of, and its formula written with numbers. */
export interface ExplainedCell {
  value: number;
  terms: Addend[];
  latex: string;
  note?: string;
  /** The formula that gives the value from the terms; left out where the value is their sum. */
  result?: Part;
}

/** One operand and nothing else. */
export function cellOf(
  { operand, value }: { operand: Operand; value: number },
  label = operand.name,
): ExplainedCell {
  const term = { label, contribution: value, operands: [operand], formula: FIRST };
  return { value, terms: [term], latex: number(value) };
}

/** Whether it is the sum of several terms. */
export function isSum(cell: ExplainedCell): boolean {
  return !cell.result && cell.terms.length !== 1;
}

/** The value as a single term: its only term, the term that it equals, or a new one that names what all come to. */
export function asOne(cell: ExplainedCell, label: string): Addend {
  const { result, terms, value } = cell;
  const own = result?.kind === "term" ? terms.find((term) => term.label === result.label) : undefined;
  const only = !result && terms.length === 1 ? terms[0] : own;
  if (only) return only;
  const total = named(addUp(terms.map((term) => term.contribution)), "sum");
  return { label, contribution: value, operands: [], formula: withTotal(result ?? TOTAL, total) };
}

/** The terms that add up to the value; a single one where the value is not a sum. */
export function termsOf(cell: ExplainedCell, label: string): Addend[] {
  return cell.result ? [asOne(cell, label)] : cell.terms;
}
