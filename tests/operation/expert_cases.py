"""Cases of experts: how a position is sent to them, and what they make of it."""

import torch
from cell_case import EXPERTS, POSITIONS, Cases

from glassformer.anatomy.candidate import equation


def add_routes(made: Cases) -> None:
    made.site("logits", 2 * torch.randn(POSITIONS, EXPERTS))
    made.site("logits.large", 50 + 20 * torch.randn(POSITIONS, EXPERTS))
    correction = made.weight("correction", torch.randn(EXPERTS))
    cells = [[3, expert] for expert in range(EXPERTS)]
    for score in ("softmax", "sigmoid", "softmax_chosen", "sigmoid_chosen"):
        for renormalised in (True, False):
            usual = {"score": score, "top_k": 3, "renormalised": renormalised, "factor": 1.0, "block": 0}
            name = f"route.{score}.{renormalised}"
            made.add(name, equation("route", "logits", **usual), *cells)
            if score != "sigmoid":
                # Sigmoids of large numbers are all one, and which of them is chosen is anybody's guess.
                made.add(f"{name}.large", equation("route", "logits.large", **usual), [3, 0], [4, 1])
            corrected = equation("route", "logits", correction, **{**usual, "factor": 2.5})
            made.add(f"{name}.corrected", corrected, *cells)
            for count in (1, 2):
                limit = {"groups": 4, "top_groups": 2, "group_experts": count}
                made.add(
                    f"{name}.groups.{count}",
                    equation("route", "logits", correction, **usual, **limit),
                    *cells,
                )
                made.add(
                    f"{name}.groups.{count}.plain", equation("route", "logits", **usual, **limit), *cells
                )
    made.add(
        "route.all", equation("route", "logits", score="softmax", top_k=EXPERTS, renormalised=True), [3, 0]
    )
    beside = {"score": "sigmoid", "top_k": 3, "renormalised": True}
    row = made.weight("correction_row", torch.randn(1, EXPERTS))
    made.add("route.row", equation("route", "logits", row, **beside), *cells)
    made.operands.buffers["buffer"] = torch.randn(EXPERTS)
    made.add("route.buffer", equation("route", "logits", made.given("buffer"), **beside), [3, 0])


def add_experts(made: Cases) -> None:
    routed = equation("sum_experts", "x", "route.softmax.True", module="experts")
    made.add("sum_experts", routed, [3, 4])
    made.add("sum_experts.added", equation("add", routed, "y"), [3, 4])
    made.add(
        "sum_experts.scaled", equation("add", equation("scale", routed, factor=2.0, block=0), "y"), [3, 4]
    )
