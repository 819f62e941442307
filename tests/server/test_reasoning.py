"""Reasoning comes apart from the text, where the model's template marks it, whole and streamed."""

import json
from collections.abc import Iterator
from typing import Any

import chat_templates
import pytest
from openai import OpenAI
from serving import Running, serving
from talking import connect
from tiny import make_model

from glassformer.loading.loaded import LoadedModel

TURNS: list[Any] = [{"role": "user", "content": "Why?"}]
NAMES = ["hermes", "deepseek", "harmony", "mistral"]


@pytest.fixture(scope="module")
def thinkers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    root = tmp_path_factory.mktemp("thinkers")
    for name in NAMES:
        tokenizer = chat_templates.make_knowing_tokenizer()
        tokenizer.chat_template = chat_templates.ALL[name]
        make_model(root / name, "llama", tokenizer=tokenizer, num_hidden_layers=1)
    with serving(root, rate_limit="", default_model="sorter") as running:
        yield running


@pytest.fixture
def official(thinkers: Running) -> Iterator[OpenAI]:
    with connect(thinkers) as client:
        yield client


def load(running: Running, name: str) -> LoadedModel:
    return running.services.registry.load(name).result(timeout=30)


def force(loaded: LoadedModel, text: str) -> dict[str, Any]:
    """Options with which a random model writes `text` and ends, whatever it would have liked."""
    ids = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
    rules = " ".join(f"<[{token_id}]>" for token_id in ids)
    return {
        "extra_body": {"guided_grammar": f"%llguidance {{}}\nstart: {rules}\n"},
        "max_tokens": len(ids) + 1,
    }


WRITTEN = {
    "hermes": "<think>\nHm, <b>\nhm.\n</think>\n\nIt is so.",
    "deepseek": "Hm, <b>\nhm.\n</think>\n\nIt is so.",
    "harmony": "<|channel|>analysis<|message|>Hm, <b>\nhm.<|end|>"
    "<|start|>assistant<|channel|>final<|message|>It is so.",
}


@pytest.mark.parametrize("model", WRITTEN)
def test_reasoning_comes_apart(official: OpenAI, thinkers: Running, model: str) -> None:
    options = force(load(thinkers, model), WRITTEN[model])
    whole = official.chat.completions.create(model=model, messages=TURNS, **options)
    message = whole.choices[0].message
    assert (message.reasoning_content, message.content) == ("Hm, <b>\nhm.", "It is so.")
    assert whole.choices[0].finish_reason == "stop"
    thought = whole.usage.completion_tokens_details.reasoning_tokens
    assert 8 < thought < whole.usage.completion_tokens - 5
    reasoning, text = "", ""
    for chunk in official.chat.completions.create(model=model, messages=TURNS, stream=True, **options):
        delta = chunk.choices[0].delta
        reasoning += getattr(delta, "reasoning_content", None) or ""
        assert not (getattr(delta, "reasoning_content", None) and delta.content)
        text += delta.content or ""
    assert (reasoning, text) == ("Hm, <b>\nhm.", "It is so.")


def test_an_answer_that_ends_while_thinking(official: OpenAI, thinkers: Running) -> None:
    options = force(load(thinkers, "deepseek"), "Hm, hm, hm")
    answer = official.chat.completions.create(model="deepseek", messages=TURNS, **options)
    assert answer.choices[0].message.reasoning_content == "Hm, hm, hm"
    assert answer.choices[0].message.content == ""
    assert answer.usage.completion_tokens_details.reasoning_tokens == answer.usage.completion_tokens


def test_a_template_without_reasoning_has_none(official: OpenAI, thinkers: Running) -> None:
    """Text that reads like it is text, and nothing is counted."""
    options = force(load(thinkers, "mistral"), "<think>Hm.</think>So.")
    answer = official.chat.completions.create(model="mistral", messages=TURNS, **options)
    assert answer.choices[0].message.content == "<think>Hm.</think>So."
    assert not hasattr(answer.choices[0].message, "reasoning_content")
    assert answer.usage.completion_tokens_details is None


def test_thinking_switched_off(official: OpenAI, thinkers: Running) -> None:
    options = force(load(thinkers, "hermes"), "It is so.")
    options["extra_body"]["enable_thinking"] = False
    message = official.chat.completions.create(model="hermes", messages=TURNS, **options).choices[0].message
    assert message.content == "It is so."
    assert not hasattr(message, "reasoning_content")


def test_reasoning_goes_back_into_the_conversation(official: OpenAI, thinkers: Running) -> None:
    said = {"role": "assistant", "content": "So.", "reasoning_content": "Hm, hm."}
    counts = [
        official.chat.completions.create(
            model="hermes", messages=[*TURNS, message, *TURNS], max_tokens=1
        ).usage.prompt_tokens
        for message in (said, {**said, "reasoning_content": None})
    ]
    assert counts[0] > counts[1]


@pytest.mark.parametrize(
    ("wanted", "right"),
    [
        ({"guided_choice": ["yes", "no"]}, ["yes", "no"]),
        ({"guided_regex": "a/b|[0-9]{2}/x"}, None),
        ({"guided_regex": r"a\\/b|\/"}, [r"a\/b", "/"]),
        ({"guided_json": {"enum": [1, 2]}}, ["1", "2"]),
    ],
)
def test_what_an_answer_must_be_is_asked_of_its_text(
    official: OpenAI, thinkers: Running, wanted: dict[str, Any], right: list[str] | None
) -> None:
    """After the reasoning that the prompt has opened, which a random model is pushed to end."""
    end = load(thinkers, "deepseek").tokenizer.convert_tokens_to_ids("</think>")
    answer = official.chat.completions.create(
        model="deepseek", messages=TURNS, max_tokens=300, logit_bias={str(end): 4}, seed=2, extra_body=wanted
    )
    message = answer.choices[0].message
    assert answer.choices[0].finish_reason == "stop"
    text = message.content.strip()
    assert text in right if right else "/" in text
    if "guided_json" in wanted:
        assert json.loads(text) in (1, 2)
