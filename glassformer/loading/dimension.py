"""A model's dimensions from its config, under the names of both habits (GPT-2's and Llama's)."""

from __future__ import annotations

from typing import Any

from glassformer.errors import ModelRefused
from glassformer.loading.config import find_context
from glassformer.loading.field import first_number

WIDTH = ("hidden_size", "n_embd", "d_model", "dim", "n_embed")
BLOCKS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads")
KV_HEADS = ("num_key_value_heads", "n_head_kv", "num_kv_heads", "multi_query_group_num")
D_HEAD = ("head_dim", "d_kv")
MLP = ("intermediate_size", "n_inner", "ffn_hidden_size", "ffn_dim", "d_inner", "d_ff")


def list_dimensions(config: Any) -> dict[str, Any]:
    """Width, blocks, heads, vocabulary, context and more. Raises ModelRefused where there is no text model."""
    text = config.get_text_config()
    width, blocks, heads = first_number(text, WIDTH), first_number(text, BLOCKS), first_number(text, HEADS)
    vocab = first_number(text, ("vocab_size",))
    if width is None or blocks is None or vocab is None:
        raise ModelRefused("The model's config states no width, blocks or vocabulary.")
    context = find_context(config)
    mlp = first_number(text, MLP)
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
        "num_key_value_heads": first_number(text, KV_HEADS) or heads or 0,
        "head_dim": first_number(text, D_HEAD) or (width // heads if heads else 0),
        # GPT-2 leaves it out and means four times the width.
        "intermediate_size": mlp or 4 * width,
        "model_type": config.model_type,
        "architectures": list(getattr(config, "architectures", None) or []),
    }
