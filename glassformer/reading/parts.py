"""What each part of a model adds to a token's logit at one position: from the logit back to the embedding.

The final norm's size, and that of every norm on the way of a part to the stream, is taken as it was; everything else on
that way is linear, so that what the parts add comes to the logit. Followed from the end of the model to its beginning
along the equations that were found to hold (direct logit attribution: Elhage et al. 2021, "A Mathematical Framework for
Transformer Circuits").
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from glassformer.errors import GlassformerError
from glassformer.operation.inputs import NotLinear
from glassformer.operation.matmul import read_map
from glassformer.operation.operands import weight_of
from glassformer.protocol.anatomy import Equation, EquationInput, SiteInput
from glassformer.protocol.reading import Versus
from glassformer.reading.flow import RowOperands, find_change, has_operation
from glassformer.reading.part_list import Parts
from glassformer.reading.passage import Passage
from glassformer.reading.plan import find_equation
from glassformer.reading.position import PositionRows
from glassformer.structure.structure import Structure

if TYPE_CHECKING:
    from glassformer.run.run import Run

BENT = "an activation stands between the stream and the head: what each part adds to a logit cannot be told apart"
# The mean rows of the maps of a model's head, by their weights: all of one is read for that, once.
_means: WeakKeyDictionary[Structure, dict[str, Tensor]] = WeakKeyDictionary()


def add_up_parts(run: Run, rows: PositionRows, token: int, versus: Versus) -> Parts:
    """What each part adds to the logit of `token`, less that of `versus`."""
    found = Parts()
    end = find_equation(run, "lm_head")
    if end is not None and has_operation(end, "activation"):
        found.refuse(BENT)
        return found
    try:
        worth = weigh_end(run, rows, found, token, versus)
    except (NotLinear, GlassformerError) as error:
        found.refuse(f"how the logits follow from the stream is not known here: {error}")
        return found
    for block in reversed(range(len(rows.blocks))):
        worth, total = enter(run, rows, block + 1, worth)
        worth = Passage(run, rows, block, found).go_back(worth, total)
    found.add("embedding", enter(run, rows, 0, worth)[1])
    return found


def weigh_end(run: Run, rows: PositionRows, found: Parts, token: int, versus: Versus) -> Tensor:
    """What a change of the stream after the last block is worth to the logit, [1, d_model]; adds the end's biases.

    Raises NotLinear, and UnknownAddress, where the model's end cannot be followed.
    """
    last = len(rows.blocks)
    operands = RowOperands(run.loaded.structure, {f"resid_post.{last - 1}": rows.stream[last][None]})
    equation, factor = require_equation(run, "lm_head"), 1.0
    while equation.operation in ("scale", "softcap"):  # what a cap bends is left to the remainder
        factor *= float(equation.attributes.get("factor", 1.0))
        equation = require_nested(equation)
    worth, own = weigh_head(run, operands, equation, token, versus)
    worth, own = factor * worth, factor * own
    if equation.operation == "add":
        equation = require_nested(equation)
    (source, *_) = equation.inputs
    while isinstance(source, EquationInput):  # a map and a norm of the head's own
        pulled = operands.pull(source.equation, worth)
        worth, own = pulled.worths[0], own + pulled.own
        (source, *_) = source.equation.inputs
    if isinstance(source, SiteInput) and source.address == "final_norm":
        pulled = operands.pull(require_equation(run, "final_norm"), worth)
        worth, own = pulled.worths[0], own + pulled.own
    if own:
        found.add("bias", own)
    return worth


def weigh_head(
    run: Run, operands: RowOperands, equation: Equation, token: int, versus: Versus
) -> tuple[Tensor, float]:
    """What a change of what the head reads is worth to the logit, [1, d_in], and what the head's biases add to it.

    Raises NotLinear for a head that is neither a map nor one with an adapter's change, W x + s B(A x).
    """
    if equation.operation == "matmul":
        return choose_row(run, operands, equation, token, versus)
    parts = [given.equation for given in equation.inputs if isinstance(given, EquationInput)]
    if equation.operation != "add" or [part.operation for part in parts] != ["matmul", "scale"]:
        raise NotLinear("the logits are not a product")
    plain, (scale, after) = parts[0], (parts[1].attributes["factor"], require_nested(parts[1]))
    worth, own = choose_row(run, operands, plain, token, versus)
    low, bias = choose_row(run, operands, after, token, versus)
    return worth + scale * operands.pull(require_nested(after), low).worths[0], own + scale * bias


def choose_row(
    run: Run, operands: RowOperands, equation: Equation, token: int, versus: Versus
) -> tuple[Tensor, float]:
    """Of a map to the words, the row of a token less that of `versus`, [1, d_in], and the same of its bias."""
    weight, bias = read_map(operands.inputs(equation))
    row, own = weight[token].detach().double().cpu(), 0.0 if bias is None else float(bias[token])
    if versus == "mean":
        row = row - find_mean_row(run.loaded.structure, weight_of(equation.inputs[1]).name, weight)
        own -= 0.0 if bias is None else float(bias.double().mean())
    elif versus != "none":
        row = row - weight[versus].detach().double().cpu()
        own -= 0.0 if bias is None else float(bias[versus])
    return row[None], own


def require_equation(run: Run, address: str) -> Equation:
    equation = find_equation(run, address)
    if equation is None:
        raise NotLinear(f"no equation is known for {address}")
    return equation


def require_nested(equation: Equation) -> Equation:
    inner = equation.inputs[0]
    if not isinstance(inner, EquationInput):
        raise NotLinear(f"{equation.operation} has nothing nested")
    return inner.equation


def find_mean_row(structure: Structure, name: str, weight: Tensor) -> Tensor:
    """The mean of the rows of a weight of a model's head [vocab, d_in], in float64."""
    known = _means.setdefault(structure, {})
    if name not in known:
        known[name] = weight.detach().mean(0, dtype=torch.float32).double().cpu()
    return known[name]


def enter(run: Run, rows: PositionRows, boundary: int, worth: Tensor) -> tuple[Tensor, float]:
    """What the stream at a boundary is worth before a run's interventions change it there, and what it adds then."""
    row = rows.stream[boundary][None].double()
    total = float((worth * row).sum())
    # What the block before left, and what the next one reads: the latter is changed last.
    for address in (f"resid_pre.{boundary}", f"resid_post.{boundary - 1}"):
        change = find_change(run.loaded.structure, run.interventions, address, row.shape[-1], rows.position)
        if change is not None:
            total -= float((worth * change.shift).sum())
            worth = worth * change.factor
    return worth, total
