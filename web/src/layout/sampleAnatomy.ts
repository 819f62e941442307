import type { Anatomy, Block, Check, Equation, Site, Weight } from "../protocol/schema.generated";

/** Sizes of an anatomy made for tests: Llama-shaped, or GPT-2-shaped where `gated` is false. */
export interface SampleSizes {
  blocks: number;
  heads: number;
  kvHeads: number;
  width: number;
  headWidth: number;
  mlp: number;
  vocab: number;
  gated: boolean;
}

export const TALES: SampleSizes = {
  blocks: 6,
  heads: 8,
  kvHeads: 4,
  width: 128,
  headWidth: 16,
  mlp: 352,
  vocab: 2048,
  gated: true,
};
export const SORTER: SampleSizes = {
  blocks: 3,
  heads: 3,
  kvHeads: 3,
  width: 48,
  headWidth: 16,
  mlp: 192,
  vocab: 3,
  gated: false,
};
export const GIANT: SampleSizes = {
  blocks: 96,
  heads: 96,
  kvHeads: 96,
  width: 12288,
  headWidth: 128,
  mlp: 49152,
  vocab: 50257,
  gated: false,
};

const EXACT: Check = { status: "exact", max_abs_difference: 0, worst: null, reason: null };

function equation(operation: Equation["operation"], ...names: string[]): Equation {
  const inputs = names.map((name) =>
    /weight|bias/.test(name)
      ? { kind: "weight" as const, name, start: null, stop: null }
      : { kind: "site" as const, address: name },
  );
  return { operation, inputs, attributes: {}, latex: "" };
}

export function sampleAnatomy(sizes: SampleSizes): Anatomy {
  const site = (address: string, axes: Site["axes"], made: Equation | null): Site => {
    const [point = "", block] = address.split(".");
    const counts: Record<string, number> = {
      d_model: sizes.width,
      head: sizes.heads,
      kv_head: sizes.kvHeads,
      d_head: sizes.headWidth,
      d_mlp: sizes.mlp,
      vocab: sizes.vocab,
    };
    return {
      address,
      point,
      block: block === undefined ? null : Number(block),
      axes,
      shape: axes.map((axis) => counts[axis] ?? null),
      provenance: "captured",
      scale: point === "attn_probs" ? "probability" : "diverging",
      equation: made,
      check: EXACT,
    };
  };
  const weight = (
    name: string,
    role: Weight["role"],
    block: number | null,
    axes: Weight["axes"],
    shape: number[],
  ): Weight => ({
    name,
    role,
    block,
    axes,
    shape,
    dtype: "float32",
    stored: null,
    tied_to: null,
  });
  const stream: Site["axes"] = ["pos", "d_model"];
  const block = (index: number): Block => {
    const at = (point: string) => `${point}.${index}`;
    const w = (name: string) => `blocks.${index}.${name}.weight`;
    const kv = sizes.kvHeads * sizes.headWidth;
    const own = sizes.heads * sizes.headWidth;
    const matrix = (name: string, role: Weight["role"], axes: Weight["axes"], shape: number[]) =>
      weight(w(name), role, index, axes, shape);
    const gate: Site[] = sizes.gated
      ? [site(at("mlp_pre_linear"), ["pos", "d_mlp"], equation("matmul", at("mlp_in"), w("up")))]
      : [];
    return {
      index,
      kind: "full",
      parallel: false,
      heads: sizes.heads,
      kv_heads: sizes.kvHeads,
      d_head: sizes.headWidth,
      d_mlp: sizes.mlp,
      gated: sizes.gated,
      window: null,
      sites: [
        site(at("resid_pre"), stream, null),
        site(at("attn_in"), stream, equation("norm", at("resid_pre"), w("attn_norm"))),
        site(at("q"), ["head", "pos", "d_head"], equation("matmul", at("attn_in"), w("q"))),
        site(at("k"), ["kv_head", "pos", "d_head"], equation("matmul", at("attn_in"), w("k"))),
        site(at("v"), ["kv_head", "pos", "d_head"], equation("matmul", at("attn_in"), w("v"))),
        site(at("attn_scores"), ["head", "query", "key"], equation("dot", at("q"), at("k"))),
        site(at("attn_probs"), ["head", "query", "key"], equation("softmax", at("attn_scores"))),
        site(at("z"), ["head", "pos", "d_head"], equation("weighted_sum", at("attn_probs"), at("v"))),
        site(at("attn_out"), stream, equation("matmul", at("z"), w("o"))),
        site(at("resid_mid"), stream, equation("add", at("resid_pre"), at("attn_out"))),
        site(at("mlp_in"), stream, equation("norm", at("resid_mid"), w("mlp_norm"))),
        site(at("mlp_pre"), ["pos", "d_mlp"], equation("matmul", at("mlp_in"), w("gate"))),
        ...gate,
        site(at("mlp_act"), ["pos", "d_mlp"], equation("activation", at("mlp_pre"))),
        site(at("mlp_out"), stream, equation("matmul", at("mlp_act"), w("down"))),
        site(at("resid_post"), stream, equation("add", at("resid_mid"), at("mlp_out"))),
      ],
      weights: [
        weight(w("attn_norm"), "attn_norm", index, ["d_model"], [sizes.width]),
        matrix("q", "q", ["row", "d_model"], [own, sizes.width]),
        matrix("k", "k", ["row", "d_model"], [kv, sizes.width]),
        matrix("v", "v", ["row", "d_model"], [kv, sizes.width]),
        matrix("o", "o", ["d_model", "row"], [sizes.width, own]),
        weight(`blocks.${index}.o.bias`, "o", index, ["d_model"], [sizes.width]),
        weight(w("mlp_norm"), "mlp_norm", index, ["d_model"], [sizes.width]),
        matrix("gate", "gate", ["d_mlp", "d_model"], [sizes.mlp, sizes.width]),
        weight(`blocks.${index}.gate.bias`, "gate", index, ["d_mlp"], [sizes.mlp]),
        ...(sizes.gated ? [matrix("up", "up", ["d_mlp", "d_model"], [sizes.mlp, sizes.width])] : []),
        matrix("down", "down", ["d_model", "d_mlp"], [sizes.width, sizes.mlp]),
      ],
    };
  };
  return {
    model_id: "sample",
    title: "sample",
    family: "sample",
    architecture: "Sample",
    dtype: "float32",
    device: "cpu",
    parameters: 1,
    bytes: 4,
    refused: null,
    parts: sizes.blocks + 1,
    checked: sizes.blocks + 1,
    dimensions: {
      d_model: sizes.width,
      vocab: sizes.vocab,
      blocks: sizes.blocks,
      heads: sizes.heads,
      kv_heads: sizes.kvHeads,
      d_head: sizes.headWidth,
      d_mlp: sizes.mlp,
      context: 256,
    },
    before: [site("embeddings", stream, equation("lookup", "embed.weight"))],
    blocks: Array.from({ length: sizes.blocks }, (_, index) => block(index)),
    after: [
      site("final_norm", stream, equation("norm", `resid_post.${sizes.blocks - 1}`, "norm.weight")),
      site("lm_head", ["pos", "vocab"], equation("matmul", "final_norm", "unembed.weight")),
    ],
    weights: [
      weight("embed.weight", "token_embedding", null, ["vocab", "d_model"], [sizes.vocab, sizes.width]),
      weight("positions.weight", "position_embedding", null, ["pos", "d_model"], [256, sizes.width]),
      weight("norm.weight", "final_norm", null, ["d_model"], [sizes.width]),
      weight("unembed.weight", "unembedding", null, ["vocab", "d_model"], [sizes.vocab, sizes.width]),
    ],
  };
}

/** The sample with so many experts in its second block. */
export function sampleRouted(experts: number, sizes = TALES): Anatomy {
  const anatomy = sampleAnatomy(sizes);
  const block = anatomy.blocks[1];
  const last = block?.sites.find(({ point }) => point === "mlp_out");
  if (!block || !last) throw new Error("the sample has that site");
  const point = "expert_weights" as typeof last.point;
  block.sites.push({
    ...last,
    point,
    address: "expert_weights.1",
    axes: ["pos", "expert"],
    shape: [null, experts],
  });
  return anatomy;
}
