"""Cases of what happens between positions: queries and keys turned, scores, shares, and what is carried over."""

import math

import torch
from cell_case import D_HEAD, D_MODEL, HEADS, POSITIONS, Cases

from glassformer.anatomy.candidate import GATE_FUNCTIONS, ROTARY_STYLES, equation


def add_rotary(made: Cases) -> None:
    mapped = equation("matmul", "x", made.given("square"), heads=HEADS)
    gained = equation("norm", "by_heads", made.given("head_gain"), norm="rms", eps=1e-5)
    for pairing, kept in ROTARY_STYLES:
        # Four of six features are turned, the others left alone.
        angles = torch.arange(POSITIONS)[:, None] * torch.tensor([1.0, 0.1])
        spread = {
            "angles": angles,
            "halves": torch.cat([angles, angles], dim=1),
            "neighbours": angles.repeat_interleave(2, dim=1),
        }[kept]
        made.operands.tables.append((spread.cos(), spread.sin()))
        style = {"block": len(made.operands.tables) - 1, "pairing": pairing, "table": kept}
        name = f"rotary.{pairing}.{kept}"
        cells = [[3, 7, feature] for feature in range(D_HEAD)]
        made.add(name, equation("rotary", "by_heads", **style), *cells, [0, 0, 0])
        made.add(f"{name}.mapped", equation("rotary", mapped, **style), [1, 7, 0], [1, 7, 3], [1, 7, 5])
        made.add(f"{name}.normed", equation("rotary", gained, **style), [1, 7, 1])
        made.add(
            f"{name}.after",
            equation("norm", equation("rotary", mapped, **style), norm="rms", eps=1e-6),
            [1, 7, 1],
        )
    capped = equation("softcap", "by_heads", cap=0.5)
    made.add(
        "rotary.capped", equation("rotary", capped, block=0, pairing="halves", table="halves"), [1, 7, 1]
    )


def add_scores(made: Cases) -> None:
    dot = made.add("dot.grouped", equation("dot", "q", "k"), [0, 0, 0], [1, 9, 3], [3, 3, 9])
    made.add("dot.alone", equation("dot", "q", "q"), [3, 9, 3])
    scaled = equation("scale", dot, factor=D_HEAD**-0.5)
    capped = made.add("softcap", equation("softcap", scaled, cap=0.75), [1, 9, 3])
    made.add("softcap.site", equation("softcap", "x", cap=50.0), [1, 9])
    made.add("softcap.twice", equation("softcap", capped, cap=0.5), [1, 9, 3])
    cells = [[1, 9, key] for key in range(12)]
    for one, name in ((scaled, "mask"), (capped, "mask.capped")):
        made.add(name, equation("mask", one), [0, 0, 0], *cells)
        made.add(f"{name}.window", equation("mask", one, window=4), [0, 0, 0], *cells)
        made.add(f"{name}.chunk", equation("mask", one, chunk=4), [0, 0, 0], *cells)
        made.add(f"{name}.both", equation("mask", one, chunk=8, window=3), *cells)
    made.operands.masks.append(torch.ones(HEADS, POSITIONS, POSITIONS, dtype=torch.bool).tril(2))
    made.add("mask.model", equation("mask", scaled, pattern="model", block=0), [1, 9, 3])


def add_probabilities(made: Cases) -> None:
    shut = torch.ones(POSITIONS, POSITIONS, dtype=torch.bool).triu(1)
    scores = (2 * torch.randn(HEADS, POSITIONS, POSITIONS)).masked_fill(shut, -math.inf)
    sinks = made.weight("sinks", torch.randn(HEADS))
    kinds = {
        "softmax": scores,
        "softmax.large": 40 * scores,
        "softmax.least": scores - 100,
        "softmax.equal": torch.zeros(HEADS, POSITIONS, POSITIONS).masked_fill(shut, -math.inf),
    }
    for name, each in kinds.items():
        made.site(f"{name}.scores", each)
        # The last of them late in a long row, and one that is masked.
        cells = [[0, 0, 0], [1, 9, 3], [2, 19, 19], [2, 19, 2], [1, 9, 12], [3, 14, 14]]
        made.add(name, equation("softmax", f"{name}.scores"), *cells)
        made.add(f"{name}.sinks", equation("softmax", f"{name}.scores", sinks), *cells)
    flat = made.weight("flat_sinks", torch.zeros(HEADS))
    made.add("softmax.tied.sinks", equation("softmax", "softmax.equal.scores", flat), [1, 15, 3], [1, 14, 3])
    high = made.weight("high_sinks", torch.full((HEADS,), 50.0))
    made.add("softmax.high.sinks", equation("softmax", "softmax.scores", high), [1, 9, 3])


def add_mixes(made: Cases) -> None:
    mixed = made.add("weighted_sum", equation("weighted_sum", "softmax", "v"), [0, 0, 0], [3, 19, 5])
    made.add("weighted_sum.sinks", equation("weighted_sum", "softmax.sinks", "v"), [1, 9, 5])
    made.site("far_sighted", torch.softmax(torch.randn(HEADS, POSITIONS, POSITIONS), dim=-1))
    made.add("weighted_sum.later", equation("weighted_sum", "far_sighted", "v"), [1, 4, 5])
    gain, head_gain = made.given("gain"), made.given("head_gain")
    made.add("weighted_sum.normed", equation("norm", mixed, head_gain, norm="rms", eps=1e-5), [1, 9, 5])
    made.add(
        "weighted_sum.merged",
        equation("norm", mixed, gain, norm="rms", eps=1e-5, merge_heads=True, heads=HEADS),
        [2, 9, 5],
    )
    each, whole = (
        made.weight("gates", torch.randn(HEADS * D_HEAD, D_MODEL)),
        made.weight("gate_of_heads", torch.randn(HEADS, D_MODEL)),
    )
    for function in GATE_FUNCTIONS:
        gate = equation("activation", equation("matmul", "x", each, heads=HEADS), function=function)
        made.add(f"weighted_sum.gated.{function}", equation("multiply", mixed, gate), [2, 9, 5])
        gate = equation("activation", equation("matmul", "x", whole, heads=HEADS), function=function)
        opened = made.add(
            f"weighted_sum.gated.heads.{function}",
            equation("multiply", mixed, gate, broadcast=True),
            [2, 9, 5],
        )
        made.add(
            f"weighted_sum.gated.normed.{function}", equation("norm", opened, norm="rms", eps=1e-5), [2, 9, 5]
        )
