"""The scores of a head by their definitions, a cell at a time, from a pattern that plain transformers gave."""

import math
from statistics import fmean

from torch import Tensor


def score_block(
    pattern: Tensor, token_ids: list[int], start: int = 0
) -> tuple[dict[str, int], list[dict[str, float]]]:
    """Of a block's pattern [head, query, key]: over how many positions each mean is, and the scores of each head.

    Rows before `start` are left out.
    """
    count = len(token_ids)
    # No weight of these models is so small that it is zero for all heads of a block.
    may = [[bool((pattern[:, i, j] > 0).any()) for j in range(count)] for i in range(count)]
    read: dict[str, list[tuple[int, list[int]]]] = {
        "previous": [],
        "first": [],
        "induction": [],
        "duplicate": [],
    }
    for i in range(start, count):
        before = [j for j in range(i) if token_ids[j] == token_ids[i]]
        wanted = {
            "previous": [i - 1],
            "first": [0],
            "induction": [j + 1 for j in before if j + 1 < i],
            "duplicate": before,
        }
        for kind, keys in wanted.items():
            allowed = [j for j in keys if 0 <= j < i and may[i][j]]
            if allowed:
                read[kind].append((i, allowed))
    rows = [i for i in range(start, count) if sum(may[i]) > 1]
    over = {**{kind: len(found) for kind, found in read.items()}, "entropy": len(rows)}
    return over, [score_head(head, read, rows, may) for head in pattern.double()]


def score_head(
    head: Tensor, read: dict[str, list[tuple[int, list[int]]]], rows: list[int], may: list[list[bool]]
) -> dict[str, float]:
    found = {
        kind: fmean(sum(float(head[i, j]) for j in keys) for i, keys in cells)
        for kind, cells in read.items()
        if cells
    }
    bits, shares = [], []
    for i in rows:
        weights = [float(weight) for weight in head[i] if weight > 0]
        rest = 1 - sum(weights)
        if rest > 1e-3:
            weights.append(rest)
        bits.append(-sum(weight * math.log2(weight) for weight in weights))
        shares.append(bits[-1] / math.log2(sum(may[i]) + (rest > 1e-3)))
    return {**found, "entropy_bits": fmean(bits), "entropy_share": fmean(shares)}
