"""Embeddings with the official client: what it gives is transformers' own hidden state, normed."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from openai import BadRequestError, NotFoundError, OpenAI
from serving import Running, serving
from talking import connect
from tiny import make_model, read_model
from transformers import AutoTokenizer

TEXTS = ["the quick brown fox", "Mia gives the ball to Tom.", "漢字 🎉"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("embedding") / "llama", "llama")


@pytest.fixture(scope="module")
def states(folder: Path) -> dict[str, Any]:
    """Of each text by site: the rows that transformers computes."""
    model, tokenizer = read_model(folder), AutoTokenizer.from_pretrained(folder)
    found = {}
    for text in TEXTS:
        with torch.no_grad():
            given = tokenizer(text, return_tensors="pt")["input_ids"]
            hidden = model(given, output_hidden_states=True).hidden_states
        found[text] = {
            "ids": given[0].tolist(),
            "embeddings": hidden[0][0],
            "resid_post.0": hidden[1][0],
            "final_norm": hidden[-1][0],
        }
    return found


@pytest.fixture(scope="module")
def running(folder: Path, states: dict[str, Any]) -> Iterator[Running]:
    with serving(folder.parent, rate_limit="") as server:
        yield server


@pytest.fixture
def official(running: Running) -> Iterator[OpenAI]:
    with connect(running) as client:
        yield client


def norm(row: torch.Tensor) -> torch.Tensor:
    return row / row.norm()


@pytest.mark.parametrize("form", ["float", "base64"])
def test_a_batch_is_transformers_last_states(official: OpenAI, states: dict[str, Any], form: Any) -> None:
    answer = official.embeddings.create(model="llama", input=TEXTS, encoding_format=form)
    assert answer.object == "list"
    assert [one.index for one in answer.data] == [0, 1, 2]
    for text, one in zip(TEXTS, answer.data, strict=True):
        vector: Any = one.embedding
        if form == "base64":
            # The client decodes it only where it asked for it by itself.
            vector = np.frombuffer(base64.b64decode(vector), "<f4").copy()
        expected = norm(states[text]["final_norm"][-1])
        assert torch.allclose(torch.as_tensor(vector), expected, atol=1e-5)
    count = sum(len(states[text]["ids"]) for text in TEXTS)
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == count
    told: Any = answer
    assert (told.site, told.pooling, told.normalized) == ("final_norm", "last", True)


def test_the_clients_own_default(official: OpenAI, states: dict[str, Any]) -> None:
    """It asks for base64 and gives back numbers."""
    for given in (TEXTS[0], [TEXTS[0]], states[TEXTS[0]]["ids"], [states[TEXTS[0]]["ids"]]):
        answer = official.embeddings.create(model="llama", input=given)
        expected = norm(states[TEXTS[0]]["final_norm"][-1])
        assert torch.allclose(torch.tensor(answer.data[0].embedding), expected, atol=1e-5)


@pytest.mark.parametrize("site", ["final_norm", "embeddings", "resid_post.0"])
@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_site_pooling_and_length_can_be_chosen(
    official: OpenAI, states: dict[str, Any], site: str, pooling: str
) -> None:
    options = {"site": site, "pooling": pooling, "normalize": False}
    answer = official.embeddings.create(model="llama", input=TEXTS[1], extra_body=options)
    rows = states[TEXTS[1]][site]
    expected = rows[-1] if pooling == "last" else rows.mean(0)
    assert torch.allclose(torch.tensor(answer.data[0].embedding), expected, atol=1e-4)
    short = official.embeddings.create(
        model="llama", input=TEXTS[1], dimensions=5, extra_body={**options, "normalize": True}
    )
    assert torch.allclose(torch.tensor(short.data[0].embedding), norm(expected[:5]), atol=1e-4)


def test_many_texts_and_long_ones(official: OpenAI, states: dict[str, Any]) -> None:
    """More than the queue has places for, and one that is read in several pieces."""
    answer = official.embeddings.create(model="llama", input=[TEXTS[0]] * 150 + [TEXTS[1] * 100])
    assert len(answer.data) == 151
    expected = norm(states[TEXTS[0]]["final_norm"][-1])
    assert torch.allclose(torch.tensor(answer.data[149].embedding), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "param", "sentence"),
    [
        ({"input": ""}, "input", "empty"),
        ({"input": []}, "input", "string"),
        ({"input": ["a", ""]}, "input", "number 1"),
        ({"input": {"text": "a"}}, "input", "string"),
        ({"input": [[1, 2], "x", [2.5]]}, "input", "string"),
        ({"input": [10**6]}, "input", "Token ids run"),
        ({"input": "a" * 30_000}, "input", "at most"),
        ({"input": "a", "dimensions": 33}, "dimensions", "at most 32"),
        ({"input": "a", "dimensions": 0}, "dimensions", "greater"),
        ({"input": "a", "encoding_format": "int8"}, "encoding_format", "float"),
        ({"input": "a", "extra_body": {"site": "attn_probs.0"}}, "site", "resid_post.1"),
        ({"input": "a", "extra_body": {"site": "resid_post.2"}}, "site", "resid_post.1"),
        ({"input": "a", "extra_body": {"pooling": "cls"}}, "pooling", "last"),
    ],
)
def test_what_is_refused_is_named(official: OpenAI, options: Any, param: str, sentence: str) -> None:
    with pytest.raises(BadRequestError) as refused:
        official.embeddings.create(model="llama", **options)
    assert refused.value.param == param
    assert sentence in refused.value.message


def test_no_such_model(official: OpenAI) -> None:
    with pytest.raises(NotFoundError):
        official.embeddings.create(model="nope", input="a")
