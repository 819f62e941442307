import { activationFunctions } from "./activationFunctions";
import { number } from "./digits";
import { isSum } from "./ExplainedCell";
import { apply, TOTAL } from "./formula";
import type { Inputs, Operation } from "./Inputs";
import { NotFollowedError } from "./Operands";

/** A function of each number alone, the block's own module or one by its name. */
export const activationOperation: Operation = {
  attributes: ["block", "function"],

  async cell(inputs, index) {
    const { name, activate } = functionOf(inputs);
    const inner = await inputs.cell(0, index);
    const value = activate(inner.value);
    const latex = `${number(value)} = \\operatorname{${name}}\\left(${number(inner.value)}\\right)`;
    const [only] = inner.terms;
    if (!only || inner.result || isSum(inner))
      return { ...inner, value, latex, result: apply(name, inner.result ?? TOTAL) };
    return { value, latex, terms: [{ ...only, contribution: value, formula: apply(name, only.formula) }] };
  },

  async row(inputs, index) {
    const { activate } = functionOf(inputs);
    return (await inputs.row(0, index)).map(activate);
  },
};

function functionOf(inputs: Inputs): { name: string; activate(value: number): number } {
  const name = String(inputs.attributes.function);
  const activate = activationFunctions[name];
  if (!activate) throw new NotFollowedError(name);
  return { name, activate };
}
