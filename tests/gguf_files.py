"""Tiny GGUF files as llama.cpp's converter makes them of transformers' models, with the library `gguf`'s own writer.

What the converter changes of each family is written down here from `convert_hf_to_gguf.py` of llama.cpp.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from tiny import make_tokenizer
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerBase

from glassformer.loading.reading import BUILDING

Kind = gguf.GGMLQuantizationType
WIDTH, HEADS, KV_HEADS, BLOCKS, MLP = 64, 4, 2, 2, 96
# transformers' names of the same things in the configs of each family.
USUAL = {
    "hidden_size": WIDTH,
    "num_hidden_layers": BLOCKS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "intermediate_size": MLP,
    "max_position_embeddings": 256,
}
EPSILON = "attention.layer_norm_rms_epsilon"
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": USUAL,
    "qwen2": USUAL,
    "qwen3": USUAL | {"head_dim": 32},
    "qwen2_moe": USUAL
    | {
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 32,
        "shared_expert_intermediate_size": 64,
    },
    "qwen3_moe": USUAL
    | {
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 32,
        "head_dim": 32,
        "norm_topk_prob": True,
    },
    "phi3": USUAL | {"pad_token_id": 0},
    "gemma2": USUAL | {"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 8},
    "gemma3_text": USUAL
    | {"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 8, "num_hidden_layers": 6},
    "starcoder2": USUAL
    | {"rope_parameters": {"rope_type": "default", "rope_theta": 5000.0}, "sliding_window": None},
    "stablelm": USUAL | {"partial_rotary_factor": 0.5},
    "nemotron": USUAL,
    "lfm2": USUAL
    | {"layer_types": ["conv", "full_attention"], "block_auto_adjust_ff_dim": False, "conv_L_cache": 3},
    "gpt2": {"n_embd": WIDTH, "n_layer": BLOCKS, "n_head": HEADS, "n_positions": 64},
    "bloom": {"hidden_size": WIDTH, "n_layer": BLOCKS, "n_head": HEADS},
    "mamba": {"hidden_size": WIDTH, "num_hidden_layers": BLOCKS, "state_size": 8, "time_step_rank": 4},
}
ARCHITECTURES = {"qwen2_moe": "qwen2moe", "qwen3_moe": "qwen3moe", "gemma3_text": "gemma3"}


def make_causal(family: str, **changes: Any) -> Any:
    """A tiny random model of a family, with norms, biases and all away from what they begin as."""
    shape = CONFIGS[family] | {"vocab_size": 400, "bos_token_id": 0, "eos_token_id": 1} | changes
    torch.manual_seed(0)
    with BUILDING:
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **shape)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model


def write_gguf(
    path: Path,
    model: Any,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    kind: Kind = Kind.F32,
    pre: str = "gpt-2",
    metadata: dict[str, Any] | None = None,
    tensors: dict[str, np.ndarray] | None = None,
    **options: Any,
) -> Path:
    """Write `model`; matrices as `kind` where their rows are whole blocks of it. `metadata` comes before its own."""
    config = model.config
    architecture = ARCHITECTURES.get(config.model_type, config.model_type)
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, architecture, **options)
    for key, value in (describe(config) | (metadata or {})).items():
        if value is not None:
            add_value(
                writer,
                f"{architecture}.{key}" if not key.startswith(("general.", "tokenizer.")) else key,
                value,
            )
    add_tokenizer(writer, tokenizer or make_tokenizer(), config.vocab_size, pre)
    for name, tensor in (convert(model, architecture) | (tensors or {})).items():
        block = gguf.GGML_QUANT_SIZES[kind][0]
        is_packed = (
            tensor.ndim > 1 and tensor.shape[-1] % block == 0 and kind != Kind.F32 and "_norm" not in name
        )
        if is_packed:
            writer.add_tensor(name, gguf.quants.quantize(tensor, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def add_value(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    if key == "general.alignment":
        writer.add_custom_alignment(value)
    elif isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, list):
        writer.add_array(key, value)
    else:
        writer.add_string(key, value)


def add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Any, count: int, pre: str) -> None:
    """The vocabulary, with tokens that nobody uses up to the size of the model's table."""
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    unused = range(len(vocabulary), count)
    writer.add_token_list([token for token, _ in vocabulary] + [f"[PAD{id_}]" for id_ in unused])
    special = set(tokenizer.all_special_ids)
    writer.add_token_types([3 if id_ in special else 1 for _, id_ in vocabulary] + [5 for _ in unused])
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def describe(config: Any) -> dict[str, Any]:
    """The keys of a family's own, as the converter writes them."""

    def get(*names: str) -> Any:
        return next(
            (getattr(config, name) for name in names if getattr(config, name, None) is not None), None
        )

    rotary = getattr(config, "rope_parameters", None) or {}
    rotary = rotary.get("full_attention", rotary)
    heads = get("num_attention_heads", "n_head")
    width = get("hidden_size", "n_embd")
    head = get("head_dim") or (width // heads if heads else None)
    has_rms = any(hasattr(config, name) for name in ("rms_norm_eps",)) or config.model_type in (
        "mamba",
        "lfm2",
    )
    found = {
        "context_length": get("max_position_embeddings", "n_positions") or 64,
        "embedding_length": width,
        "block_count": get("num_hidden_layers", "n_layer"),
        "feed_forward_length": get("intermediate_size", "n_inner") or 4 * width,
        "attention.head_count": heads,
        "attention.head_count_kv": get("num_key_value_heads") or heads,
        EPSILON if has_rms else "attention.layer_norm_epsilon": float(
            get("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_epsilon", "norm_eps")
        ),
        "rope.freq_base": rotary.get("rope_theta"),
        "expert_count": get("num_experts"),
        "expert_used_count": get("num_experts_per_tok"),
        "expert_feed_forward_length": get("moe_intermediate_size"),
        "expert_shared_feed_forward_length": get("shared_expert_intermediate_size"),
        "attention.sliding_window": get("sliding_window"),
        "attn_logit_softcapping": get("attn_logit_softcapping"),
        "final_logit_softcapping": get("final_logit_softcapping"),
    }
    if rotary:
        share = rotary.get("partial_rotary_factor") or get("partial_rotary_factor") or 1
        found["rope.dimension_count"] = int(head * share)
    if get("head_dim") and config.model_type != "llama":
        found |= {"attention.key_length": head, "attention.value_length": head}
    if config.model_type == "lfm2":
        # A block that has no heads is one that convolves.
        found |= {"attention.head_count_kv": [0, KV_HEADS], "shortconv.l_cache": config.conv_L_cache}
    if config.model_type == "mamba":
        del found["attention.head_count"], found["attention.head_count_kv"]
        found |= {
            "feed_forward_length": 0,
            "ssm.conv_kernel": config.conv_kernel,
            "ssm.state_size": config.state_size,
        }
        found |= {"ssm.inner_size": config.intermediate_size, "ssm.time_step_rank": config.time_step_rank}
    return found


def convert(model: Any, architecture: str) -> dict[str, np.ndarray]:
    """A model's tensors under ggml's names, changed as the converter changes them."""
    config = model.config
    blocks = getattr(config, "num_hidden_layers", None) or config.n_layer
    number = next(arch for arch, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    table = gguf.get_tensor_name_map(number, blocks)
    tied = config.tie_word_embeddings
    found: dict[str, np.ndarray] = {}
    for name, tensor in model.state_dict().items():
        if (name == "lm_head.weight" and tied) or name.endswith((".attn.bias", "masked_bias")):
            continue
        for theirs, value in split_experts(name, tensor):
            stem, _, ending = theirs.rpartition(".")
            if ending not in ("weight", "bias"):
                stem, ending = theirs, ""
            short = table.get_name(stem) or table.get_name(stem.removeprefix("transformer."))
            assert short is not None, theirs
            key = f"{short}.{ending}" if ending else short
            found[key] = undo(model, key, value.detach().float().numpy())
    return found


def split_experts(name: str, tensor: torch.Tensor) -> list[tuple[str, torch.Tensor]]:
    """transformers keeps gate and up of all experts as one; ggml keeps each for itself."""
    if name.endswith("experts.gate_up_proj"):
        gate, up = tensor.chunk(2, dim=1)
        stem = name.removesuffix("gate_up_proj")
        return [(f"{stem}gate_proj.weight", gate), (f"{stem}up_proj.weight", up)]
    if name.endswith("experts.down_proj"):
        return [(f"{name}.weight", tensor)]
    return [(name, tensor)]


def undo(model: Any, key: str, value: np.ndarray) -> np.ndarray:
    config = model.config
    family = config.model_type
    if family == "llama" and (".attn_q." in key or ".attn_k." in key):
        heads = HEADS if ".attn_q." in key else KV_HEADS
        value = (
            value.reshape(heads, 2, value.shape[0] // heads // 2, *value.shape[1:])
            .swapaxes(1, 2)
            .reshape(value.shape)
        )
    if family in ("gemma2", "gemma3_text", "nemotron") and key.endswith("norm.weight"):
        value = value + 1
    if family == "gpt2" and key.endswith(
        ("attn_qkv.weight", "attn_output.weight", "ffn_up.weight", "ffn_down.weight")
    ):
        value = value.T
    if family == "bloom" and "attn_qkv" in key:
        parts = value.reshape(HEADS, 3, WIDTH // HEADS, *value.shape[1:])
        value = np.concatenate([parts[:, part].reshape(-1, *value.shape[1:]) for part in range(3)])
    if family == "mamba" and key.endswith("ssm_a"):
        value = -np.exp(value)
    if family == "mamba" and key.endswith("ssm_conv1d.weight"):
        value = value.squeeze(1)
    if key.endswith("shortconv.conv.weight"):
        value = value.squeeze(1)
    if key.endswith("ffn_gate_inp_shexp.weight"):
        value = value.squeeze(0)
    return np.ascontiguousarray(value)


def make_store(file: Path, root: Path, name: str = "library/tiny/1b", **layers: Any) -> Path:
    """What `ollama pull` leaves: blobs by their digests, and the manifest that names them."""
    listed = []
    contents = {"model": file.read_bytes()} | {
        kind: (json.dumps(content) if isinstance(content, dict) else content).encode()
        for kind, content in layers.items()
    }
    (root / "blobs").mkdir(parents=True, exist_ok=True)
    for kind, content in contents.items():
        digest = hashlib.sha256(content).hexdigest()
        (root / "blobs" / f"sha256-{digest}").write_bytes(content)
        listed.append(
            {
                "mediaType": f"application/vnd.ollama.image.{kind}",
                "digest": f"sha256:{digest}",
                "size": len(content),
            }
        )
    manifest = root / "manifests" / "registry.ollama.ai" / name
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(json.dumps({"schemaVersion": 2, "layers": listed}))
    return manifest
