import type { NumberPart, Operand, Part, ProductPart, Term } from "../protocol/formulaParts";

/** Small formulas of an explanation, made as `glassformer/operation/formula.py` makes them. */

export const FIRST: Part = { kind: "operand", at: 0 };
export const TOTAL: Part = { kind: "total" };
/** The product of two operands, which most terms are. */
export const PAIR = product([FIRST, { kind: "operand", at: 1 }]);

/** A number that is not a cell of any tensor, with a name to show for it. */
export function named(value: number, name: string): NumberPart {
  return { kind: "number", value: Number.isFinite(value) ? value : null, name };
}

export function product(parts: Part[], divisors: Part[] = []): ProductPart {
  return { kind: "product", parts, divisors };
}

export function apply(name: string, of: Part): Part {
  return { kind: "function", function: name, of };
}

/** A formula multiplied and divided further; products stay flat, so that they read in one line. */
export function times(formula: Part, factors: Part[], over: Part[] = []): ProductPart {
  return formula.kind === "product"
    ? product([...formula.parts, ...factors], [...formula.divisors, ...over])
    : product([formula, ...factors], over);
}

/** A sum of two formulas. A first factor that both share, with equal divisors, is taken out of the sum. */
function plus(first: Part, second: Part): Part {
  const apart: Part = { kind: "sum", parts: [first, second] };
  if (first.kind !== "product" || second.kind !== "product") return apart;
  const [shared] = first.parts;
  const isShared =
    shared !== undefined &&
    isSame(shared, second.parts[0]) &&
    isSame(first.divisors, second.divisors) &&
    Math.min(first.parts.length, second.parts.length) > 1;
  if (!isShared) return apart;
  const rests = [first, second].map(({ parts: [, ...rest] }) =>
    rest.length === 1 && rest[0] ? rest[0] : product(rest),
  );
  return product([shared, { kind: "sum", parts: rests }], first.divisors);
}

/** The formula with each leaf replaced by what `leaf` makes of it. */
function replaced(formula: Part, leaf: (part: Part) => Part): Part {
  switch (formula.kind) {
    case "sum":
      return { kind: "sum", parts: formula.parts.map((part) => replaced(part, leaf)) };
    case "product":
      return product(
        formula.parts.map((part) => replaced(part, leaf)),
        formula.divisors.map((part) => replaced(part, leaf)),
      );
    case "function":
      return apply(formula.function, replaced(formula.of, leaf));
    default:
      return leaf(formula);
  }
}

function moved(formula: Part, places: number[]): Part {
  return replaced(formula, (part) =>
    part.kind === "operand" ? { kind: "operand", at: places[part.at] ?? part.at } : part,
  );
}

/** The formula with `total` put in where it refers to the sum of the terms. */
export function withTotal(formula: Part, total: Part): Part {
  return replaced(formula, (part) => (part.kind === "total" ? total : part));
}

/** Terms of a sum after multiplying it by `factor`, which is `parts` over `over`; `operands` are theirs. */
export function scaled(
  terms: Term[],
  factor: number,
  parts: Part[],
  over: Part[] = [],
  operands: Operand[] = [],
): Term[] {
  return terms.map((term) => {
    const places = operands.map((_, at) => term.operands.length + at);
    const move = (part: Part) => moved(part, places);
    return {
      label: term.label,
      contribution: finite(contributionOf(term) * factor),
      operands: [...term.operands, ...operands],
      formula: times(term.formula, parts.map(move), over.map(move)),
    };
  });
}

/** Terms of two sums over the same things, added label by label; the labels of each are distinct. */
export function merged(first: Term[], second: Term[]): Term[] {
  const all = new Map(first.map((term) => [term.label, term]));
  for (const term of second) {
    const held = all.get(term.label);
    all.set(term.label, held ? added(held, term) : term);
  }
  return [...all.values()];
}

function added(held: Term, term: Term): Term {
  const operands = [...held.operands];
  const places = term.operands.map((operand) => {
    const known = operands.findIndex((each) => isSame(each, operand));
    return known >= 0 ? known : operands.push(operand) - 1;
  });
  return {
    label: held.label,
    contribution: finite(contributionOf(held) + contributionOf(term)),
    operands,
    formula: plus(held.formula, moved(term.formula, places)),
  };
}

/** The same terms with distinct labels: where two would be equal, each is followed by the name of its last operand. */
export function distinct(terms: Term[]): Term[] {
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

export function contributionOf(term: Term): number {
  return term.contribution ?? Number.NaN;
}

export function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

function isSame(first: unknown, second: unknown): boolean {
  return JSON.stringify(first) === JSON.stringify(second);
}
