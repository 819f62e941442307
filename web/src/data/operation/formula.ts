import type { NumberPart, Part, ProductPart } from "../../protocol/formulaParts";

/** Small formulas of an explanation, made as `glassformer/operation/formula.py` makes them. */

export const FIRST: Part = { kind: "operand", at: 0 };
export const TOTAL: Part = { kind: "total" };
/** The product of two operands, which most terms are. */
export const PAIR = product([FIRST, { kind: "operand", at: 1 }]);

/** A number that is not a cell of any tensor, with a name to show for it. */
export function named(value: number, name: string): NumberPart {
  return { kind: "number", value: finite(value), name };
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
export function plus(first: Part, second: Part): Part {
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

/** The formula whose operand `at` has become operand `places[at]`. */
export function moved(formula: Part, places: number[]): Part {
  return replaced(formula, (part) =>
    part.kind === "operand" ? { kind: "operand", at: places[part.at] ?? part.at } : part,
  );
}

/** The formula with `total` put in where it refers to the sum of the terms. */
export function withTotal(formula: Part, total: Part): Part {
  return replaced(formula, (part) => (part.kind === "total" ? total : part));
}

/** The sum, rounded once (Shewchuk 1997): parts that do not overlap hold it exactly. Infinite or NaN where they are. */
export function addUp(values: ArrayLike<number>): number {
  let plain = 0;
  const parts: number[] = [];
  for (let at = 0; at < values.length; at += 1) {
    let value = values[at] as number;
    plain += value;
    let kept = 0;
    for (const part of parts) {
      const [large, small] = Math.abs(value) < Math.abs(part) ? [part, value] : [value, part];
      const sum = large + small;
      const lost = small - (sum - large);
      if (lost !== 0) parts[kept++] = lost;
      value = sum;
    }
    parts.length = kept;
    parts.push(value);
  }
  return Number.isFinite(plain) ? parts.reduceRight((sum, part) => sum + part, 0) : plain;
}

export function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

export function isSame(first: unknown, second: unknown): boolean {
  return JSON.stringify(first) === JSON.stringify(second);
}
