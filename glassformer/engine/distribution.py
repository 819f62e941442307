"""The next-token distribution at a position as the page shows it: before and after the filters."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from glassformer.engine.sampling import check_row, is_greedy, trace_filters
from glassformer.protocol.messages import Candidate, Distribution, Sampling, Token


def describe(
    logits: Tensor,
    previous_ids: list[int],
    sampling: Sampling,
    *,
    limit: int,
    pos: int,
    token: Callable[[int], Token],
    chosen: int | None = None,
) -> Distribution:
    """The `limit` most probable tokens of `logits` (Float[Tensor, "vocab"]), and what is not listed summed.

    `chosen` is listed even where it is not among them. Greedy decoding keeps one token and prunes by no filter.
    """
    row = check_row(logits)
    scores, pruned = trace_filters(row, previous_ids, sampling)
    probabilities = row.softmax(-1)
    if is_greedy(sampling):
        filtered = torch.zeros_like(scores)
        filtered[scores.argmax()] = 1.0
    else:
        filtered = scores.softmax(-1)
    # A stable sort of everything: equal logits keep the order of their ids, so the page does not flicker.
    listed = row.sort(descending=True, stable=True).indices[:limit].tolist()
    if chosen is not None and chosen not in listed:
        listed.append(chosen)
    candidates = [
        Candidate(
            token=token(token_id),
            logit=max(float(row[token_id]), torch.finfo(torch.float32).min),
            probability=float(probabilities[token_id]),
            filtered_probability=float(filtered[token_id]),
            pruned_by=next((name for name, mask in pruned.items() if mask[token_id]), None),
        )
        for token_id in listed
    ]
    entropy = -torch.special.xlogy(probabilities.double(), probabilities.double()).sum() / torch.log(
        torch.tensor(2.0, dtype=torch.double)
    )
    unlisted = probabilities.double().sum() - probabilities[listed].double().sum()
    return Distribution(
        pos=pos,
        entropy_bits=abs(float(entropy)),
        candidates=candidates,
        rest_count=len(row) - len(listed),
        rest_probability=max(0.0, float(unlisted)) if len(row) > len(listed) else 0.0,
        chosen=chosen,
    )
