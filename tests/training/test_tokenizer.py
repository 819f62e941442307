"""The committed tokenizers: any text comes back exactly, and the recipe still makes the same ones."""

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tokenizers import pre_tokenizers
from transformers import AutoTokenizer

from glassformer import bundled
from glassformer.training import corpus, lexicon, sorter, tales

TEXTS = [
    "Mia gives the ball to Tom.",
    "  two leading spaces, two trailing  ",
    "\n\nnew\nlines\r\n and\ttabs",
    "漢字とかな 한국어 العربية हिन्दी",
    "🙂👩‍👩‍👧‍👦🇫🇷 é é",
    "<|user|> in the middle",
    "1234567890 3.14 a_b",
]


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_round_trips(tales_pair: tuple[Any, Any], text: str):
    _, tokenizer = tales_pair
    ids = tokenizer(text).input_ids
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.decode(ids[1:]) == text
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False).input_ids) == text


def test_a_name_is_one_token_wherever_it_stands(tales_pair: tuple[Any, Any]):
    _, tokenizer = tales_pair
    assert tokenizer.tokenize("Mia has it. Mia runs.")[0] == "Mia"
    assert "ĠMia" in tokenizer.tokenize("Mia has it. Mia runs.")


def words_of(text: str) -> Iterator[str]:
    """As the tokenizer splits them before it looks any up: with the space in front."""
    split = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    for part in re.split(r"<\|\w+\|>", text):
        yield from (word for word, _ in split.pre_tokenize_str(part))


def test_no_word_of_the_grammar_is_split(tales_pair: tuple[Any, Any]):
    _, tokenizer = tales_pair
    rng = random.Random(6)
    texts = [corpus.write(rng, level=level).text for level in (0.0, 0.5, 1.0, 2.0) for _ in range(2000)]
    groups = (lexicon.WOMEN, lexicon.MEN, lexicon.OBJECTS, lexicon.ADJECTIVES, lexicon.COUNTED)
    texts += [f" {word}" for group in groups for word in group]
    texts += [*lexicon.WOMEN, *lexicon.MEN, *bundled.TALES.prompts]
    words = {word for text in texts for word in words_of(text)}
    assert len(words) > 1500
    assert {word for word in words if word not in tokenizer.get_vocab()} == set()
    assert tokenizer.tokenize(" laughs crayons xylophone")[:2] == ["Ġlaughs", "Ġcrayons"]


def test_saving_keeps_words_whole(tales_pair: tuple[Any, Any], tmp_path: Path):
    _, tokenizer = tales_pair
    tokenizer.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "tokenizer.json").read_text())
    assert saved["model"]["ignore_merges"]
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again.tokenize(" wheelbarrow crayons") == tokenizer.tokenize(" wheelbarrow crayons")


def test_the_chat_template_marks_turns(tales_pair: tuple[Any, Any]):
    _, tokenizer = tales_pair
    messages = [
        {"role": "user", "content": "Mia has a ball. Who has the ball?"},
        {"role": "assistant", "content": "Mia has the ball."},
        {"role": "user", "content": "What does Mia have?"},
    ]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == (
        "<|bos|><|user|>Mia has a ball. Who has the ball?<|assistant|>Mia has the ball.<|eos|>"
        "<|user|>What does Mia have?<|assistant|>"
    )
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert ids.count(tokenizer.bos_token_id) == 1
    assert tokenizer.decode(ids) == text


def test_the_recipe_makes_the_committed_tokenizer(tales_pair: tuple[Any, Any], sorter_pair: tuple[Any, Any]):
    for made, (_, committed) in ((tales.tokenizer(0), tales_pair), (sorter.tokenizer(), sorter_pair)):
        fresh = json.loads(made.backend_tokenizer.to_str())
        assert fresh == json.loads(committed.backend_tokenizer.to_str())


@pytest.mark.parametrize("text", ["CBABBC", "cbabbc", "C B A B B C", "C, b; a\nB B C!"])
def test_the_sorter_reads_letters_and_nothing_else(sorter_pair: tuple[Any, Any], text: str):
    _, tokenizer = sorter_pair
    assert tokenizer(text).input_ids == [2, 1, 0, 1, 1, 2]
    assert tokenizer.decode([2, 1, 0, 1, 1, 2]) == "CBABBC"


def test_the_samples_fit(tales_pair: tuple[Any, Any], sorter_pair: tuple[Any, Any]):
    for model, (network, tokenizer) in ((bundled.TALES, tales_pair), (bundled.SORTER, sorter_pair)):
        for prompt in model.prompts:
            assert 6 <= len(tokenizer(prompt).input_ids) <= min(45, network.config.max_position_embeddings)
