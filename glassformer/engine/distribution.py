"""The next-token distribution at a position as the page shows it: before the filters and after each of them.

Computed when somebody looks, from the logits of a recorded position; generating pays nothing for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from glassformer.engine.filter import PRUNERS, FilterChain
from glassformer.engine.sampling import check_row, make_filters
from glassformer.loading.loaded import LoadedModel
from glassformer.protocol.messages import Candidate, Distribution, Pruner, Sampling, Stage, Token


def describe(
    logits: Tensor,
    token_ids: Sequence[int],
    sampling: Sampling,
    *,
    loaded: LoadedModel,
    pos: int,
    prompt_count: int,
    limit: int = 50,
) -> Distribution:
    """What could follow position `pos` of a text whose first `prompt_count` tokens were given and the rest drawn.

    `logits` (Float[Tensor, "vocab"]) are that position's. Penalties count the tokens up to there, and a constraint
    is followed up to there; within the prompt it has not begun. Raises BadValue where `sampling` cannot be used.
    """
    place = pos + 1 - prompt_count
    if place < 0:
        sampling = sampling.model_copy(update={"constraint": None})
    shown = describe_row(
        logits,
        token_ids[: pos + 1],
        make_filters(sampling, loaded, prompt_count=prompt_count),
        limit=limit,
        pos=pos,
        token=loaded.token,
        chosen=token_ids[pos + 1] if pos + 1 < len(token_ids) else None,
    )
    shown.forced = shown.chosen is not None and 0 <= place < len(sampling.forced_token_ids)
    return shown


def describe_row(
    logits: Tensor,
    previous_ids: Sequence[int],
    filters: FilterChain,
    *,
    limit: int,
    pos: int,
    token: Callable[[int], Token],
    chosen: int | None = None,
) -> Distribution:
    """The `limit` most probable tokens of `logits` (Float[Tensor, "vocab"]) before and after `filters`.

    `filters` must be fresh: they read `previous_ids` here. `chosen` is listed wherever it stands. Greedy decoding
    keeps one token and prunes by no filter.
    """
    row = check_row(logits)
    filters.read(previous_ids)
    probabilities = after = row.softmax(-1)
    stages: list[Stage] = []
    columns: list[Tensor] = []
    pruned_by: dict[Pruner, Tensor] = {}
    scores = row
    for name, filtered in filters.apply(row):
        if name in PRUNERS:
            pruned_by[name] = filtered.isneginf() & ~scores.isneginf()  # type: ignore[index]
        scores, after = filtered, filtered.softmax(-1)
        stages.append(Stage(filter=name, kept=count_kept(filtered), entropy_bits=entropy_bits(after)))
        columns.append(after)
    if filters.is_greedy:
        after = torch.zeros_like(scores)
        after[scores.argmax()] = 1.0
        stages.append(Stage(filter="temperature", kept=1, entropy_bits=0.0))
        columns.append(after)
    listed = list_tokens(row, scores, after, limit=limit, chosen=chosen)
    candidates = [
        Candidate(
            token=token(token_id),
            logit=max(float(row[token_id]), torch.finfo(torch.float32).min),
            probability=float(probabilities[token_id]),
            filtered_probability=float(after[token_id]),
            stages=[float(column[token_id]) for column in columns],
            pruned_by=next((name for name, mask in pruned_by.items() if mask[token_id]), None),
        )
        for token_id in listed
    ]
    unlisted = probabilities.double().sum() - probabilities[listed].double().sum()
    return Distribution(
        pos=pos,
        entropy_bits=entropy_bits(probabilities),
        stages=stages,
        candidates=candidates,
        rest_count=len(row) - len(listed),
        rest_probability=max(0.0, float(unlisted)) if len(row) > len(listed) else 0.0,
        chosen=chosen,
    )


def list_tokens(row: Tensor, scores: Tensor, after: Tensor, *, limit: int, chosen: int | None) -> list[int]:
    """The first `limit` of `row`, the first `limit` of what the filters left, and `chosen`, in the order of `row`."""
    # A stable sort of everything: equal logits keep the order of their ids, so the page does not flicker.
    order = row.sort(descending=True, stable=True).indices
    left = scores.sort(descending=True, stable=True).indices[:limit]
    wanted = torch.zeros(len(row), dtype=torch.bool)
    wanted[order[:limit]] = True
    wanted[left[after[left] > 0]] = True
    if chosen is not None:
        wanted[chosen] = True
    listed: list[int] = order[wanted[order]].tolist()
    return listed


def count_kept(scores: Tensor) -> int:
    return len(scores) - int(scores.isneginf().sum())


def entropy_bits(probabilities: Tensor) -> float:
    wide = probabilities.double()
    return abs(float(torch.special.xlogy(wide, wide).sum())) / math.log(2.0)
