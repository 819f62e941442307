"""Every way in which the weights of an attention or a dense MLP might hold their roles.

Which of them it is decides nothing here: equations are kept by running them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from torch import Tensor, nn

from glassformer.compute.quantize import find_whole_shape
from glassformer.structure.module import find_linear
from glassformer.structure.role import Projection, is_transposed

# Child modules of an attention by role.
QUERY_NAMES = ("q_proj", "query", "Wq", "wq", "q_b_proj")
KEY_NAMES = ("k_proj", "key", "Wk", "wk")
VALUE_NAMES = ("v_proj", "value", "Wv", "wv")
FUSED_NAMES = ("qkv_proj", "c_attn", "query_key_value", "Wqkv", "wqkv", "c_qkv", "qkv")
GATE_NAMES = ("gate_proj", "g_proj", "gate", "attn_gate", "output_gate")
FUSED_MLP_NAMES = ("gate_up_proj", "w12", "Wi", "wi", "fc1", "input_linear")
FUSED_MLP_OUT_NAMES = ("down_proj", "w3", "Wo", "wo", "fc2", "output_linear")


def lay_out_attention(
    attention: nn.Module, heads: int, kv_heads: int, d_head: int
) -> list[dict[str, Projection]]:
    """The roles q, k, v and gate among the children of an attention, in every layout that it might have."""
    fused = find_linear(attention, FUSED_NAMES)
    if fused is not None:
        return list(_lay_out_fused(fused, heads, kv_heads, d_head))
    found = {
        role: Projection(module, is_transposed(module))
        for role, names in (
            ("q", QUERY_NAMES),
            ("k", KEY_NAMES),
            ("v", VALUE_NAMES),
            ("gate", GATE_NAMES),
        )
        if (module := find_linear(attention, names)) is not None
    }
    if "k" in found and "v" not in found:
        found["v"] = found["k"]
    layouts = [found] if found else []
    if "q" in found and "gate" not in found:
        module = found["q"].module
        turns = {
            r: Projection(module, is_transposed(module), rows=(heads, 2, i, 1))
            for r, i in (("q", 0), ("gate", 1))
        }
        layouts.append({**found, **turns})
    return layouts


def _lay_out_fused(
    module: nn.Module, heads: int, kv_heads: int, d_head: int
) -> Iterator[dict[str, Projection]]:
    """Queries, keys and values in one weight: one after the other, or taking turns by head or by group of heads."""
    transposed, groups = is_transposed(module), heads // kv_heads
    edges = [0, heads * d_head, (heads + kv_heads) * d_head, (heads + 2 * kv_heads) * d_head]
    runs = zip("qkv", edges[:-1], edges[1:], strict=True)
    in_a_row = {role: Projection(module, transposed, start, stop) for role, start, stop in runs}
    units = groups + 2
    starts = {"q": (0, groups), "k": (groups, 1), "v": (groups + 1, 1)}
    in_turns = {
        role: Projection(module, transposed, rows=(kv_heads, units, first, count))
        for role, (first, count) in starts.items()
    }
    yield from (in_a_row, in_turns) if groups * kv_heads == heads else (in_a_row,)


def lay_out_gate_up(holder: nn.Module) -> list[dict[str, Projection]]:
    """Gate and up of an MLP as the two halves of one projection, either half first; none where they are not."""
    fused = find_linear(holder, FUSED_MLP_NAMES)
    down = find_linear(holder, FUSED_MLP_OUT_NAMES)
    if fused is None or down is None:
        return []
    width, d_mlp = (
        find_whole_shape(cast(Tensor, fused.weight))[0],
        find_whole_shape(cast(Tensor, down.weight))[1],
    )
    if width != 2 * d_mlp:
        return []
    out = Projection(down, is_transposed(down))
    first = Projection(fused, is_transposed(fused), 0, d_mlp)
    second = Projection(fused, is_transposed(fused), d_mlp, width)
    return [{"gate": first, "up": second, "down": out}, {"gate": second, "up": first, "down": out}]
