"""How far a Llama-shaped block may be off, cell by cell, from what its weights say: a running error analysis.

Everything is computed in float64 from what the run itself recorded, and each value brings a bound of its own error
(Higham 2002, "Accuracy and Stability of Numerical Algorithms", section 3.3; for long sums Higham and Mary 2019). No
cell's bound knows of any other cell that it is not computed from, so a cell of 22,400 lends nothing to its neighbours.
Imports nothing of glassformer, on purpose.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# Sums are accumulated in float32, whatever the numbers are stored in.
ACCUMULATED = 2.0**-24
STORED = {torch.float32: 2.0**-24, torch.bfloat16: 2.0**-8}
SMALLEST = 2.0**-127


@dataclass
class Known:
    """A value in float64, and by how much what the model holds in its place may differ, cell by cell."""

    value: Tensor
    error: Tensor

    def stored(self, unit: float) -> Known:
        """Rounded to the format in which the model stores it."""
        return Known(self.value, self.error + unit * (self.value.abs() + self.error) + SMALLEST)

    def __add__(self, other: Known) -> Known:
        value = self.value + other.value
        return Known(value, self.error + other.error + ACCUMULATED * value.abs())

    def __mul__(self, other: Known) -> Known:
        value = self.value * other.value
        error = self.error * other.value.abs() + other.error * self.value.abs() + self.error * other.error
        return Known(value, error + ACCUMULATED * value.abs())

    def __matmul__(self, other: Known) -> Known:
        """Sums of products over the last axis of this and the last but one of the other."""
        x, w = self.value.abs(), other.value.abs()
        error = grow(x.shape[-1] + 2) * (x @ w) + self.error @ (w + other.error) + x @ other.error
        return Known(self.value @ other.value, error)

    def map(self, change: Any) -> Known:
        """The cells in another shape or order."""
        return Known(change(self.value), change(self.error))


def exactly(value: Tensor) -> Known:
    return Known(value.double(), torch.zeros(value.shape, dtype=torch.float64))


def grow(count: int) -> float:
    """How rounding grows in a sum of `count` numbers."""
    return min(count, 8 * math.sqrt(count)) * ACCUMULATED


def expect(model: Any, number: int, sites: dict[str, Tensor]) -> dict[str, Known]:
    """The sites of a block by point, each from the nearest sites that the same run recorded, with its error's bound.

    `sites` are by point, all of the same positions, the first one on. Queries, keys and values that were not recorded
    are taken from what attention read, with their bounds.
    """
    block, config = model.model.layers[number], model.config
    attention, mlp, unit = block.self_attn, block.mlp, STORED[model.dtype]
    given = {point: exactly(cells) for point, cells in sites.items()}
    found = {"attn_in": normalise(given["resid_pre"], block.input_layernorm, unit)}
    positions = torch.arange(len(sites["resid_pre"]))[None]
    tables = [
        exactly(table[0]) for table in model.model.rotary_emb(torch.zeros(1, 1, dtype=model.dtype), positions)
    ]
    for role in ("q", "k", "v"):
        flat = multiply(given["attn_in"], getattr(attention, f"{role}_proj"), unit)
        heads = flat.map(lambda cells: cells.unflatten(-1, (-1, config.head_dim)).transpose(0, 1))
        found[role] = heads if role == "v" else rotate(heads, *tables, unit)
    groups = config.num_attention_heads // config.num_key_value_heads
    query, key, value = (given.get(role, found[role]) for role in ("q", "k", "v"))
    key, value = (one.map(lambda cells: cells.repeat_interleave(groups, 0)) for one in (key, value))
    found["attn_scores"], shares = attend(query, key)
    found["attn_probs"] = shares
    found["z"] = (shares.stored(unit) @ value).stored(unit)
    mixed = given["z"].map(lambda cells: cells.transpose(0, 1).flatten(1))
    found["attn_out"] = multiply(mixed, attention.o_proj, unit)
    found["resid_mid"] = (given["resid_pre"] + given["attn_out"]).stored(unit)
    found["mlp_in"] = normalise(given["resid_mid"], block.post_attention_layernorm, unit)
    found["mlp_pre"] = multiply(given["mlp_in"], mlp.gate_proj, unit)
    found["mlp_pre_linear"] = multiply(given["mlp_in"], mlp.up_proj, unit)
    found["mlp_act"] = (activate(given["mlp_pre"]).stored(unit) * given["mlp_pre_linear"]).stored(unit)
    found["mlp_out"] = multiply(given["mlp_act"], mlp.down_proj, unit)
    found["resid_post"] = (given["resid_mid"] + given["mlp_out"]).stored(unit)
    return found


def multiply(rows: Known, linear: Any, unit: float) -> Known:
    return (rows @ exactly(linear.weight.detach().T)).stored(unit)


def normalise(rows: Known, norm: Any, unit: float) -> Known:
    """Root mean square norm, stored before the gain and after it."""
    size = rows.value.shape[-1]
    scale = (rows.value.square().mean(-1, keepdim=True) + norm.variance_epsilon).rsqrt()
    value = rows.value * scale
    # By how much the error of all cells together may change the scale (Cauchy-Schwarz), and then rounding.
    drift = (rows.error.square().sum(-1, keepdim=True) / size).sqrt() * scale
    error = rows.error * scale + value.abs() * (drift + grow(size + 4))
    return (Known(value, error).stored(unit) * exactly(norm.weight.detach())).stored(unit)


def rotate(rows: Known, cosine: Known, sine: Known, unit: float) -> Known:
    half = rows.value.shape[-1] // 2
    turned = Known(
        torch.cat([-rows.value[..., half:], rows.value[..., :half]], -1),
        torch.cat([rows.error[..., half:], rows.error[..., :half]], -1),
    )
    return ((rows * cosine).stored(unit) + (turned * sine).stored(unit)).stored(unit)


def attend(query: Known, key: Known) -> tuple[Known, Known]:
    """Scores and probabilities [head, query, key] of causal attention, of the last rows, before anything is stored."""
    scores = query @ key.map(lambda cells: cells.transpose(-1, -2))
    scale = query.value.shape[-1] ** -0.5
    rows, keys = scores.value.shape[-2:]
    later = torch.ones(rows, keys, dtype=torch.bool).triu(1 + keys - rows)
    value = (scores.value * scale).masked_fill(later, -math.inf)
    error = (scores.error * scale + ACCUMULATED * scores.value.abs() * scale).masked_fill(later, 0.0)
    share = value.softmax(-1)
    most = value.amax(-1, keepdim=True)
    depth = (most - value).masked_fill(later, 0.0)
    # Exactly, not to first order: the error of a score may be large.
    less = (share * (-error).exp()).sum(-1, keepdim=True)
    worst = error.exp() / less - 1 + grow(share.shape[-1] + 16) + 4 * ACCUMULATED * depth
    return Known(value, error), Known(share, share * worst)


def activate(rows: Known) -> Known:
    """SiLU, whose slope is at most 1.1."""
    value = torch.nn.functional.silu(rows.value)
    return Known(value, 1.13 * rows.error + 8 * ACCUMULATED * (rows.value.abs() + value.abs()))


def measure(found: Tensor, expected: Known) -> tuple[float, float]:
    """The largest difference in bounds, and the root mean square of all; infinite where masks differ."""
    masked = expected.value.isinf()
    if found.shape != expected.value.shape or not torch.equal(found.double().isinf(), masked):
        return math.inf, math.inf
    cells = ((found.double() - expected.value).abs() / expected.error.clamp_min(1e-300))[~masked]
    return float(cells.nan_to_num(math.inf).max()), float(cells.square().mean().sqrt())


def check(found: Tensor, expected: Known, what: str, *, typical: float = 0.7) -> None:
    """Within the bounds; those of right numbers were never passed, and as a root mean square half of one is far."""
    largest, mean = measure(found, expected)
    assert largest <= 2.0, f"{what}: a cell is {largest:.3g} bounds off"
    assert mean <= typical, f"{what}: its cells are {mean:.3g} bounds off"
