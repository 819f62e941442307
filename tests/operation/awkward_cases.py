"""Cases of numbers that are hard to compute with, or to write."""

import math

import torch
from cell_case import D_HEAD, D_MODEL, HEADS, KV_HEADS, POSITIONS, Cases

from glassformer.anatomy.candidate import equation
from glassformer.operation.activation import FUNCTIONS


def add_not_finite(made: Cases) -> None:
    """Numbers that a message cannot carry: they are none there, and named in the formula."""
    wild = torch.randn(POSITIONS, D_MODEL)
    wild[1, 1], wild[2, 1], wild[3, 1] = math.inf, -math.inf, math.nan
    made.site("wild", wild)
    at = [[0, 1], [1, 1], [2, 1], [3, 1]]
    gain, up = made.given("gain"), made.given("up")
    made.add("wild.add", equation("add", "wild", "x"), *at)
    made.add("wild.cancelled", equation("add", "wild", equation("scale", "wild", factor=-1.0)), *at)
    made.add("wild.scale", equation("scale", "wild", factor=-2.0), *at)
    made.add("wild.softcap", equation("softcap", "wild", cap=3.0), *at)
    made.add("wild.multiply", equation("multiply", "wild", "x"), *at)
    made.add("wild.matmul", equation("matmul", "wild", up), *at)
    made.add("wild.lookup", equation("lookup", made.weight("wild_table", wild), by="positions", first=0), *at)
    for norm in ("rms", "layer"):
        made.add(f"wild.{norm}", equation("norm", "wild", gain, norm=norm, eps=1e-5), *at, [1, 2], [3, 2])
    for function in FUNCTIONS:
        made.add(f"wild.{function}", equation("activation", "wild", function=function), *at)
    scores = torch.randn(HEADS, POSITIONS, POSITIONS)
    scores[0, 1, 1], scores[0, 3, 1], scores[0, 4, :] = math.inf, math.nan, -math.inf
    made.site("wild.scores", scores)
    sinks = made.weight("wild_sinks", torch.tensor([-math.inf, math.inf, math.nan, 0.0]))
    made.add("wild.softmax", equation("softmax", "wild.scores"), [0, 1, 0], [0, 1, 1], [0, 3, 0], [0, 4, 0])
    made.add("wild.sinks", equation("softmax", "wild.scores", sinks), [0, 2, 2], [1, 2, 2], [2, 2, 2])
    made.site("wild.values", torch.randn(KV_HEADS, POSITIONS, D_HEAD))
    made.operands.sites["wild.values"][0, 15, 0] = math.inf
    made.add(
        "wild.weighted_sum",
        equation("weighted_sum", "softmax", "wild.values"),
        [0, 9, 0],
        [0, 16, 0],
        [0, 16, 1],
    )
    made.add("wild.dot", equation("dot", "wild.values", "wild.values"), [0, 15, 15], [0, 15, 2])


def add_roundings(made: Cases) -> None:
    """Numbers that lie halfway between two of four digits, as those of few bits often do; very large and small ones."""
    halves = [
        1.0625,
        0.15625,
        1.0615,
        12.125,
        1.1875,
        0.00048828125,
        9.9995,
        99995.0,
        12345.0,
        12355.0,
        1e-7,
        3e20,
    ]
    numbers = torch.tensor([*halves, *(-each for each in halves)])
    made.site("halfway", numbers.repeat(POSITIONS, 1))
    made.add("halfway.add", equation("add", "halfway", "nothing"), *([0, at] for at in range(len(numbers))))
    made.add(
        "halfway.softcap", equation("softcap", "halfway", cap=1e6), *([0, at] for at in range(len(numbers)))
    )
    made.add("halfway.negative", equation("scale", "nothing", factor=-1.0), [0, 0])
    made.add(
        "halfway.capped", equation("softcap", equation("scale", "nothing", factor=-1.0), cap=2.0), [0, 0]
    )
