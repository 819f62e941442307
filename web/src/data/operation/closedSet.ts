import type { Equation } from "../../protocol/schema.generated";
import { activationOperation } from "./activation";
import { addOperation } from "./add";
import { dotOperation } from "./dot";
import type { ExplainedCell } from "./ExplainedCell";
import { Inputs, type Operations } from "./Inputs";
import { lookupOperation } from "./lookup";
import { maskOperation } from "./mask";
import { matmulOperation } from "./matmul";
import { multiplyOperation } from "./multiply";
import { normOperation } from "./norm";
import type { Operands } from "./Operands";
import { rotaryOperation } from "./rotary";
import { routeOperation } from "./route";
import { scaleOperation } from "./scale";
import { softcapOperation } from "./softcap";
import { softmaxOperation } from "./softmax";
import { sumExpertsOperation } from "./sumExperts";
import { weightedSumOperation } from "./weightedSum";

/** The closed set of operations, as `glassformer/operation/closed_set.py` has it; held to it by `explainCell.test.ts`. */
const OPERATIONS: Operations = {
  lookup: lookupOperation,
  add: addOperation,
  scale: scaleOperation,
  norm: normOperation,
  matmul: matmulOperation,
  rotary: rotaryOperation,
  dot: dotOperation,
  softcap: softcapOperation,
  mask: maskOperation,
  softmax: softmaxOperation,
  weighted_sum: weightedSumOperation,
  activation: activationOperation,
  multiply: multiplyOperation,
  route: routeOperation,
  sum_experts: sumExpertsOperation,
};

/** One cell with its terms; `index` is in the order of the equation's own result. Throws NotFollowedError. */
export function computeCell(equation: Equation, operands: Operands, index: number[]): Promise<ExplainedCell> {
  return new Inputs(equation, operands, OPERATIONS).explain(index);
}
