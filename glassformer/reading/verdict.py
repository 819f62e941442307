"""What logits say of a decision: how likely its token is, by how much, and which would be written."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from glassformer.compute.computing import computing
from glassformer.protocol.reading import Versus
from glassformer.reading.shorten import DIGITS

# Rows of logits that stay near the processor while they are summed: all at once take five times as long.
AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision's token: how likely it is, its margin, and the likeliest token then."""

    probability: float
    margin: float
    likeliest: int


def judge(logits: Tensor, token: int, versus: Versus) -> list[Verdict]:
    """What rows of logits [row, vocab] say of a token: its log-probability, less that of `versus` where that is one."""
    with torch.inference_mode(), computing(len(logits), "words", is_step=False):
        return [
            verdict for some in torch.split(logits, AT_ONCE) for verdict in judge_rows(some, token, versus)
        ]


def judge_rows(logits: Tensor, token: int, versus: Versus) -> list[Verdict]:
    logprobs = logits.float().log_softmax(-1)
    own = logprobs[:, token]
    margins = own - logprobs[:, versus] if isinstance(versus, int) else own
    found = own.exp(), margins.clamp(min=torch.finfo(torch.float32).min), logprobs.argmax(-1)
    return [
        Verdict(round_off(share), round_off(margin), word)
        for share, margin, word in zip(*(column.tolist() for column in found), strict=True)
    ]


def round_off(number: float) -> float:
    """A number with no more digits than a message carries."""
    return float(f"{number:.{DIGITS}g}")
