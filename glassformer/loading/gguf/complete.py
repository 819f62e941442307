"""What a GGUF file says of its model and transformers' older reader leaves out: put into the config, or refused.

Every key of an architecture's own is accounted for here: taken by the reader, put in, found to say what holds anyway,
or refused because the numbers would silently be others. Keys that nobody here knows are named in `list_unknown`.
The keys are those of ggml's docs/gguf.md and of llama.cpp's `llama-arch.cpp`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any

from glassformer.errors import ModelRefused
from glassformer.files.gguf import GgufHeader, GgufTensor, Value

EPSILONS = ("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_epsilon", "norm_eps")
CONTEXTS = ("max_position_embeddings", "n_positions", "n_ctx")
# Keys that the reader takes as they are, or that say nothing about numbers.
TAKEN = frozenset(
    {
        *("block_count", "embedding_length", "vocab_size", "feed_forward_length", "attention.head_count"),
        *(
            "attention.head_count_kv",
            "tensor_data_layout",
            "expert_count",
            "expert_used_count",
            "rope.scaling.type",
        ),
        *("rope.scaling.factor", "rope.scaling.original_context_length", "rope.scaling.finetuned"),
        *("rope.scaling.attn_factor", "rope.scale_linear", "rope.scaling.yarn_log_multiplier"),
        *("rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow", "rope.scaling.yarn_ext_factor"),
        *(
            "ssm.conv_kernel",
            "ssm.state_size",
            "ssm.time_step_rank",
            "ssm.inner_size",
            "attention.max_alibi_bias",
        ),
        *(
            "attention.relative_buckets_count",
            "decoder_start_token_id",
            "expert_gating_func",
            "shortconv.l_cache",
        ),
    }
)
# Keys whose value must be this, for another would have the model compute something else.
NEUTRAL: dict[str, tuple[Value, ...]] = {
    "attention.causal": (True,),
    "attention.clamp_kqv": (0.0,),
    "attention.scale": (0.0,),
    "logit_scale": (0.0, 1.0),
    "embedding_scale": (0.0, 1.0),
    "residual_scale": (0.0, 1.0),
    "leading_dense_block_count": (0,),
    "expert_shared_count": (0,),
    "expert_weights_scale": (0.0, 1.0),
    "nextn_predict_layers": (0,),
    "ssm.dt_b_c_rms": (False,),
    "pooling_type": (0,),
}
# Factors of a tensor that belongs to a block, by the way it scales rotary positions.
FREQUENCIES, LONG, SHORT = "rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"
# Llama 3's ways to scale rotary positions: factor and original context, with factors 1 and 4 for low and high ones.
LLAMA3 = [(factor, original) for factor in (8.0, 16.0, 32.0) for original in (8192, 4096, 131072)]


def complete(config: Any, header: GgufHeader) -> Any:
    """`config` with all that `header` says. Raises ModelRefused for what has no place in it."""
    refuse_lists(header)
    for key, value in list_own(header):
        if key in SETTERS:
            SETTERS[key](config, header, value)
        elif key in NEUTRAL and value not in NEUTRAL[key]:
            raise ModelRefused(
                f"The GGUF says {key} = {value}, which transformers' reader of {header.architecture!r} does not know."
            )
    set_rotary_scaling(config, header)
    set_family(config, header)
    set_ends(config, header)
    return config


def list_own(header: GgufHeader) -> list[tuple[str, Value]]:
    """The keys of the architecture's own, without its name."""
    prefix = f"{header.architecture}."
    return [
        (key.removeprefix(prefix), value) for key, value in header.metadata.items() if key.startswith(prefix)
    ]


def list_unknown(header: GgufHeader) -> list[str]:
    """Keys of the architecture's own of which it is not known what they change."""
    known = TAKEN | SETTERS.keys() | NEUTRAL.keys()
    return [key for key, _ in list_own(header) if key not in known]


def refuse_lists(header: GgufHeader) -> None:
    """Raise ModelRefused where blocks differ in their sizes: the older reader takes one number for all."""
    for key in ("attention.head_count", "attention.head_count_kv", "feed_forward_length"):
        value = header.own(key)
        if isinstance(value, list) and len(set(value)) > 1:
            raise ModelRefused(
                f"The blocks of the GGUF differ in {key}, which transformers does not read from GGUF for "
                f"{header.architecture!r}."
            )
    experts = header.own("expert_count")
    if experts and "moe" not in header.architecture and header.architecture not in WITH_EXPERTS:
        raise ModelRefused(
            f"The GGUF is of architecture {header.architecture!r} with {experts} experts, which transformers does not "
            "read from GGUF."
        )


WITH_EXPERTS = frozenset({"gpt-oss", "minimax-m2"})


def set_all(*names: str) -> Callable[[Any, GgufHeader, Value], None]:
    """Puts a value where the config has one of `names`."""

    def put(config: Any, _: GgufHeader, value: Value) -> None:
        for name in names:
            if hasattr(config, name):
                setattr(config, name, value)

    return put


def set_head_width(config: Any, header: GgufHeader, value: Value) -> None:
    """The width of a head: of its own where the config has one, else the model's width shared out."""
    if header.architecture == "gemma4":
        return  # of its wide heads alone, which the reader knows
    if hasattr(config, "head_dim"):
        config.head_dim = value
    elif value != find_head_width(config):
        raise ModelRefused(
            f"The GGUF has heads of width {value}, and those of {header.architecture!r} are {find_head_width(config)}."
        )


def set_value_width(config: Any, header: GgufHeader, value: Value) -> None:
    if header.architecture != "gemma4" and value != find_head_width(config):
        raise ModelRefused(
            f"The GGUF has values of width {value} and keys of another, which transformers does not read from GGUF "
            f"for {header.architecture!r}."
        )


def set_rotary_width(config: Any, header: GgufHeader, value: Value) -> None:
    """How much of a head is turned by rotary positions."""
    if header.architecture in ("gemma4", "minimax-m2"):
        return
    width = header.own("attention.key_length") or find_head_width(config)
    assert isinstance(value, int)
    assert isinstance(width, int)
    share = value / width
    rotary = getattr(config, "rope_parameters", None)
    has_own = hasattr(config, "partial_rotary_factor")
    is_partial = isinstance(rotary, dict) and "partial_rotary_factor" in rotary
    if has_own:
        config.partial_rotary_factor = share
    if isinstance(rotary, dict) and is_partial:
        rotary["partial_rotary_factor"] = share
    if share != 1 and not (has_own or is_partial):
        raise ModelRefused(
            f"The GGUF turns {value} of {width} features of a head by rotary positions, which transformers does not "
            f"read from GGUF for {header.architecture!r}."
        )


def find_head_width(config: Any) -> int:
    own = getattr(config, "head_dim", None)
    return int(own or config.hidden_size // config.num_attention_heads)


def set_rotary_base(config: Any, header: GgufHeader, value: Value) -> None:
    if header.architecture != "gemma4":
        for rotary in list_rotaries(config)[-1:]:
            rotary["rope_theta"] = value


def set_window_base(config: Any, _: GgufHeader, value: Value) -> None:
    rotary = getattr(config, "rope_parameters", None)
    if isinstance(rotary, dict) and isinstance(rotary.get("sliding_attention"), dict):
        rotary["sliding_attention"]["rope_theta"] = value


def set_parallel(config: Any, header: GgufHeader, value: Value) -> None:
    if getattr(config, "use_parallel_residual", value) != value:
        raise ModelRefused(
            f"The GGUF of {header.architecture!r} says one thing of its residual and holds another."
        )


def list_rotaries(config: Any) -> list[dict[str, Any]]:
    """The parameters of rotary positions that can be changed; the last are those of blocks that see everything."""
    rotary = getattr(config, "rope_parameters", None)
    if not isinstance(rotary, dict):
        return []
    kinds = [
        rotary[kind] for kind in ("sliding_attention", "full_attention") if isinstance(rotary.get(kind), dict)
    ]
    return kinds or [rotary]


def set_rotary_scaling(config: Any, header: GgufHeader) -> None:
    """How rotary positions are scaled, by the metadata or by factors that lie among the weights."""
    by_name = {tensor.name: tensor for tensor in header.tensors}
    kind = header.own("rope.scaling.type")
    factor = header.own("rope.scaling.factor") or header.own("rope.scale_linear")
    if kind is None and header.own("rope.scale_linear") not in (None, 0.0, 1.0):
        kind = "linear"
    scaling: dict[str, Any] = {}
    if kind == "linear" and factor not in (None, 0.0, 1.0):
        scaling = {"rope_type": "linear", "factor": factor}
    elif kind == "yarn":
        scaling = {"rope_type": "yarn", "factor": factor} | read_yarn(header)
    elif LONG in by_name and SHORT in by_name:
        scaling = read_longrope(config, header, by_name)
    elif kind not in (None, "none", "linear", "longrope"):
        raise ModelRefused(f"The GGUF scales rotary positions by {kind!r}, which is not known here.")
    if FREQUENCIES in by_name:
        scaling = find_llama3(config, read_floats(by_name[FREQUENCIES]))
    if not scaling:
        return
    rotaries = list_rotaries(config)
    if not rotaries:
        raise ModelRefused("The GGUF scales rotary positions, and its family has none.")
    rotaries[-1].update(scaling)


def read_yarn(header: GgufHeader) -> dict[str, Any]:
    names = {
        "rope.scaling.original_context_length": "original_max_position_embeddings",
        "rope.scaling.yarn_beta_fast": "beta_fast",
        "rope.scaling.yarn_beta_slow": "beta_slow",
        "rope.scaling.attn_factor": "attention_factor",
    }
    return {ours: header.own(key) for key, ours in names.items() if header.own(key) is not None}


def read_longrope(config: Any, header: GgufHeader, by_name: dict[str, GgufTensor]) -> dict[str, Any]:
    original = header.own("rope.scaling.original_context_length") or config.max_position_embeddings
    config.original_max_position_embeddings = original
    found = {
        "rope_type": "longrope",
        "long_factor": read_floats(by_name[LONG]),
        "short_factor": read_floats(by_name[SHORT]),
        "original_max_position_embeddings": original,
    }
    attention = header.own("rope.scaling.attn_factor")
    return found if attention is None else found | {"attention_factor": attention}


def find_llama3(config: Any, factors: list[float]) -> dict[str, Any]:
    """The parameters that make these factors of rotary frequencies, of the way in which Llama 3 scales them."""
    if all(factor == 1 for factor in factors):
        return {}
    base = float(list_rotaries(config)[-1]["rope_theta"])
    for factor, original in LLAMA3:
        made = make_llama3(len(factors), base, factor, original)
        if all(math.isclose(one, other, rel_tol=1e-3) for one, other in zip(made, factors, strict=True)):
            return {
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": original,
            }
    raise ModelRefused(
        "The GGUF scales rotary frequencies by factors that are not Llama 3's, which are not read here."
    )


def make_llama3(count: int, base: float, factor: float, original: int) -> list[float]:
    """What each of `count` frequencies is divided by (transformers' `_compute_llama3_parameters`)."""
    made = []
    for index in range(count):
        length = 2 * math.pi * base ** (index / count)
        smooth = (original / length - 1) / 3
        if length > original:
            made.append(factor)
        elif length < original / 4:
            made.append(1.0)
        else:
            made.append(1 / ((1 - smooth) / factor + smooth))
    return made


def read_floats(tensor: GgufTensor) -> list[float]:
    """The numbers of a small tensor. Raises ModelRefused for one that is not small, or not of 32-bit floats."""
    if tensor.stored != "F32" or tensor.numbers > 2**12:
        raise ModelRefused(f"The GGUF keeps {tensor.name!r} in a way that is not known here.")
    with tensor.file.open("rb") as file:
        file.seek(tensor.start)
        return list(struct.unpack(f"<{tensor.numbers}f", file.read(tensor.stored_bytes)))


def set_family(config: Any, header: GgufHeader) -> None:
    """What llama.cpp knows of a family without being told, or tells by which tensors are there."""
    names = {tensor.name for tensor in header.tensors}
    # Truer than the length of the vocabulary, which not every family's reader takes either.
    config.vocab_size = next(
        (tensor.shape[0] for tensor in header.tensors if tensor.name == "token_embd.weight"),
        config.vocab_size,
    )
    if hasattr(config, "attention_bias"):
        config.attention_bias = "blk.0.attn_q.bias" in names or "blk.0.attn_qkv.bias" in names
    if hasattr(config, "mlp_bias"):
        config.mlp_bias = "blk.0.ffn_up.bias" in names
    if header.architecture in ("gemma2", "gemma3"):
        # Only the largest of each scales queries by the width shared out (llama.cpp: LLM_TYPE_27B).
        is_largest = config.num_hidden_layers == {"gemma2": 46, "gemma3": 62}[header.architecture]
        shared = config.hidden_size // config.num_attention_heads
        config.query_pre_attn_scalar = shared if is_largest else config.head_dim
    if header.architecture == "gpt2":
        config.n_inner = header.own("feed_forward_length")
    if header.architecture == "falcon":
        if header.own("attention.head_count_kv") != 1 or "blk.0.attn_norm_2.weight" in names:
            raise ModelRefused(
                "The GGUF is a Falcon whose heads share keys in groups, which transformers does not read from GGUF."
            )
        config.multi_query, config.num_kv_heads, config.new_decoder_architecture = True, 1, False


def set_ends(config: Any, header: GgufHeader) -> None:
    """The tokens that begin, fill and end a text, which are the file's alone; a turn and a message end one as well."""
    for name, key in (("bos_token_id", "bos_token_id"), ("pad_token_id", "padding_token_id")):
        id_ = header.metadata.get(f"tokenizer.ggml.{key}")
        setattr(config, name, id_ if isinstance(id_, int) and 0 <= id_ < config.vocab_size else None)
    keys = ("eos_token_id", "eot_token_id", "eom_token_id")
    found = [header.metadata.get(f"tokenizer.ggml.{key}") for key in keys]
    ids = list(dict.fromkeys(id_ for id_ in found if isinstance(id_, int)))
    if not isinstance(config.eos_token_id, list):
        config.eos_token_id = ids if len(ids) > 1 else next(iter(ids), None)


SETTERS: dict[str, Callable[[Any, GgufHeader, Value], None]] = {
    "context_length": set_all(*CONTEXTS),
    "attention.layer_norm_rms_epsilon": set_all(*EPSILONS),
    "attention.layer_norm_epsilon": set_all(*EPSILONS),
    "attention.key_length": set_head_width,
    "attention.value_length": set_value_width,
    "rope.dimension_count": set_rotary_width,
    "rope.freq_base": set_rotary_base,
    "rope.freq_base_swa": set_window_base,
    "attention.sliding_window": set_all("sliding_window"),
    "attn_logit_softcapping": set_all("attn_logit_softcapping"),
    "final_logit_softcapping": set_all("final_logit_softcapping"),
    "expert_feed_forward_length": set_all("moe_intermediate_size"),
    "expert_shared_feed_forward_length": set_all("shared_expert_intermediate_size"),
    "expert_weights_norm": set_all("norm_topk_prob"),
    "use_parallel_residual": set_parallel,
}
