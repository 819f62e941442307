import type { Part } from "../../protocol/formulaParts";
import { number } from "./digits";
import { addUp, apply, FIRST, named, times } from "./formula";
import type { Inputs, Operation } from "./Inputs";
import { NotFollowedError, siteOf, weightOf } from "./Operands";
import { exponentials, shareOut } from "./softmax";
import { type Addend, oneOf, operandOf } from "./term";

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

/** Scores of all experts, from their logits. Those that are scored once they are chosen compete by the logits. */
const SCORES: Readonly<Record<string, (logits: number[]) => number[]>> = {
  softmax: shareOut,
  sigmoid: (logits) => logits.map(sigmoid),
  softmax_chosen: (logits) => logits,
  sigmoid_chosen: (logits) => logits,
};

/** Which experts a position is sent to, and how much each counts. */
export const routeOperation: Operation = {
  attributes: ["score", "top_k", "renormalised", "factor", "block", "groups", "top_groups", "group_experts"],

  async cell(inputs, [pos = 0, expert = 0]) {
    const { address } = siteOf(inputs.given(0));
    const logits = Array.from(await inputs.operands.readSite(address, [pos, null]));
    const correction = inputs.count > 1 ? await readAll(inputs, 1) : null;
    const routed = chooseExperts(logits, correction, inputs.attributes);
    const terms: Addend[] = routed.chosen.map((each) => ({
      label: `expert ${each}`,
      contribution: routed.weights[each] ?? Number.NaN,
      operands: [operandOf("site", address, [pos, each], logits[each] ?? Number.NaN)],
      formula: routed.formula,
    }));
    const value = routed.weights[expert] ?? Number.NaN;
    const logit = number(logits[expert] ?? Number.NaN);
    return {
      value,
      terms,
      latex: `${number(value)} = \\operatorname{route}\\left(${logit}\\right)`,
      note: `The terms are the weights of the ${terms.length} experts chosen at this position; the others have none.`,
      result: oneOf(terms, `expert ${expert}`, value),
    };
  },
};

function readAll({ operands, equation }: Inputs, at: number): Promise<ArrayLike<number>> {
  const { name } = weightOf(equation.inputs[at]);
  return operands.readWeight(
    name,
    operands.weightShape(name).map(() => null),
  );
}

/** The weights of all experts, those that have any in order, and how a logit of theirs becomes its weight. */
function chooseExperts(
  logits: number[],
  correction: ArrayLike<number> | null,
  attributes: Record<string, unknown>,
): { weights: number[]; chosen: number[]; formula: Part } {
  const score = String(attributes.score);
  const scoreAll = SCORES[score];
  if (!scoreAll) throw new NotFollowedError(score);
  const scores = scoreAll(logits);
  const ranked = scores.map((each, at) => each + (correction?.[at] ?? 0));
  const best = largestPlaces(keepBestGroups(ranked, attributes), Number(attributes.top_k)).toSorted(
    (one, other) => one - other,
  );
  const picked = best.map((at) => scores[at] ?? Number.NaN);
  const counted =
    score === "softmax_chosen" ? shareOut(picked) : score === "sigmoid_chosen" ? picked.map(sigmoid) : picked;
  const total = addUp(counted);
  const factor = Number(attributes.factor ?? 1);
  const isRenormalised = attributes.renormalised === true;
  const weights = logits.map(() => 0);
  for (const [place, at] of best.entries()) {
    const each = counted[place] ?? Number.NaN;
    weights[at] = (isRenormalised ? each / total : each) * factor;
  }
  let formula = formulaOf(score, score === "softmax" ? logits : picked);
  if (isRenormalised) formula = times(formula, [], [named(total, "sum of the chosen")]);
  if (factor !== 1) formula = times(formula, [named(factor, "factor")]);
  return { weights, chosen: best.filter((at) => weights[at] !== 0), formula };
}

/** How a logit becomes a score; `logits` are those that take part. */
function formulaOf(score: string, logits: number[]): Part {
  if (!score.startsWith("softmax")) return apply("sigmoid", FIRST);
  const { exponential, total } = exponentials(logits);
  return times(exponential, [], [total]);
}

/** `ranked` with experts outside the best groups shut out. */
function keepBestGroups(ranked: number[], attributes: Record<string, unknown>): number[] {
  const groups = Number(attributes.groups ?? 1);
  if (groups <= 1) return ranked;
  const size = ranked.length / groups;
  const best = Array.from({ length: groups }, (_, group) => {
    const inside = ranked.slice(group * size, (group + 1) * size);
    return addUp(
      largestPlaces(inside, Number(attributes.group_experts)).map((at) => inside[at] ?? Number.NaN),
    );
  });
  const kept = new Set(largestPlaces(best, Number(attributes.top_groups)));
  return ranked.map((each, at) => (kept.has(Math.floor(at / size)) ? each : Number.NEGATIVE_INFINITY));
}

/** Where the largest values stand, the largest first. */
function largestPlaces(values: number[], count: number): number[] {
  const places = values.map((_, at) => at);
  return places.toSorted((one, other) => (values[other] ?? 0) - (values[one] ?? 0)).slice(0, count);
}
