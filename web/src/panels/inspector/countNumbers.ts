import type { Part } from "../../protocol/formulaParts";

/** How many numbers stand in a formula. */
export function countNumbers(formula: Part): number {
  switch (formula.kind) {
    case "sum":
      return add(formula.parts);
    case "product":
      return add([...formula.parts, ...formula.divisors]);
    case "function":
      return countNumbers(formula.of);
    default:
      return 1;
  }
}

function add(parts: Part[]): number {
  return parts.reduce((count, part) => count + countNumbers(part), 0);
}
