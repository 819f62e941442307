"""Explained cells of the real model against the same equation written by hand, with the largest cell of each site."""

import random
from typing import Any

import plain_llama
import pytest
import torch
from llama_bounds import check, exactly, expect

import glassformer

pytestmark = pytest.mark.real

CELLS = 5
# Of the magnitudes a cell is added up from: operands are kept in float32, sums are in float64.
ROUNDED = 1e-6


@pytest.mark.usefixtures("plain_products")
def test_explained_cells_are_what_the_equation_makes(
    model: glassformer.Model, plain: Any, token_ids: list[int], blocks: list[int]
) -> None:
    found = plain_llama.run(plain, token_ids, blocks)
    trace, chance = model.trace(token_ids=token_ids), random.Random(0)
    for block in blocks:
        sites = {point: found[f"{point}.{block}"] for point in plain_llama.POINTS}
        with torch.no_grad():
            by_hand = expect(plain, block, sites)
        for point, whole in by_hand.items():
            address = f"{point}.{block}"
            cells = torch.from_numpy(trace.numpy(address))
            largest = int(cells.abs().nan_to_num(0, 0, 0).argmax())
            places = [
                [int(place) for place in torch.unravel_index(torch.tensor(largest), cells.shape)],
                *([chance.randrange(size) for size in cells.shape] for _ in range(CELLS)),
            ]
            for place in places:
                explained = trace.explain(address, place)
                expected = float(whole.value[tuple(place)])
                if explained.recomputed is None:
                    assert expected == -torch.inf
                    continue
                size = abs(expected) + sum(abs(term.contribution) for term in explained.terms)
                assert abs(explained.recomputed - expected) <= ROUNDED * size, f"{address} {place}"
                assert explained.value is not None
                cell = exactly(torch.tensor([explained.value]))
                near = whole.map(lambda tensor, place=place: tensor[tuple(place)][None])
                check(cell.value, near, f"{address} {place}", typical=2.0)
