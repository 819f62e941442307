"""A tiny random model of any causal family that transformers can make from a config.

Sizes are chosen by the fields the family's own config class declares, never by its name. What only training would set
(multipliers, soft caps, gains and shifts of norms, sinks, router corrections) is moved off its neutral value, so that a
part of the computation that is overlooked shows.
"""

import copy
import dataclasses
import warnings
import zlib
from typing import Any

import torch
from torch import Tensor
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils import logging as transformers_logging

from glassformer.compute.attention import select_attention

transformers_logging.set_verbosity_error()
FAMILIES = sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
VOCAB = 96
CONTEXT = 128
# Larger than any tiny model should be: a size that was overlooked.
MOST_PARAMETERS = 30_000_000

BLOCKS = 4
WIDTH = 32
HEADS = 4
KV_HEADS = 2
D_HEAD = WIDTH // HEADS

# Every field name that means one of these; a config gets those it declares.
SIZES: tuple[tuple[int, str], ...] = (
    (
        VOCAB,
        "vocab_size vocab_size_per_layer_input pronunciation_vocab_size shape_vocab_size decoder_vocab_size "
        "ngram_vocab_size_base encoder_hash_byte_group_vocab unpadded_vocab_size",
    ),
    (
        CONTEXT,
        "max_position_embeddings n_positions n_ctx max_seq_len max_sequence_length seq_length context_length "
        "max_target_positions max_source_positions model_max_length original_max_position_embeddings rel_extent",
    ),
    (
        BLOCKS,
        "num_hidden_layers n_layer n_layers num_layers decoder_layers encoder_layers num_decoder_layers "
        "num_encoder_layers num_blocks num_layers_per_stack",
    ),
    (
        WIDTH,
        "hidden_size n_embd d_model dim emb_dim embedding_dim embedding_size word_embed_proj_dim lru_width "
        "pronunciation_embed_dim shape_embed_dim input_embedding_size output_embedding_size ple_embed_dim "
        "prompt_mid_dim attention_hidden_size",
    ),
    (
        48,
        "intermediate_size n_inner ffn_dim decoder_ffn_dim encoder_ffn_dim d_inner dff dim_ff ffn_hidden_size "
        "feed_forward_size dense_intermediate_size intermediate_size_mlp prefix_dense_intermediate_size",
    ),
    (
        24,
        "moe_intermediate_size shared_expert_intermediate_size shared_experts_intermediate_size "
        "shared_intermediate_size expert_ffn_hidden_size moe_shared_expert_intermediate_size q_lora_rank "
        "moe_latent_size",
    ),
    (
        16,
        "kv_lora_rank o_lora_rank laurel_rank hidden_size_per_layer_input mamba_d_state state_size "
        "ssm_state_size hc_lowrank adapter_rank mamba_d_head mamba_head_dim mamba_headdim "
        "time_step_rank mamba_dt_rank router_hidden_size chunk_size "
        "mamba_chunk_size gated_norm_rank embedding_dim_per_layer",
    ),
    (
        HEADS,
        "num_attention_heads n_head n_heads num_heads decoder_attention_heads encoder_attention_heads "
        "num_decoder_attention_heads num_encoder_attention_heads attention_heads swa_num_attention_heads "
        "num_local_experts num_experts n_routed_experts moe_num_experts num_buckets index_n_heads mamba_n_heads "
        "mamba_num_heads linear_num_value_heads linear_num_heads n_mamba_heads indexer_n_heads zero_expert_num d_rel",
    ),
    (
        KV_HEADS,
        "num_key_value_heads num_kv_heads n_head_kv swa_num_key_value_heads num_experts_per_tok "
        "num_experts_per_token moe_topk moe_k num_selected_experts top_k_experts linear_num_key_heads o_groups "
        "n_groups mamba_n_groups mamba_ngroups num_codebooks hc_mult hc_count heads_per_ngram "
        "altup_num_inputs attn_layer_period expert_layer_period global_attn_every_n_layers layer_group_size "
        "sliding_window_pattern _sliding_window_pattern no_rope_layer_interval num_random_blocks prompt_length "
        "attn_res_block n_layers_per_attn_res_block loop_layer_index_start loop_num_passes "
        "split_ngram_parts multi_query_group_num",
    ),
    (
        D_HEAD,
        "head_dim d_head qk_nope_head_dim v_head_dim kv_channels "
        "linear_key_head_dim linear_value_head_dim linear_head_dim index_head_dim indexer_head_dim swa_head_dim "
        "attention_head_size dim_head attention_head_dim sliding_window sliding_window_size "
        "attention_window_size local_attention window_size index_topk block_size attention_chunk_size "
        "local_attn_chunk_length lsh_attn_chunk_length keep_window_size index_block_size "
        "query_pre_attn_scalar ffn_round_up_to_multiple_of block_multiple_of local_attention_window_len",
    ),
    (
        4,
        "qk_rope_head_dim rotary_dim",
    ),
    (
        1,
        "n_group topk_group num_expert_group indexer_kv_heads n_shared_experts num_shared_experts "
        "moe_num_shared_experts first_k_dense_replace num_dense_layers num_nextn_predict_layers "
        "attn_layer_offset expert_layer_offset "
        "n_input_layers n_output_layers "
        "num_mem_blocks index_topk_blocks index_local_blocks num_kv_shared_layers moe_layer_start_index",
    ),
)
# Values that neither size nor training decides: dropout off, features on that a default leaves out.
SETTINGS: dict[str, Any] = {
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
    "eod_token_id": 1,
    "decoder_start_token_id": 0,
    "is_decoder": True,
    "is_encoder_decoder": False,
    "use_sliding_window": True,
    "max_window_layers": 1,
    "mamba_expand": 2,
    "mamba_d_ssm": 2 * WIDTH,
    "moe_layer_end_index": 3,
    "loop_layer_index_end": BLOCKS,
    "axial_pos_shape": [8, CONTEXT // 8],
    "axial_pos_embds_dim": [8, WIDTH - 8],
    "attention_type": "original_full",
    "causal": True,
    "enable_moe_block": True,
    "attention_types": [[["global", "local"], BLOCKS // 2]],
    "default_language": "en_XX",
    "hash_seed": 1,
    "audio_vocab_size": VOCAB,
    "indexer_budget": 8,
    "indexer_compress_ratio": 4,
    "attention_dropout": 0.0,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "dropout": 0.0,
    "final_logit_softcapping": 4.0,
    "attn_logit_softcapping": 3.0,
    "logits_soft_cap": 4.0,
    "output_logit_soft_cap": 4.0,
    "embedding_multiplier": 1.7,
    "residual_multiplier": 0.6,
    "attention_multiplier": 0.4,
    "logits_scaling": 1.6,
    "logit_scale": 0.7,
    "lm_head_multiplier": 1.4,
    "key_multiplier": 0.8,
    "attention_out_multiplier": 1.3,
    "attention_in_multiplier": 0.7,
    "ssm_in_multiplier": 0.9,
    "ssm_out_multiplier": 1.2,
    "mlp_multipliers": [0.8, 1.3],
    "ssm_multipliers": [0.9, 1.1, 0.8, 1.2, 0.7],
    "scale_emb": 3.0,
    "scale_depth": 1.9,
    "dim_model_base": 16,
    "routed_scaling_factor": 1.5,
    "router_scaling_factor": 1.5,
    "moe_routed_scaling_factor": 1.5,
    "route_scale": 1.5,
    "full_attn_alpha_factor": 1.2,
    "full_attn_beta_factor": 0.8,
    "linear_attn_alpha_factor": 1.1,
    "linear_attn_beta_factor": 0.9,
    "mlp_alpha_factor": 1.3,
    "mlp_beta_factor": 0.7,
}
# Alternatives, tried in order, for families that do not accept the sizes above; DROP leaves a size to the default.
DROP = object()
VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    {"head_dim": DROP},
    {"num_key_value_heads": DROP, "num_kv_heads": DROP, "n_head_kv": DROP},
    {"num_key_value_heads": HEADS},
    {"head_dim": 4},
    {"head_dim": 4, "num_key_value_heads": HEADS},
    {"num_experts_per_tok": 1},
    {"layer_types": ["conv", "full_attention"] * (BLOCKS // 2)},
    {"layers_block_type": ["linear_attention", "hybrid"] * (BLOCKS // 2)},
    {"num_kv_shared_layers": 0, "hidden_size_per_layer_input": 0},
    {"num_kv_shared_layers": BLOCKS, "hidden_size_per_layer_input": 0},
)
# Spread of a random matrix: large enough that tokens differ and attention chooses.
SPREAD = 0.15


class NotBuilt(Exception):
    """Upstream cannot make or run a random model of this family; the text says why."""


def build(family: str, **changes: Any) -> PreTrainedModel:
    """A tiny random model of `family` in float32, with `changes` to its config. Raises NotBuilt."""
    reasons: list[str] = []
    for variant in VARIANTS:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = make_model(family, make_config(CONFIG_MAPPING[family], {**variant, **changes}))
                check_it_runs(model)
        except Exception as exc:
            reasons.append(describe(exc))
            continue
        return model
    raise NotBuilt(reasons[0])


def make_config(kind: Any, variant: dict[str, Any], *, whole: bool = False) -> Any:
    """A tiny config of a class, its inner configs included; what `variant` says of one of them is for it alone.

    With `whole`, inner configs that the class leaves out by default are made too.
    """
    standard = getattr(kind, "attribute_map", {})
    declared = {field.name for field in dataclasses.fields(kind)} | set(standard)
    chosen = {name: size for size, names in SIZES for name in names.split() if name in declared}
    chosen |= {name: value for name, value in SETTINGS.items() if name in declared}
    if "qk_rope_head_dim" in declared:
        chosen.pop("head_dim", None)  # latent attention derives it
        chosen["num_key_value_heads"] = HEADS
    if {"expand", "num_heads"} <= declared:
        chosen["num_heads"] = 2 * WIDTH // D_HEAD
    chosen |= {name: copy.deepcopy(value) for name, value in variant.items() if name in declared}
    refuse_foreign_kinds(kind, chosen)
    chosen = {name: value for name, value in chosen.items() if value is not DROP}
    for name, part in list_parts(kind, whole=whole).items():
        chosen[name] = make_config(part, {**variant, **variant.get(name, {})}, whole=whole).to_dict()
    for alias, name in standard.items():
        if alias in chosen and name in chosen:
            chosen.pop(alias)
    config = kind(**chosen)
    kinds = {name: value for name, value in list_kinds(kind, config).items() if name not in chosen}
    if "attn_layer_indices" in chosen:  # which says the same in another way
        kinds = {}
    return kind(**chosen, **kinds) if kinds else config


def list_parts(kind: Any, *, whole: bool = False) -> dict[str, Any]:
    """The classes of the inner configs that a config holds by default; with `whole` also of those it may hold."""
    try:
        full = kind()
    except Exception:
        return {}
    may_hold = getattr(kind, "sub_configs", {})
    held = {name: type(getattr(full, name, None)) for name in may_hold}
    if whole:
        held |= {name: may_hold[name] for name, part in held.items() if part is type(None)}
    return {name: part for name, part in held.items() if dataclasses.is_dataclass(part)}


def refuse_foreign_kinds(kind: Any, chosen: dict[str, Any]) -> None:
    """Raise NotBuilt for kinds of blocks that the family does not have; some configs take any name."""
    try:
        full = kind()
    except Exception:
        return
    for name in ("layer_types", "layers_block_type"):
        own = getattr(full, name, None)
        if (
            isinstance(chosen.get(name), list)
            and isinstance(own, list)
            and own
            and not set(chosen[name]) <= set(own)
        ):
            raise NotBuilt(f"it has no blocks of the kinds {chosen[name]}")


def list_kinds(kind: Any, config: Any) -> dict[str, list[str]]:
    """Per-block lists that hold every kind of block the family has, where the shortened default lacks some."""
    chosen: dict[str, list[str]] = {}
    try:
        full = kind()
    except Exception:
        return chosen
    for name in ("layer_types", "mlp_layer_types", "layers_block_type"):
        if isinstance(getattr(kind, name, None), property):
            continue
        whole, short = getattr(full, name, None), getattr(config, name, None)
        if not isinstance(whole, list) or not whole or not isinstance(whole[0], str):
            continue
        every = list(dict.fromkeys(whole))
        if not isinstance(short, list) or (set(short) == set(every) and len(short) == BLOCKS):
            continue
        chosen[name] = (every * BLOCKS)[:BLOCKS]
    return chosen


def make_model(family: str, config: Any) -> PreTrainedModel:
    """A model with random weights that are far from neutral, the same every time."""
    torch.manual_seed(zlib.crc32(family.encode()))
    auto: Any = AutoModelForCausalLM
    if list_parts(type(config)):
        # A part whose sizes were overlooked would fill the memory.
        with torch.device("meta"):
            size = sum(parameter.numel() for parameter in auto.from_config(config).parameters())
        if size > MOST_PARAMETERS:
            raise NotBuilt(f"the smallest model has {size} parameters")
    model: PreTrainedModel = auto.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            unsettle(parameter)
        for name, buffer in model.named_buffers():
            if "bias" in name and buffer.is_floating_point():
                buffer.add_(0.5 * torch.rand_like(buffer))
    return model.requires_grad_(False)


def unsettle(parameter: Tensor) -> None:
    """Move a parameter off the value training would move it from."""
    if not parameter.is_floating_point():
        return
    if not torch.isfinite(parameter).all():
        parameter.normal_(0.0, SPREAD)
    elif parameter.dim() < 2:
        parameter.add_(0.3 * torch.randn_like(parameter))
    else:
        spread = float(parameter.std())
        if spread < 1e-6:
            parameter.add_(SPREAD * torch.randn_like(parameter))
        elif spread < SPREAD:
            parameter.mul_(SPREAD / spread)


def check_it_runs(model: PreTrainedModel) -> None:
    """Raises what the model itself raises on a short prompt, with eager attention where it has that."""
    token_ids = make_prompt(8)
    select_attention(model, "eager")
    with torch.inference_mode():
        logits = model(input_ids=token_ids[None], use_cache=False).logits
    if not torch.isfinite(logits).all():
        raise NotBuilt("its logits are not finite")
    if logits.shape[:2] != (1, 8):
        raise NotBuilt(f"its logits have the shape {list(logits.shape)}")


def make_prompt(count: int, seed: int = 3) -> Tensor:
    """Token ids [pos], none of them special."""
    return torch.randint(5, VOCAB, (count,), generator=torch.Generator().manual_seed(seed))


def describe(exc: Exception) -> str:
    """The last line of an error that says something, short enough for a table."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()] or [type(exc).__name__]
    text = lines[-1] if len(lines) > 1 and "validation error" in lines[0].lower() else lines[0]
    name = "" if isinstance(exc, NotBuilt) else f"{type(exc).__name__}: "
    return f"{name}{text}"[:160]
