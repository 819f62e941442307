"""Cases of what happens to each position on its own: lookups, sums, norms, maps, activations, products."""

from typing import Any

import torch
from cell_case import D_HEAD, D_MLP, D_MODEL, HEADS, KV_HEADS, POSITIONS, VOCAB, Cases
from transformers.activations import ACT2FN
from transformers.models.bloom.modeling_bloom import BloomGelu

from glassformer.anatomy.candidate import equation
from glassformer.operation.activation import FUNCTIONS


def add_lookups(made: Cases) -> None:
    table = made.weight("table", torch.randn(VOCAB, D_MODEL))
    made.add("lookup.tokens", equation("lookup", table, by="token_ids"), [0, 0], [19, 23])
    for first in (0, 2):
        made.add(
            f"lookup.positions.{first}",
            equation("lookup", table, by="positions", first=first),
            [0, 1],
            [19, 5],
        )
    made.add("lookup.row", equation("lookup", table, by="row", first=3), [0, 1], [19, 5])
    made.add("lookup.unsaid", equation("lookup", table, by="positions"), [3, 1])


def add_sums(made: Cases) -> None:
    rows = equation("lookup", made.given("table"), by="positions", first=2)
    made.add("add.one", equation("add", "x"), [4, 2])
    made.add("add.two", equation("add", "x", "y"), [0, 0], [19, 23])
    made.add("add.three", equation("add", "x", "y", rows), [5, 7])
    made.add("add.same", equation("add", "x", "x", "x"), [5, 7])
    made.add("add.nested", equation("add", "x", equation("add", "y", rows)), [6, 3])
    mapped = equation("matmul", "x", made.weight("square", torch.randn(D_MODEL, D_MODEL)))
    made.add("add.mapped", equation("add", mapped, "y"), [6, 3])
    made.add(
        "add.capped", equation("add", "x", equation("softcap", equation("add", "x", "y"), cap=2.0)), [6, 3]
    )
    made.add("add.active", equation("add", equation("activation", mapped, function="SiLU"), mapped), [6, 3])


def add_scales(made: Cases) -> None:
    made.add("scale.plain", equation("scale", "x", factor=0.125), [1, 1], [2, 3])
    made.add("scale.block", equation("scale", equation("add", "x", "y"), factor=-3.5, block=0), [1, 1])
    capped = equation("softcap", equation("add", "x", "y"), cap=5.0)
    made.add("scale.capped", equation("scale", capped, factor=12.0, block=None), [1, 1])
    made.add("scale.zero", equation("scale", "x", factor=0.0), [1, 1], [1, 2])


def add_norms(made: Cases) -> None:
    gain, bias = (made.weight(name, torch.randn(D_MODEL)) for name in ("gain", "norm_bias"))
    head_gain = made.weight("head_gain", torch.randn(D_HEAD))
    gains, biases = (
        made.weight(name, torch.randn(HEADS, D_HEAD)) for name in ("gain_of_heads", "bias_of_heads")
    )
    total = equation("add", "x", "y")
    capped = equation("softcap", total, cap=1.5)
    mapped = equation("matmul", "x", made.given("square"))
    for norm in ("rms", "layer"):
        made.add(f"norm.{norm}", equation("norm", "x", gain, norm=norm, eps=1e-5), [0, 0], [19, 23])
        made.add(f"norm.{norm}.bare", equation("norm", "x", norm=norm, eps=1e-6), [2, 9])
        made.add(f"norm.{norm}.eps", equation("norm", "x", gain, norm=norm, eps=0.5), [2, 9])
        made.add(f"norm.{norm}.offset", equation("norm", "x", gain, norm=norm, eps=1e-6, offset=1.0), [2, 9])
        made.add(f"norm.{norm}.bias", equation("norm", "x", gain, bias, norm=norm, eps=1e-5), [2, 9])
        made.add(f"norm.{norm}.sum", equation("norm", total, gain, norm=norm, eps=1e-5), [2, 9])
        made.add(f"norm.{norm}.capped", equation("norm", capped, gain, norm=norm, eps=1e-5), [2, 9])
        made.add(
            f"norm.{norm}.twice",
            equation("norm", equation("norm", "x", gain, norm=norm, eps=0.1), bias, norm=norm, eps=1e-5),
            [2, 9],
        )
        by_heads = {"norm": norm, "eps": 1e-5}
        made.add(f"norm.{norm}.each_head", equation("norm", "by_heads", head_gain, **by_heads), [3, 4, 5])
        made.add(f"norm.{norm}.of_heads", equation("norm", "by_heads", gains, biases, **by_heads), [3, 4, 5])
        made.add(
            f"norm.{norm}.flat", equation("norm", mapped, gain, heads=HEADS, **by_heads), [0, 3, 5], [3, 4, 1]
        )
        made.add(
            f"norm.{norm}.merged",
            equation("norm", "by_heads", gain, bias, merge_heads=True, heads=HEADS, **by_heads),
            [0, 3, 5],
            [3, 4, 1],
        )
    # A mean of zero is said like any other.
    even = torch.tensor([1.0, -1.0]).repeat(POSITIONS, D_MODEL // 2)
    made.site("even", even)
    made.add("norm.centred", equation("norm", "even", gain, norm="layer", eps=1e-5), [1, 1])
    made.site("nothing", torch.zeros(POSITIONS, D_MODEL))
    made.add("norm.nothing", equation("norm", "nothing", gain, norm="rms", eps=0.0), [1, 1])


def add_maps(made: Cases) -> None:
    up, tall = (
        made.weight("up", torch.randn(D_MLP, D_MODEL)),
        made.weight("tall", torch.randn(D_MODEL, D_MLP)),
    )
    bias = made.weight("up_bias", torch.randn(D_MLP))
    made.add("matmul.plain", equation("matmul", "x", up), [0, 0], [19, 11])
    made.add("matmul.bias", equation("matmul", "x", up, bias), [4, 5])
    # The heads of models made to fill gaps: a map, an activation and a norm before the table.
    mapped = equation("matmul", "x", made.weight("transform", torch.randn(D_MODEL, D_MODEL)))
    active = equation("activation", mapped, function="GELU")
    gain, shift = (made.weight(f"transform_{name}", torch.randn(D_MODEL)) for name in ("gain", "shift"))
    normed = equation("norm", active, gain, shift, norm="layer", eps=1e-5)
    made.add("matmul.nested", equation("matmul", normed, up, bias), [4, 5], [19, 0])
    made.add(
        "matmul.nested.rms", equation("matmul", equation("norm", "x", gain, norm="rms", eps=1e-6), up), [0, 2]
    )
    made.add("matmul.transposed", equation("matmul", "x", tall, bias, transposed=True), [4, 5])
    # A table that is read by rows where the model begins is a map where it ends.
    made.add("matmul.tied", equation("matmul", "x", made.given("table")), [4, 5])
    whole = made.weight("fused", torch.randn(3 * D_MODEL, D_MODEL))
    whole_bias = made.weight("fused_bias", torch.randn(3 * D_MODEL))
    made.weight("fused_tall", made.operands.weights["fused"].T.contiguous())
    for at, role in enumerate("qkv"):
        run = {"start": at * D_MODEL, "stop": (at + 1) * D_MODEL}
        part, shift = made.given("fused", **run), made.given("fused_bias", **run)
        made.add(f"matmul.run.{role}", equation("matmul", "x", part, shift), [4, 5])
        made.add(f"matmul.run.heads.{role}", equation("matmul", "x", part, shift, heads=HEADS), [2, 4, 5])
        wide = made.given("fused_tall", **run)
        made.add(
            f"matmul.run.tall.{role}",
            equation("matmul", "x", wide, shift, heads=HEADS, transposed=True),
            [2, 4, 5],
        )
        # As GPT-NeoX keeps them: of each head a query, a key and a value.
        rows = {"heads": HEADS, "rows": [HEADS, 3, at, 1]}
        turns = made.add(
            f"matmul.turns.{role}", equation("matmul", "x", whole, whole_bias, **rows), [0, 4, 5], [3, 0, 0]
        )
        made.add(f"matmul.turns.normed.{role}", equation("norm", turns, norm="rms", eps=1e-6), [1, 4, 2])
    grouped = made.weight("grouped", torch.randn((HEADS + 2 * KV_HEADS) * D_HEAD, D_MODEL))
    several = {"heads": HEADS, "rows": [KV_HEADS, HEADS // KV_HEADS + 2, 0, HEADS // KV_HEADS]}
    queries = made.add(
        "matmul.turns.grouped", equation("matmul", "x", grouped, **several), [1, 4, 5], [2, 0, 0]
    )
    made.add("matmul.turns.grouped.normed", equation("norm", queries, norm="rms", eps=1e-6), [1, 4, 2])
    flat = equation("matmul", "x", grouped, rows=several["rows"])
    made.add("matmul.turns.flat", flat, [4, 20])
    made.add("matmul.turns.flat.normed", equation("norm", flat, norm="rms", eps=1e-6, heads=HEADS), [3, 4, 2])
    out = made.weight("out", torch.randn(D_MODEL, HEADS * D_HEAD))
    merged = made.add("matmul.merged", equation("matmul", "by_heads", out, merge_heads=True), [0, 0], [4, 23])
    made.add("matmul.merged.added", equation("add", "x", merged), [4, 23])
    made.add(
        "matmul.merged.normed",
        equation(
            "norm",
            equation("matmul", "by_heads", out, made.given("gain"), merge_heads=True),
            norm="layer",
            eps=1e-5,
        ),
        [4, 23],
    )


def add_activations(made: Cases) -> None:
    wide = torch.linspace(-12, 30, POSITIONS * D_MODEL).reshape(POSITIONS, D_MODEL)
    made.site("wide", wide)
    cells = [[0, 0], [3, 5], [5, 0], [5, 16], [5, 17], [6, 3], [8, 0], [9, 0], [13, 0], [19, 23]]
    for name in FUNCTIONS:
        made.add(f"activation.{name}", equation("activation", "wide", function=name), *cells)
    modules = {**{key: ACT2FN[key] for key in ACT2FN}, "bloom": BloomGelu()}
    for block, (key, module) in enumerate(modules.items()):
        made.operands.functions.append(module)
        function = type(module).__name__.removesuffix("Activation")
        made.add(
            f"activation.block.{key}", equation("activation", "wide", block=block, function=function), *cells
        )
    total = equation("add", "x", "y")
    made.add("activation.sum", equation("activation", total, function="SiLU"), [3, 4])
    capped = equation("softcap", total, cap=2.0)
    made.add("activation.capped", equation("activation", capped, function="GELU"), [3, 4])
    scaled = equation("scale", "x", factor=1.75)
    made.add("activation.scaled", equation("activation", scaled, function="SiLU"), [3, 4])


def add_products(made: Cases) -> None:
    active, total = equation("activation", "x", function="SiLU"), equation("add", "x", "y")
    capped, summed = equation("softcap", total, cap=2.0), equation("activation", total, function="SiLU")
    pairs: dict[str, tuple[Any, Any]] = {
        "plain": ("x", "y"),
        "active": (active, "y"),
        "sum.first": (total, "y"),
        "sum.second": ("y", total),
        "sum.both": (total, equation("add", "y", "y")),
        "capped": (capped, "y"),
        "capped.second": ("y", capped),
        "of_sum": (summed, "y"),
        "sum.capped": (total, capped),
    }
    for name, pair in pairs.items():
        each = made.add(f"multiply.{name}", equation("multiply", *pair), [3, 4])
        made.add(
            f"multiply.{name}.normed",
            equation("norm", each, made.given("gain"), norm="rms", eps=1e-5),
            [3, 4],
        )
    one = made.weight("one_gate", torch.randn(1, D_MODEL))
    gate = equation("activation", equation("matmul", "x", one), function="Sigmoid")
    shared = equation("multiply", "y", gate, broadcast=True)
    made.add("multiply.broadcast", shared, [3, 4])
    made.add("multiply.broadcast.added", equation("add", "x", shared), [3, 4])
