"""Probabilities of given answers: equal to what transformers makes of each whole, with the official client."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from openai import BadRequestError, OpenAI
from serving import Running, serving
from talking import TALKER, connect, make_talker
from tiny import read_model
from transformers import AutoTokenizer

PROMPT = "the quick brown"
ANSWERS = [" fox", " dog jumps over", " Tom has the ball. 🎉", " fox jumps"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_talker(tmp_path_factory.mktemp("deciding"))


@pytest.fixture(scope="module")
def reference(root: Path) -> Any:
    model, tokenizer = read_model(root / TALKER), AutoTokenizer.from_pretrained(root / TALKER)

    def score(ids: list[int], answer: list[int]) -> float:
        with torch.no_grad():
            logprobs = model(torch.tensor([[*ids, *answer]])).logits[0].log_softmax(-1)
        return sum(float(logprobs[len(ids) - 1 + place, one]) for place, one in enumerate(answer))

    return tokenizer, score


@pytest.fixture(scope="module")
def running(root: Path, reference: Any) -> Iterator[Running]:
    with serving(root, rate_limit="", default_model=TALKER) as server:
        yield server


@pytest.fixture
def official(running: Running) -> Iterator[OpenAI]:
    with connect(running) as client:
        yield client


def decide(client: OpenAI, **body: Any) -> Any:
    return client.post("/decisions", body={"model": TALKER, **body}, cast_to=object)


def test_answers_are_scored_whole(official: OpenAI, reference: Any) -> None:
    tokenizer, score = reference
    told = decide(official, prompt=PROMPT, answers=ANSWERS)
    ids = tokenizer(PROMPT)["input_ids"]
    expected = []
    for answer, one in zip(ANSWERS, told["answers"], strict=True):
        token_ids = tokenizer(PROMPT + answer)["input_ids"][len(ids) :]
        assert one["token_ids"] == token_ids
        assert one["answer"] == answer
        expected.append(score(ids, token_ids))
        assert one["logprob"] == pytest.approx(expected[-1], abs=1e-4)
        assert sum(one["token_logprobs"]) == pytest.approx(one["logprob"])
    normed = torch.tensor(expected).softmax(-1)
    assert [one["probability"] for one in told["answers"]] == pytest.approx(normed.tolist(), abs=1e-5)
    assert told["choice"] == ANSWERS[int(normed.argmax())]


def test_the_official_questions(official: OpenAI, reference: Any, running: Running) -> None:
    tokenizer, score = reference
    questions: Any = [
        {"type": "predicate", "name": "held", "instructions": "Somebody has the ball."},
        {
            "type": "choice",
            "instructions": "Who has it?",
            "choices": [{"value": "Mia", "description": "a girl"}, {"value": "Tom"}, {"value": True}],
        },
        {"type": "score", "instructions": "How sure?", "levels": [{"label": "not"}, {"label": "very"}]},
    ]
    told = official.decisions.create(model=TALKER, input="Mia gives the ball to Tom.", questions=questions)
    predicate, choice, level = told.answers
    assert (predicate.type, predicate.name) == ("predicate", "held")
    words = "Mia gives the ball to Tom.\n\nIs this so: Somebody has the ball.\nAnswer with yes or no alone."
    turns = [{"role": "user", "content": words}]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    scores = [
        score(ids, tokenizer(answer, add_special_tokens=False)["input_ids"]) for answer in ("yes", "no")
    ]
    assert predicate.probability == pytest.approx(float(torch.tensor(scores).softmax(-1)[0]), abs=1e-5)
    assert [one.value for one in choice.probabilities] == ["Mia", "Tom", True]
    assert sum(one.probability for one in choice.probabilities) == pytest.approx(1)
    best = max(choice.probabilities, key=lambda one: one.probability)
    assert (choice.choice, choice.confidence) == (best.value, best.probability)
    assert level.score == pytest.approx(level.probabilities[1].probability)
    assert told.usage.output_tokens == 0


def test_it_leads_to_its_recording_and_reading(official: OpenAI, running: Running) -> None:
    told = decide(official, prompt=PROMPT, answers=ANSWERS[:2], record=True)
    best = max(told["answers"], key=lambda one: one["logprob"])
    with running.client() as client:
        state = client.get(f"/api/traces/{told['trace_id']}").json()
        assert [token["id"] for token in state["tokens"]][-len(best["token_ids"]) :] == best["token_ids"]
        with client.stream("GET", f"/api/traces/{told['trace_id']}/events") as events:
            for line in events.iter_lines():
                if '"status":"done"' in line.replace(" ", ""):
                    break
        reading = client.get(told["reading"])
        assert reading.status_code == 200, reading.text


@pytest.mark.parametrize(
    ("body", "param", "sentence"),
    [
        ({"prompt": "a", "answers": ["x"]}, "answers", "at least 2"),
        ({"prompt": "a", "answers": ["x", "x"]}, "answers", "twice"),
        ({"prompt": "a", "answers": ["x", ""]}, "answers", "empty"),
        ({"answers": ["x", "y"]}, "prompt", "Exactly one"),
        ({"prompt": "a" * 30_000, "answers": ["x", "y"]}, "prompt", "at most"),
        ({"input": "a"}, "questions", "missing"),
        ({"input": "a", "questions": [{"type": "guess", "instructions": "x"}]}, "questions.0", "predicate"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input.0.content", "image"),
        (
            {
                "input": "a",
                "questions": [{"type": "choice", "instructions": "x", "choices": [{"value": "a"}]}],
            },
            "questions.0.choice.choices",
            "at least 2",
        ),
    ],
)
def test_what_is_refused_is_named(official: OpenAI, body: Any, param: str, sentence: str) -> None:
    with pytest.raises(BadRequestError) as refused:
        decide(official, **body)
    assert refused.value.param == param
    assert sentence in refused.value.message
