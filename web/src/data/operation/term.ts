import type { Operand, Part, Term } from "../../protocol/formulaParts";
import { finite, isSame, moved, named, plus, times } from "./formula";

/** A term on the way: as the message has it, but with its number also where that is infinite or NaN. */
export interface Addend {
  label: string;
  contribution: number;
  operands: Operand[];
  formula: Part;
}

export function messageOf(term: Addend): Term {
  return { ...term, contribution: finite(term.contribution) };
}

/** Terms of a sum after multiplying it by `factor`, which is `parts` over `over`; `operands` are theirs. */
export function scaled(
  terms: Addend[],
  factor: number,
  parts: Part[],
  over: Part[] = [],
  operands: Operand[] = [],
): Addend[] {
  return terms.map((term) => {
    const places = operands.map((_, at) => term.operands.length + at);
    const move = (part: Part) => moved(part, places);
    return {
      label: term.label,
      contribution: term.contribution * factor,
      operands: [...term.operands, ...operands],
      formula: times(term.formula, parts.map(move), over.map(move)),
    };
  });
}

/** Terms of two sums over the same things, added label by label; the labels of each are distinct. */
export function mergedTerms(first: Addend[], second: Addend[]): Addend[] {
  const all = new Map(first.map((term) => [term.label, term]));
  for (const term of second) {
    const held = all.get(term.label);
    all.set(term.label, held ? added(held, term) : term);
  }
  return [...all.values()];
}

function added(held: Addend, term: Addend): Addend {
  const operands = [...held.operands];
  const places = term.operands.map((operand) => {
    const known = operands.findIndex((each) => isSame(each, operand));
    return known >= 0 ? known : operands.push(operand) - 1;
  });
  return {
    label: held.label,
    contribution: held.contribution + term.contribution,
    operands,
    formula: plus(held.formula, moved(term.formula, places)),
  };
}

/** The same terms with distinct labels: where two would be equal, each is followed by the name of its last operand. */
export function distinct(terms: Addend[]): Addend[] {
  const counts = new Map<string, number>();
  for (const { label } of terms) counts.set(label, (counts.get(label) ?? 0) + 1);
  if (counts.size === terms.length) return terms;
  const taken = new Map<string, number>();
  return terms.map((term) => {
    const name = term.operands.at(-1)?.name;
    const label = (counts.get(term.label) ?? 0) > 1 && name ? `${term.label} of ${name}` : term.label;
    const count = (taken.get(label) ?? 0) + 1;
    taken.set(label, count);
    return { ...term, label: count === 1 ? label : `${label} (${count})` };
  });
}

/** How an input feature of a linear map is called: its last index, with its head where it has one. */
export function labelOf(place: number[]): string {
  const feature = `feature ${place.at(-1)}`;
  return place.length === 2 ? feature : `head ${place[0]}, ${feature}`;
}

export function operandOf(kind: Operand["kind"], name: string, index: number[], value: number): Operand {
  return { kind, name, index, value: finite(value) };
}

/** The term that the cell is; the bare value where there is no such term. */
export function oneOf(terms: Addend[], label: string, value: number): Part {
  return terms.some((term) => term.label === label) ? { kind: "term", label } : named(value, "share");
}
