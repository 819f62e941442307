import type { Part } from "../../protocol/formulaParts";

/** How many numbers stand in a formula. */
export function countOperands(formula: Part): number {
  switch (formula.kind) {
    case "sum":
      return add(formula.parts);
    case "product":
      return add([...formula.parts, ...formula.divisors]);
    case "function":
      return countOperands(formula.of);
    default:
      return 1;
  }
}

function add(parts: Part[]): number {
  return parts.reduce((count, part) => count + countOperands(part), 0);
}
