"""What the real model writes over HTTP against transformers' own `generate()`."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from serving import serving
from transformers import AutoTokenizer

pytestmark = pytest.mark.real

# Each with its answer: such as the model is sure of.
QUESTIONS = {
    "What is the capital of Spain? Answer with one word.": "Madrid",
    "What is the capital of Japan?": "Tokyo",
}
# How much nearer than the second the best token must be, in roundings of the format, that every sum agrees on it.
CLEAR = 8
WRITTEN = 24


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


def expect(plain: Any, folder: Path, question: str) -> tuple[str, int, int]:
    """The answer of `generate()`, and how many tokens were read and written."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    messages = [{"role": "user", "content": question}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    written, is_clear = generate(plain, ids, WRITTEN)
    answer = tokenizer.decode(written, skip_special_tokens=True)
    assert is_clear
    assert QUESTIONS[question] in answer
    return answer, len(ids), len(written)


def ask(client: httpx.Client, folder: Path, question: str, *, streams: bool = False) -> httpx.Response:
    messages = [{"role": "user", "content": question}]
    body = {"model": folder.name, "messages": messages, "max_tokens": WRITTEN, "temperature": 0}
    answer = client.post("/v1/chat/completions", json={**body, "stream": streams})
    assert answer.status_code == 200, answer.text
    return answer


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_is_answered_as_generate_does(
    client: httpx.Client, plain: Any, folder: Path, question: str
) -> None:
    expected, read, written = expect(plain, folder, question)
    found = ask(client, folder, question).json()
    assert found["choices"][0]["message"]["content"] == expected
    assert (found["usage"]["prompt_tokens"], found["usage"]["completion_tokens"]) == (read, written)
    told = ask(client, folder, question, streams=True).text
    lines = [line.removeprefix("data: ") for line in told.splitlines() if line.startswith("data: {")]
    choices = [choice for line in lines for choice in json.loads(line)["choices"]]
    assert "".join(choice["delta"].get("content") or "" for choice in choices) == expected


def test_those_who_ask_at_once_are_answered_as_each_alone(
    client: httpx.Client, plain: Any, folder: Path
) -> None:
    """Eight texts that share their forwards and attend together."""
    expected = {question: expect(plain, folder, question)[0] for question in QUESTIONS}
    asked = [*QUESTIONS] * 4
    with ThreadPoolExecutor(len(asked)) as pool:
        answers = [*pool.map(lambda question: ask(client, folder, question).json(), asked)]
    for question, answer in zip(asked, answers, strict=True):
        assert answer["choices"][0]["message"]["content"] == expected[question]
