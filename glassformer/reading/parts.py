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
# The mean row of a model's head: all of it is read for that, once.
_means: WeakKeyDictionary[Structure, Tensor] = WeakKeyDictionary()


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
    if equation.operation != "matmul":
        raise NotLinear("the logits are not a product")
    weight, bias = read_map(operands.inputs(equation))
    row = weight[token].detach().double().cpu()
    own = 0.0 if bias is None else float(bias[token])
    if versus == "mean":
        row = row - find_mean_row(run.loaded.structure, weight)
        own -= 0.0 if bias is None else float(bias.double().mean())
    elif versus != "none":
        row = row - weight[versus].detach().double().cpu()
        own -= 0.0 if bias is None else float(bias[versus])
    worth, own = factor * row[None], factor * own
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


def find_mean_row(structure: Structure, weight: Tensor) -> Tensor:
    """The mean of the rows of a model's head [vocab, d_model], in float64."""
    known = _means.get(structure)
    if known is None:
        known = _means[structure] = weight.detach().mean(0, dtype=torch.float32).double().cpu()
    return known


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
