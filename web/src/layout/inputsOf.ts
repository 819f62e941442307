import type { Anatomy, Equation, Site } from "../protocol/schema.generated";

/** Addresses and weight names a site is computed from, through intermediate equations. */
export function inputsOf(equation: Equation | null | undefined): string[] {
  if (!equation) return [];
  return equation.inputs.flatMap((input) => {
    if (input.kind === "site") return [input.address];
    if (input.kind === "weight") return [input.name];
    return inputsOf(input.equation);
  });
}

/** Every site in order of computation. */
export function sitesOf(anatomy: Anatomy): Site[] {
  return [...anatomy.before, ...anatomy.blocks.flatMap((block) => block.sites), ...anatomy.after];
}
