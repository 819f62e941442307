"""A long text of the real model: late rows against plain transformers, to the bit."""

from typing import Any

import plain_llama
import pytest
import torch
from llama_bounds import attend, check, exactly

import glassformer

pytestmark = pytest.mark.real

POSITIONS, LATE = 2_000, 1_984
CITIES = (
    "Madrid",
    "Paris",
    "Rome",
    "Oslo",
    "Vienna",
    "Lisbon",
    "Athens",
    "Dublin",
    "Prague",
    "Warsaw",
    "Berlin",
)


@pytest.fixture(scope="session")
def long_ids(model: glassformer.Model) -> list[int]:
    text = " ".join(
        f"{day}. On day {day} the train left {CITIES[day % 11]} at {day % 24} o'clock for {CITIES[day * day % 7]}."
        for day in range(1, 200)
    )
    ids: list[int] = model.loaded.tokenizer(text)["input_ids"][:POSITIONS]
    assert len(ids) == POSITIONS
    return ids


@pytest.mark.usefixtures("plain_products")
def test_late_rows_of_a_long_text_equal_transformers(
    model: glassformer.Model, plain: Any, long_ids: list[int]
) -> None:
    last = plain.config.num_hidden_layers - 1
    blocks = [last // 2, last]
    expected = plain_llama.run(plain, long_ids, blocks)
    trace = model.trace(token_ids=long_ids)
    for address, cells in expected.items():
        late = torch.from_numpy(trace[address][..., LATE:, :].values.copy())
        assert torch.equal(late, cells[..., LATE:, :].float()), address
    for block in blocks:
        query, key = expected[f"q.{block}"][:, LATE:], expected[f"k.{block}"]
        _, shares = attend(exactly(query), exactly(key.repeat_interleave(len(query) // len(key), 0)))
        found = torch.from_numpy(trace[f"attn_probs.{block}"][:, LATE:].values.copy())
        check(found, shares, f"attn_probs.{block}")
    head = torch.from_numpy(trace["lm_head"][LATE:].values.copy())
    with torch.no_grad():
        assert torch.equal(head, plain.lm_head(expected["final_norm"][LATE:][None])[0].float())
