import type { Anatomy, Site } from "../protocol/schema.generated";

/** The smallest anatomy with one of everything, for tests. */
export const tinyAnatomy: Anatomy = {
  model_id: "tiny",
  title: "Tiny",
  family: "llama",
  architecture: "LlamaForCausalLM",
  dtype: "float32",
  device: "cpu",
  parameters: 1000,
  bytes: 4000,
  refused: null,
  parts: 2,
  checked: 2,
  dimensions: {
    d_model: 8,
    vocab: 16,
    blocks: 1,
    heads: 2,
    kv_heads: 1,
    d_head: 4,
    d_mlp: 32,
    context: 11,
  },
  before: [site("embeddings", ["pos", "d_model"], [null, 8])],
  blocks: [
    {
      index: 0,
      kind: "full",
      parallel: false,
      heads: 2,
      kv_heads: 1,
      d_head: 4,
      d_mlp: 32,
      gated: true,
      window: null,
      sites: [
        {
          ...site("attn_probs.0", ["head", "query", "key"], [2, null, null]),
          block: 0,
          scale: "probability",
        },
      ],
      weights: [
        {
          name: "q.weight",
          role: "q",
          block: 0,
          axes: ["row", "column"],
          shape: [8, 8],
          dtype: "float32",
          stored: null,
          tied_to: null,
        },
      ],
    },
  ],
  after: [site("lm_head", ["pos", "vocab"], [null, 16])],
  weights: [
    {
      name: "embed.weight",
      role: "token_embedding",
      block: null,
      axes: ["vocab", "d_model"],
      shape: [16, 8],
      dtype: "float32",
      stored: null,
      tied_to: null,
    },
  ],
};

function site(address: string, axes: Site["axes"], shape: Site["shape"]): Site {
  return {
    address,
    point: address.split(".")[0] ?? address,
    block: null,
    axes,
    shape,
    provenance: "captured",
    scale: "diverging",
    equation: null,
    check: { status: "exact", max_abs_difference: 0, worst: null, reason: null },
  };
}
