"""A model's dimensions from its config, under the names of both habits (GPT-2's and Llama's)."""

from __future__ import annotations

from typing import Any

from glassformer.errors import ModelRefused
from glassformer.model.load import find_context

WIDTH = ("hidden_size", "n_embd", "d_model", "dim", "n_embed")
BLOCKS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads")
KV_HEADS = ("num_key_value_heads", "n_head_kv", "num_kv_heads", "multi_query_group_num")
MLP = ("intermediate_size", "n_inner", "ffn_hidden_size", "ffn_dim", "d_inner", "d_ff")


def list_dimensions(config: Any) -> dict[str, Any]:
    """Width, blocks, heads, vocabulary, context and more. Raises ModelRefused where there is no text model."""
    text = config.get_text_config()
    width, blocks, heads = first(text, WIDTH), first(text, BLOCKS), first(text, HEADS)
    vocab = first(text, ("vocab_size",))
    if width is None or blocks is None or vocab is None:
        raise ModelRefused("The model's config states no width, blocks or vocabulary.")
    context = find_context(config)
    mlp = first(text, MLP)
    return {
        "n_embd": width,
        "hidden_size": width,
        "n_head": heads or 0,
        "num_attention_heads": heads or 0,
        "n_layer": blocks,
        "num_hidden_layers": blocks,
        "vocab_size": vocab,
        "block_size": context,
        "max_position_embeddings": context,
        "num_key_value_heads": first(text, KV_HEADS) or heads or 0,
        "head_dim": first(text, ("head_dim", "d_kv")) or (width // heads if heads else 0),
        # GPT-2 leaves it out and means four times the width.
        "intermediate_size": mlp or 4 * width,
        "model_type": config.model_type,
        "architectures": list(getattr(config, "architectures", None) or []),
    }


def first(config: Any, names: tuple[str, ...]) -> int | None:
    """The first of `names` that the config gives as a number; per-block lists give their largest."""
    for name in names:
        value = getattr(config, name, None)
        if isinstance(value, list) and value and all(isinstance(item, int) for item in value):
            value = max(value)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None
