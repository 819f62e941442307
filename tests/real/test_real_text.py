"""What the real model writes over HTTP against transformers' own `generate()`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from serving import serving
from transformers import AutoTokenizer

pytestmark = pytest.mark.real

QUESTION = [{"role": "user", "content": "What is the capital of Spain? Answer with one word."}]
# How much nearer than the second the best token must be, in roundings of the format, that every sum agrees on it.
CLEAR = 8


@pytest.fixture(scope="session")
def client(folder: Path, dtype: str) -> Iterator[httpx.Client]:
    with (
        serving(folder.parent, default_model=folder.name, dtype=dtype) as server,
        server.client() as found,
    ):
        yield found


def generate(plain: Any, ids: list[int], count: int) -> tuple[list[int], bool]:
    """What is written greedily, and whether each choice is clear."""
    given = torch.tensor([ids])
    with torch.no_grad():
        out = plain.generate(
            given,
            attention_mask=torch.ones_like(given),
            max_new_tokens=count,
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
        )
    best = torch.cat(out.logits).float().topk(2).values
    unit = 2**-24 if plain.dtype == torch.float32 else 2**-8
    clear = bool((best[:, 0] - best[:, 1] > CLEAR * unit * best[:, 0].abs()).all())
    return out.sequences[0, len(ids) :].tolist(), clear


@pytest.mark.parametrize("streams", [False, True])
def test_a_question_is_answered_as_generate_does(
    client: httpx.Client, plain: Any, folder: Path, streams: bool
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = tokenizer.apply_chat_template(QUESTION, tokenize=False, add_generation_prompt=True)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    written, is_clear = generate(plain, ids, 32)
    expected = tokenizer.decode(written, skip_special_tokens=True)
    assert is_clear
    assert "Madrid" in expected
    body = {"model": folder.name, "messages": QUESTION, "max_tokens": 32, "temperature": 0, "stream": streams}
    answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    if streams:
        events = [
            line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: {")
        ]
        pieces = [httpx.Response(200, text=event).json()["choices"] for event in events]
        said = "".join(piece[0]["delta"].get("content") or "" for piece in pieces if piece)
    else:
        found = answer.json()
        said = found["choices"][0]["message"]["content"]
        assert found["usage"]["prompt_tokens"] == len(ids)
        assert found["usage"]["completion_tokens"] == len(written)
    assert said == expected
