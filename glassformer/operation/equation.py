"""Equations as data, and the one place that computes them: the self-check runs them whole.

An equation is a `protocol.anatomy.Equation`: an operation of a closed set on inputs, which are sites, weights or
equations. Shapes follow the sites: features [pos, feature], heads [head, pos, d_head], attention
[head, query, key]. Knows nothing of hooks or recordings: an `Operands` brings the tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from glassformer.compute.attention_call import compute_probabilities, compute_scores
from glassformer.protocol.anatomy import Equation, EquationInput, Input, SiteInput, WeightInput


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

    def first_positions(self) -> tuple[int, int]:
        """Where the first query and the first key stand in the text."""

    def activate(self, block: int, x: Tensor) -> Tensor:
        """The block's own activation function."""

    def mask(self, block: int) -> Tensor:
        """Which keys each query may see, as the model itself masks them; boolean, [head or 1, query, key]."""

    def run_module(self, name: str, *given: Tensor) -> Tensor:
        """What one of the model's own modules makes of tensors."""


# Activation functions that models apply without holding them as a module; the names are those of PyTorch's modules.
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "SiLU": torch.nn.functional.silu,
    "GELU": torch.nn.functional.gelu,
    "GELUTanh": partial(torch.nn.functional.gelu, approximate="tanh"),
    "ReLU": torch.relu,
    "ReLU2": lambda x: torch.relu(x).square(),
    "Sigmoid": torch.sigmoid,
    "Softplus": torch.nn.functional.softplus,
}


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


def cut_weight(
    given: WeightInput, stored: Tensor, *, transposed: bool, rows: list[int] | None = None
) -> Tensor:
    """The run of output features an input names, as [d_out, d_in] (or [d_out] for a bias).

    `rows` (see `list_rows`) picks them where several roles take turns in one weight.
    """
    weight = stored.T if transposed and stored.dim() == 2 else stored
    if rows is not None:
        return weight[list_rows(rows, weight.shape[0])]
    return weight[given.start : given.stop]


def list_rows(rows: list[int], d_out: int) -> list[int]:
    """Output features of a role in a weight that several share, in order.

    `rows` is [groups, units, first, count]: the features are groups of `units` equal runs, and the role has `count`
    runs from the `first` of each group (GPT-NeoX: one group a head, of a query, a key and a value).
    """
    groups, units, first, count = rows
    places = torch.arange(d_out).view(groups, units, d_out // (groups * units))
    return [int(place) for place in places[:, first : first + count].reshape(-1)]


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


def find_open(equation: Equation) -> Equation | None:
    """The part of an equation whose factor has been left open, if there is one."""
    if "factor" in equation.attributes and equation.attributes["factor"] is None:
        return equation
    nested = (find_open(given.equation) for given in equation.inputs if isinstance(given, EquationInput))
    return next((found for found in nested if found is not None), None)


def close_factor(equation: Equation, factor: float) -> Equation:
    """The equation with its open factors set."""
    attributes = dict(equation.attributes)
    if "factor" in attributes and attributes["factor"] is None:
        attributes["factor"] = factor
    inputs = [
        EquationInput(equation=close_factor(given.equation, factor))
        if isinstance(given, EquationInput)
        else given
        for given in equation.inputs
    ]
    return equation.model_copy(update={"inputs": inputs, "attributes": attributes})


def merge_heads(x: Tensor) -> Tensor:
    """[head, pos, d_head] as [pos, feature]."""
    return x.transpose(0, 1).reshape(x.shape[1], -1)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[pos, feature] as [head, pos, d_head]."""
    return x.reshape(x.shape[0], heads, -1).transpose(0, 1)


def _norm(equation: Equation, operands: Operands) -> Tensor:
    x = read_input(equation.inputs[0], operands).float()
    if equation.attributes.get("merge_heads"):
        x = merge_heads(x)
    normed = _normed(equation, operands, x)
    heads = equation.attributes.get("heads")
    return split_heads(normed, int(heads)) if heads else normed


def _normed(equation: Equation, operands: Operands, x: Tensor) -> Tensor:
    parameters = [read_input(given, operands).float() for given in equation.inputs[1:]]
    eps = float(equation.attributes["eps"])
    if equation.attributes["norm"] == "layer":
        centred = x - x.mean(-1, keepdim=True)
        normed = centred / torch.sqrt(centred.pow(2).mean(-1, keepdim=True) + eps)
    else:
        normed = x / rms(x, eps)
    if x.dim() == 3:
        # A gain for each head is [head, d_head].
        parameters = [p[:, None] if p.dim() == 2 else p for p in parameters]
    if parameters:
        normed = normed * (parameters[0] + float(equation.attributes.get("offset", 0.0)))
    return normed + parameters[1] if len(parameters) > 1 else normed


def _matmul(equation: Equation, operands: Operands) -> Tensor:
    x = read_input(equation.inputs[0], operands)
    if equation.attributes.get("merge_heads"):
        x = merge_heads(x)
    transposed, rows = bool(equation.attributes.get("transposed")), equation.attributes.get("rows")
    maps = [given for given in equation.inputs[1:] if isinstance(given, WeightInput)]
    weight = cut_weight(maps[0], operands.weight(maps[0].name), transposed=transposed, rows=rows)
    bias = None
    if len(maps) > 1:
        bias = cut_weight(maps[1], operands.weight(maps[1].name), transposed=False, rows=rows)
    y = torch.nn.functional.linear(x.to(weight.dtype), weight, bias)
    heads = equation.attributes.get("heads")
    return split_heads(y, int(heads)) if heads else y


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


def allowed(query: int, key: int, window: int | None, chunk: int | None = None) -> bool:
    """Whether a causal (sliding, chunked) mask lets position `query` see position `key`."""
    near = window is None or query - key < window
    return key <= query and near and (chunk is None or query // chunk == key // chunk)


def _mask(equation: Equation, operands: Operands) -> Tensor:
    scores = read_input(equation.inputs[0], operands)
    if equation.attributes.get("pattern") == "model":
        return scores.masked_fill(~operands.mask(int(equation.attributes["block"])), -torch.inf)
    first_query, first_key = operands.first_positions()
    rows = first_query + torch.arange(scores.shape[1], device=scores.device)[:, None]
    columns = first_key + torch.arange(scores.shape[2], device=scores.device)[None, :]
    open_cells = columns <= rows
    window = equation.attributes.get("window")
    if window is not None:
        open_cells &= rows - columns < int(window)
    chunk = equation.attributes.get("chunk")
    if chunk is not None:
        open_cells &= rows // int(chunk) == columns // int(chunk)
    return scores.masked_fill(~open_cells, -torch.inf)


def _softmax(equation: Equation, operands: Operands) -> Tensor:
    sinks = read_input(equation.inputs[1], operands) if len(equation.inputs) > 1 else None
    return compute_probabilities(read_input(equation.inputs[0], operands), sinks)


def _weighted_sum(equation: Equation, operands: Operands) -> Tensor:
    probabilities, value = (read_input(given, operands) for given in equation.inputs)
    groups = probabilities.shape[0] // value.shape[0]
    return probabilities @ value.repeat_interleave(groups, dim=0)


def _activation(equation: Equation, operands: Operands) -> Tensor:
    x = read_input(equation.inputs[0], operands)
    if "block" not in equation.attributes:
        return FUNCTIONS[str(equation.attributes["function"])](x)
    return operands.activate(int(equation.attributes["block"]), x)


def _multiply(equation: Equation, operands: Operands) -> Tensor:
    first, second = (read_input(given, operands) for given in equation.inputs)
    return first * second


def route(logits: Tensor, correction: Tensor | None, attributes: dict[str, Any]) -> Tensor:
    """Weights of experts from router logits [pos, expert]: zero for those not chosen, [pos, expert].

    Scores are the `score` of the logits ("softmax", "sigmoid"), or, for those chosen by the logits themselves, of these
    alone ("softmax_chosen", "sigmoid_chosen"); a correction takes part in choosing and not in the weights (DeepSeek-AI
    2024, section 2.1.2).
    """
    wide = logits if logits.dtype == torch.float64 else logits.float()
    score = str(attributes["score"])
    scores = wide.softmax(-1) if score == "softmax" else wide.sigmoid() if score == "sigmoid" else wide
    ranked = scores if correction is None else scores + correction
    groups = int(attributes.get("groups", 1))
    if groups > 1:
        ranked = _keep_best_groups(ranked, groups, attributes)
    chosen = ranked.topk(int(attributes["top_k"]), dim=-1).indices
    weights = scores.gather(-1, chosen)
    if score == "softmax_chosen":
        weights = weights.softmax(-1)
    if score == "sigmoid_chosen":
        weights = weights.sigmoid()
    if attributes.get("renormalised"):
        weights = weights / weights.sum(-1, keepdim=True)
    weights = weights * float(attributes.get("factor", 1.0))
    return torch.zeros_like(wide).scatter(-1, chosen, weights)


def _keep_best_groups(ranked: Tensor, groups: int, attributes: dict[str, Any]) -> Tensor:
    """`ranked` with experts outside the best groups of their row shut out."""
    grouped = ranked.view(len(ranked), groups, -1)
    best = grouped.topk(int(attributes["group_experts"]), dim=-1).values.sum(-1)
    kept = best.topk(int(attributes["top_groups"]), dim=-1).indices
    is_kept = torch.zeros_like(best, dtype=torch.bool).scatter(-1, kept, True)
    return grouped.masked_fill(~is_kept[..., None], -torch.inf).view(len(ranked), -1)


def _route(equation: Equation, operands: Operands) -> Tensor:
    logits = read_input(equation.inputs[0], operands)
    correction = read_input(equation.inputs[1], operands) if len(equation.inputs) > 1 else None
    return route(logits, correction, equation.attributes)


def _sum_experts(equation: Equation, operands: Operands) -> Tensor:
    """The model's own experts, each position's chosen ones weighted and summed."""
    x, weights = (read_input(given, operands) for given in equation.inputs)
    chosen = weights.abs().topk(int((weights != 0).sum(-1).max()), dim=-1).indices
    picked = weights.gather(-1, chosen).to(x.dtype)
    return operands.run_module(str(equation.attributes["module"]), x, chosen, picked)


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
    "route": _route,
    "sum_experts": _sum_experts,
}
