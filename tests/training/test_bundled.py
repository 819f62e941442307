"""The committed weights do what their cards say."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors import safe_open

from glassformer import bundled
from glassformer.training import held_out_score, sorter, tales, training_run

DOCUMENTS = 500
STORIES = 100


@pytest.fixture(scope="module")
def measured(tales_pair: tuple[Any, Any]) -> dict[str, tuple[int, int]]:
    return held_out_score.tales_scores(*tales_pair, tales.held_out(training_run.HELD_OUT_SEED, DOCUMENTS))


def card_scores(folder: Path) -> dict[str, float]:
    results = ModelCard.load(folder / "README.md").data.eval_results
    return {result.metric_name: result.metric_value for result in results}


def continued(pair: tuple[Any, Any], prompt: str, *, tokens: int) -> str:
    model, tokenizer = pair
    inputs = tokenizer(prompt, return_tensors="pt")
    out = model.generate(
        **inputs, max_new_tokens=tokens, do_sample=False, pad_token_id=tokenizer.pad_token_id or 0
    )
    return tokenizer.decode(out[0, inputs.input_ids.shape[1] :])


def test_state_questions_are_answered(measured: dict[str, tuple[int, int]]):
    right, asked = measured["state"]
    assert asked > 600
    assert right / asked >= 0.98


def test_the_card_says_what_is_measured(measured: dict[str, tuple[int, int]]):
    stated = card_scores(bundled.TALES.folder)
    assert set(stated) == {*measured, "told"}
    for kind, (right, asked) in measured.items():
        share = stated[kind]
        spread = 4 * (max(share * (1 - share), 0.01) / asked) ** 0.5
        assert abs(right / asked - share) <= spread, kind
    assert stated["state"] >= 0.98


def test_its_stories_hold_together(tales_pair: tuple[Any, Any]):
    told = held_out_score.told(*tales_pair, seed=training_run.HELD_OUT_SEED + 1, number=STORIES)
    stated = card_scores(bundled.TALES.folder)["told"]
    assert abs(told["whole"] / STORIES - stated) <= 4 * (stated * (1 - stated) / STORIES) ** 0.5
    assert told["whole"] / STORIES >= 0.7
    assert told["form"] + told["end"] + told["wish"] <= 0.06 * STORIES


def test_a_story_is_read_as_a_person_would_ask_for_it(tales_pair: tuple[Any, Any]):
    """The measure samples in padded batches; one request alone is told just as well."""
    requests = ["Tell me a story about Mia and a kite.", "Write a story about a drum."]
    alone = [held_out_score.tell(*tales_pair, [request], seed=3)[0] for request in requests]
    assert all(story.endswith("<|eos|>") for story in alone)
    assert "Mia" in alone[0]
    assert "kite" in alone[0]
    assert "drum" in alone[1]


def test_scoring_agrees_with_greedy_generation(tales_pair: tuple[Any, Any]):
    documents = [document for document in tales.held_out(11, 12) if document.answers]
    results = held_out_score.answered(*tales_pair, documents)
    for document, rights in zip(documents, results, strict=True):
        for answer, is_right in zip(document.answers, rights, strict=True):
            length = len(tales_pair[1](document.text[answer.start : answer.stop]).input_ids) - 1
            said = continued(tales_pair, document.text[: answer.start], tokens=length)
            assert (said == document.text[answer.start : answer.stop]) == is_right


def test_every_held_out_sequence_is_sorted(sorter_pair: tuple[Any, Any]):
    model, _ = sorter_pair
    train, held_out = sorter.sequences(0)
    assert len({tuple(row) for row in torch.cat([train, held_out]).tolist()}) == 3**6
    right, asked = held_out_score.sorter_score(model, held_out)
    assert asked == sorter.HELD_OUT
    assert right / asked >= 0.999
    assert card_scores(bundled.SORTER.folder)["sorted"] == round(right / asked, 4)


@pytest.mark.parametrize("prompt", bundled.SORTER.prompts)
def test_the_sorter_sorts_its_samples(sorter_pair: tuple[Any, Any], prompt: str):
    assert continued(sorter_pair, prompt, tokens=6) == "".join(sorted(prompt))


ANSWERS = ("Tom", "Five", "Behind the tree")


@pytest.mark.parametrize(("prompt", "expected"), list(zip(bundled.TALES.prompts, ANSWERS, strict=False)))
def test_tales_answers_its_samples(tales_pair: tuple[Any, Any], prompt: str, expected: str):
    assert continued(tales_pair, prompt, tokens=8).startswith(f" {expected}.")


def test_the_first_sample_is_sharp(tales_pair: tuple[Any, Any]):
    model, tokenizer = tales_pair
    with torch.inference_mode():
        logits = model(**tokenizer(bundled.TALES.prompts[0], return_tensors="pt")).logits[0, -1]
    assert logits.softmax(-1).max() > 0.9


def test_tales_answers_in_a_chat(tales_pair: tuple[Any, Any]):
    model, tokenizer = tales_pair
    messages = [
        {
            "role": "user",
            "content": "Mia has a ball. Tom laughs. Mia gives the ball to Tom. Who has the ball?",
        }
    ]
    inputs = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    out = model.generate(**inputs, max_new_tokens=20, do_sample=False)
    said = tokenizer.decode(out[0, inputs["input_ids"].shape[1] :])
    assert said == "Tom has the ball.<|eos|>"


def test_tales_tells_a_story_about_what_was_asked(tales_pair: tuple[Any, Any]):
    model, tokenizer = tales_pair
    messages = [{"role": "user", "content": "Tell me a story about Mia and a kite."}]
    inputs = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    torch.manual_seed(0)
    out = model.generate(**inputs, max_new_tokens=180, do_sample=True, temperature=0.7)
    story = tokenizer.decode(out[0, inputs["input_ids"].shape[1] :])
    assert "Mia" in story
    assert "kite" in story
    assert story.endswith((".<|eos|>", '"<|eos|>'))
    assert story.count(".") >= 3


@pytest.mark.parametrize("model", [bundled.TALES, bundled.SORTER], ids=lambda model: model.name)
def test_the_folders_are_small_whole_and_anonymous(model: bundled.Bundled):
    names = {path.name for path in model.folder.iterdir()}
    assert {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "README.md",
    } <= names
    assert (model.folder / "model.safetensors").stat().st_size <= 8_000_000
    with safe_open(model.folder / "model.safetensors", "pt") as weights:
        assert {weights.get_slice(name).get_dtype() for name in weights.keys()} == {"F32"}  # noqa: SIM118
    for path in model.folder.iterdir():
        if path.suffix in {".json", ".md", ".jinja"}:
            text = path.read_text(encoding="utf-8")
            assert "_name_or_path" not in text
            assert "/home/" not in text
            assert "/tmp/" not in text  # noqa: S108
    assert json.loads((model.folder / "config.json").read_text())["tie_word_embeddings"]
