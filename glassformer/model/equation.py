"""Equations as data, and the one place that computes them: the self-check runs them whole.

An equation is a `protocol.messages.Equation`: an operation of a closed set on inputs, which are sites, weights or
equations. Shapes follow the sites: features [pos, feature], heads [head, pos, d_head], attention
[head, query, key]. Knows nothing of hooks or recordings: an `Operands` brings the tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from glassformer.model.attention import compute_probabilities, compute_scores
from glassformer.protocol.messages import Equation, EquationInput, Input, SiteInput, WeightInput


class Operands(Protocol):
    """Where an equation's tensors come from."""

    def site(self, address: str) -> Tensor:
        """The values of a site, in the order of its axes."""

    def weight(self, name: str) -> Tensor:
        """A parameter, as stored."""

    def token_ids(self) -> Tensor:
        """The token ids, [pos]."""

    def rotary(self, block: int) -> tuple[Tensor, Tensor]:
        """Cosine and sine tables of a block, each [pos, d_rotary]."""

    def activate(self, block: int, x: Tensor) -> Tensor:
        """The block's own activation function."""


def evaluate(equation: Equation, operands: Operands) -> Tensor:
    """Compute the whole tensor an equation describes."""
    return _EVALUATE[equation.operation](equation, operands)


def read_input(given: Input, operands: Operands) -> Tensor:
    """The tensor of one input; a weight is cut to its run of output features and turned to [d_out, d_in]."""
    if isinstance(given, SiteInput):
        return operands.site(given.address)
    if isinstance(given, EquationInput):
        return evaluate(given.equation, operands)
    return operands.weight(given.name)


def cut_weight(given: WeightInput, stored: Tensor, *, transposed: bool) -> Tensor:
    """The run of output features an input names, as [d_out, d_in] (or [d_out] for a bias)."""
    weight = stored.T if transposed and stored.dim() == 2 else stored
    return weight[given.start : given.stop]


def rms(x: Tensor, eps: float) -> Tensor:
    """Root mean square over the last axis, kept, with `eps` under the root (Zhang and Sennrich 2019)."""
    return torch.sqrt(x.pow(2).mean(-1, keepdim=True) + eps)


def spread_table(table: Tensor, attributes: dict[str, Any]) -> Tensor:
    """A cosine or sine table [pos, width] as one value for each rotated feature, [pos, d_rotary].

    Models keep one angle a pair (`table` "angles"), or the angles twice over (`table` "halves"), or each angle
    next to itself (`table` "neighbours"); the pairing of the features is a separate matter.
    """
    kept = str(attributes["table"])
    angles = (
        table if kept == "angles" else table[:, : table.shape[1] // 2] if kept == "halves" else table[:, ::2]
    )
    if attributes["pairing"] == "halves":
        return torch.cat([angles, angles], dim=1)
    return angles.repeat_interleave(2, dim=1)


def rotary_partner(index: int, d_rotary: int, pairing: str) -> tuple[int, float]:
    """The feature that rotary embedding mixes into `index`, and the sign of its sine term.

    `halves` pairs i with i + d/2 (GPT-NeoX, Llama); `neighbours` pairs 2i with 2i + 1 (Su et al. 2021).
    """
    if pairing == "halves":
        half = d_rotary // 2
        return (index + half, -1.0) if index < half else (index - half, 1.0)
    return (index + 1, -1.0) if index % 2 == 0 else (index - 1, 1.0)


def _lookup(equation: Equation, operands: Operands) -> Tensor:
    table = read_input(equation.inputs[0], operands)
    ids = operands.token_ids()
    if equation.attributes["by"] == "token_ids":
        return table[ids]
    first = int(equation.attributes.get("first", 0))
    return table[first : first + len(ids)]


def _add(equation: Equation, operands: Operands) -> Tensor:
    parts = [read_input(given, operands) for given in equation.inputs]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _scale(equation: Equation, operands: Operands) -> Tensor:
    return read_input(equation.inputs[0], operands) * float(equation.attributes["factor"])


def _norm(equation: Equation, operands: Operands) -> Tensor:
    x = read_input(equation.inputs[0], operands).float()
    parameters = [read_input(given, operands).float() for given in equation.inputs[1:]]
    eps = float(equation.attributes["eps"])
    if equation.attributes["norm"] == "layer":
        centred = x - x.mean(-1, keepdim=True)
        normed = centred / torch.sqrt(centred.pow(2).mean(-1, keepdim=True) + eps)
    else:
        normed = x / rms(x, eps)
    if parameters:
        normed = normed * (parameters[0] + float(equation.attributes.get("offset", 0.0)))
    return normed + parameters[1] if len(parameters) > 1 else normed


def _matmul(equation: Equation, operands: Operands) -> Tensor:
    x = read_input(equation.inputs[0], operands)
    if equation.attributes.get("merge_heads"):
        x = x.transpose(0, 1).reshape(x.shape[1], -1)
    transposed = bool(equation.attributes.get("transposed"))
    maps = [given for given in equation.inputs[1:] if isinstance(given, WeightInput)]
    weight = cut_weight(maps[0], operands.weight(maps[0].name), transposed=transposed)
    bias = cut_weight(maps[1], operands.weight(maps[1].name), transposed=False) if len(maps) > 1 else None
    y = torch.nn.functional.linear(x.to(weight.dtype), weight, bias)
    heads = equation.attributes.get("heads")
    return y.view(y.shape[0], int(heads), -1).transpose(0, 1) if heads else y


def _rotary(equation: Equation, operands: Operands) -> Tensor:
    x = read_input(equation.inputs[0], operands)
    cos, sin = (
        spread_table(t, equation.attributes) for t in operands.rotary(int(equation.attributes["block"]))
    )
    d_rotary = cos.shape[-1]
    turned, kept = x[..., :d_rotary], x[..., d_rotary:]
    pairing = str(equation.attributes["pairing"])
    order, signs = zip(*(rotary_partner(i, d_rotary, pairing) for i in range(d_rotary)), strict=True)
    partner = turned[..., list(order)] * torch.tensor(signs, dtype=x.dtype, device=x.device)
    return torch.cat([turned * cos + partner * sin, kept], dim=-1)


def _dot(equation: Equation, operands: Operands) -> Tensor:
    query, key = (read_input(given, operands) for given in equation.inputs[:2])
    return compute_scores(query, key, mask=None, scaling=1.0)


def _softcap(equation: Equation, operands: Operands) -> Tensor:
    cap = float(equation.attributes["cap"])
    return cap * torch.tanh(read_input(equation.inputs[0], operands) / cap)


def allowed(query: int, key: int, window: int | None) -> bool:
    """Whether a causal (sliding) mask lets position `query` see position `key`."""
    return key <= query and (window is None or query - key < window)


def _mask(equation: Equation, operands: Operands) -> Tensor:
    scores = read_input(equation.inputs[0], operands)
    rows = torch.arange(scores.shape[1], device=scores.device)[:, None]
    columns = torch.arange(scores.shape[2], device=scores.device)[None, :]
    open_cells = columns <= rows
    window = equation.attributes.get("window")
    if window is not None:
        open_cells &= rows - columns < int(window)
    return scores.masked_fill(~open_cells, -torch.inf)


def _softmax(equation: Equation, operands: Operands) -> Tensor:
    sinks = read_input(equation.inputs[1], operands) if len(equation.inputs) > 1 else None
    return compute_probabilities(read_input(equation.inputs[0], operands), sinks)


def _weighted_sum(equation: Equation, operands: Operands) -> Tensor:
    probabilities, value = (read_input(given, operands) for given in equation.inputs)
    groups = probabilities.shape[0] // value.shape[0]
    return probabilities @ value.repeat_interleave(groups, dim=0)


def _activation(equation: Equation, operands: Operands) -> Tensor:
    return operands.activate(int(equation.attributes["block"]), read_input(equation.inputs[0], operands))


def _multiply(equation: Equation, operands: Operands) -> Tensor:
    first, second = (read_input(given, operands) for given in equation.inputs)
    return first * second


_EVALUATE: dict[str, Callable[[Equation, Operands], Tensor]] = {
    "lookup": _lookup,
    "add": _add,
    "scale": _scale,
    "norm": _norm,
    "matmul": _matmul,
    "rotary": _rotary,
    "dot": _dot,
    "softcap": _softcap,
    "mask": _mask,
    "softmax": _softmax,
    "weighted_sum": _weighted_sum,
    "activation": _activation,
    "multiply": _multiply,
}
