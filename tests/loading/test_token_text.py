"""A token's text is the one it has in a text; what a tokenizer adds around one is known."""

from pathlib import Path
from typing import Any

import pytest
from tiny import make_model, make_spaced_tokenizer, make_tokenizer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from glassformer.errors import BadValue
from glassformer.files.catalog import ModelSource
from glassformer.loading.load import load_model
from glassformer.loading.loaded import LoadedModel
from glassformer.loading.token_text import TokenTexts, find_affixes

TEXTS = ["Mia has a ball.", " a a  a ", "漢字 🙂 é", "a\nb"]


def make_word_tokenizer() -> PreTrainedTokenizerFast:
    """As BERT's: pieces inside a word are marked, spaces are put back by decoding."""
    words = ["[UNK]", "[CLS]", "[SEP]", "mia", "has", "a", "ball", "##s", "##l", "."]
    tokenizer = Tokenizer(models.WordPiece({word: at for at, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    fast: Any = PreTrainedTokenizerFast
    return fast(tokenizer_object=tokenizer, cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]")


def texts_of(tokenizer: PreTrainedTokenizerFast) -> TokenTexts:
    return TokenTexts(tokenizer, frozenset(tokenizer.all_special_ids))


@pytest.mark.parametrize("make", [make_spaced_tokenizer, make_tokenizer, make_word_tokenizer])
@pytest.mark.parametrize("text", TEXTS)
def test_texts_join_to_the_text(make: Any, text: str) -> None:
    tokenizer = make()
    if make is make_word_tokenizer:
        text = "mia has a balls a."
    texts = texts_of(tokenizer)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    joined = b"".join(texts[token_id].raw or b"" for token_id in ids).decode()
    assert joined in (text, " " + text)


def test_a_space_tells_two_tokens_apart() -> None:
    tokenizer = make_spaced_tokenizer()
    texts = texts_of(tokenizer)
    inside, word = tokenizer.convert_tokens_to_ids(["a", "▁a"])
    assert tokenizer.decode([inside]) == tokenizer.decode([word]) == "a"
    assert (texts[inside].text, texts[word].text) == ("a", " a")


def test_control_tokens_read_as_they_are_spelt() -> None:
    tokenizer = make_spaced_tokenizer()
    assert [texts_of(tokenizer)[token_id].text for token_id in (1, 2)] == ["<s>", "</s>"]
    assert texts_of(tokenizer)[1].raw is None


@pytest.mark.parametrize("make", [make_spaced_tokenizer, make_tokenizer])
def test_parts_of_characters_have_their_bytes(make: Any) -> None:
    tokenizer = make()
    texts = texts_of(tokenizer)
    ids = tokenizer("🙂", add_special_tokens=False)["input_ids"]
    partial = [texts[token_id] for token_id in ids if "\ufffd" in texts[token_id].text]
    assert partial
    assert b"".join(texts[token_id].raw or b"" for token_id in ids).decode().strip() == "🙂"


def test_what_is_added_to_a_text() -> None:
    assert find_affixes(make_spaced_tokenizer()).before == (1,)
    ending = find_affixes(make_spaced_tokenizer(ends=True))
    assert (ending.before, ending.after) == ((1,), (2,))
    assert find_affixes(make_word_tokenizer()).after == (2,)
    plain = find_affixes(make_tokenizer())
    assert (plain.before, plain.after) == ((), ())
    assert plain.list_left_off([]) == []
    assert ending.list_left_off([1, 2]) == [1]
    assert ending.list_left_off([1, 1, 9, 2, 2]) == [0, 4]


def load(folder: Path) -> LoadedModel:
    source = ModelSource(model_id="tiny", kind="folder", folder=folder, root=folder.parent)
    return load_model(source, folder, device="cpu")


def test_a_prompt_has_one_beginning_and_no_end(tmp_path: Path) -> None:
    loaded = load(make_model(tmp_path / "tiny", "llama", tokenizer=make_spaced_tokenizer(ends=True)))
    whole = loaded.tokenize("Mia has a ball.")
    assert (whole[0], whole[-1]) == (1, 2)
    assert loaded.encode("Mia has a ball.") == whole[:-1]
    # As it comes out of a chat template; what is spelt twice is meant.
    spelt = loaded.tokenize("<s>Mia has a ball.")
    assert spelt[:2] == [1, 1]
    assert loaded.encode("<s>Mia has a ball.") == spelt[1:-1]
    assert loaded.encode("<s><s>Mia")[:3] == [1, 1, loaded.encode("<s>Mia")[1]]
    assert loaded.encode("Mia</s>") == [*loaded.encode("Mia"), 2]
    assert loaded.encode("") == [1]


def test_nothing_but_an_end_is_no_prompt(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    loaded = load(make_model(tmp_path / "tiny", "llama", tokenizer=tokenizer))
    assert loaded.tokenize("") == [1]
    with pytest.raises(BadValue, match="no tokens"):
        loaded.encode("")
