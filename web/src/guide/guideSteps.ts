import type { Anatomy } from "../protocol/schema.generated";

export type GuideStepName =
  | "tokens"
  | "spine"
  | "norm"
  | "attention"
  | "attentionSink"
  | "values"
  | "mlp"
  | "logits"
  | "next";

export interface GuideStep {
  name: GuideStepName;
  /** What the step speaks of; lit in the scene while it is read. */
  addresses: string[];
  /** Where to look from: what is to be seen of the scene; nothing named is the whole model. */
  view: string[];
}

/** These are about what runs through the model, or stands at its foot. */
const WHOLE: ReadonlySet<GuideStepName> = new Set<GuideStepName>(["spine", "next"]);

/** The walk through a model, in order of computation; it stays in one block, since the others repeat it. */
export function guideSteps(anatomy: Anatomy): GuideStep[] {
  const block = anatomy.blocks[0]?.index ?? 0;
  const known = new Set(
    [...anatomy.before, ...anatomy.blocks.flatMap((each) => each.sites), ...anatomy.after].map(
      (site) => site.address,
    ),
  );
  const steps: Omit<GuideStep, "view">[] = [
    { name: "tokens", addresses: ["embeddings"] },
    {
      name: "spine",
      addresses: anatomy.blocks.flatMap(({ index }) => [
        `resid_pre.${index}`,
        `resid_mid.${index}`,
        `resid_post.${index}`,
      ]),
    },
    { name: "norm", addresses: [`attn_in.${block}`] },
    {
      name: hasSink(anatomy) ? "attentionSink" : "attention",
      addresses: [`q.${block}`, `k.${block}`, `attn_scores.${block}`, `attn_probs.${block}`],
    },
    { name: "values", addresses: [`v.${block}`, `z.${block}`, `attn_out.${block}`] },
    {
      name: "mlp",
      addresses: [`mlp_pre.${block}`, `mlp_pre_linear.${block}`, `mlp_act.${block}`, `mlp_out.${block}`],
    },
    { name: "logits", addresses: ["final_norm", "lm_head"] },
    { name: "next", addresses: ["lm_head"] },
  ];
  return steps
    .map((step) => ({ ...step, addresses: step.addresses.filter((address) => known.has(address)) }))
    .filter((step) => step.addresses.length > 0)
    .map((step) => ({ ...step, view: WHOLE.has(step.name) ? [] : step.addresses }));
}

/** Whether a learned sink takes a share of rows of attention, so that those of the keys sum to less than one. */
function hasSink(anatomy: Anatomy): boolean {
  return anatomy.blocks.some((block) =>
    block.sites.some(({ equation }) => equation?.operation === "softmax" && equation.inputs.length > 1),
  );
}
