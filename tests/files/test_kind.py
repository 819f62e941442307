"""What is not served is told as what it is; code of a model's own is left aside where nobody needs it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import make_model
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)
from typer.testing import CliRunner

from glassformer.cli import app
from glassformer.errors import ModelRefused
from glassformer.files.catalog import ModelSource
from glassformer.loading.load import load_model
from glassformer.loading.tokenizer import load_tokenizer
from glassformer.structure.naming import say_plainly

EVIL = "from pathlib import Path\nPath(__file__).with_name('ran').write_text('it ran')\n"


def load(folder: Path) -> Any:
    source = ModelSource(model_id="tiny", kind="folder", folder=folder, root=folder.parent)
    return load_model(source, folder, device="cpu")


def change(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("kind", "name", "sentence"),
    [
        ("t5", "T5ForConditionalGeneration", "encoder-decoder"),
        ("bart", "BartForConditionalGeneration", "encoder-decoder"),
        ("whisper", "WhisperForConditionalGeneration", "encoder-decoder"),
        ("distilbert", "DistilBertForMaskedLM", "fills in masked words"),
        ("pix2struct", "Pix2StructForConditionalGeneration", "encoder-decoder"),
        ("vit", "ViTForImageClassification", "does not predict the next token"),
    ],
)
def test_a_refusal_says_what_the_model_is(tmp_path: Path, kind: str, name: str, sentence: str) -> None:
    folder = make_model(tmp_path / "tiny", "llama")
    config = AutoConfig.for_model(kind)
    config.architectures = [name]
    config.save_pretrained(folder)
    with pytest.raises(ModelRefused, match=sentence) as caught:
        load(folder)
    assert name in caught.value.message


def test_weights_of_another_class_are_named(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "tiny", "llama")
    AutoModel.from_config(AutoConfig.from_pretrained(folder)).save_pretrained(folder)
    with pytest.raises(ModelRefused, match="those of LlamaModel, and LlamaForCausalLM is"):
        load(folder)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(
    "kind",
    [AutoModelForSequenceClassification, AutoModelForTokenClassification, AutoModelForQuestionAnswering],
)
def test_a_classifier_is_told_as_one(tmp_path: Path, kind: Any, tied: bool) -> None:
    """Also where its head would never be missed, for the embedding is in the head's place."""
    folder = make_model(tmp_path / "tiny", "llama", tie_word_embeddings=tied)
    kind.from_config(AutoConfig.from_pretrained(folder)).save_pretrained(folder)
    with pytest.raises(ModelRefused, match=r"This is a classifier \(LlamaFor\w+\): its head labels texts"):
        load(folder)


@pytest.mark.parametrize("kind", [AutoModel, AutoModelForMaskedLM, AutoModelForCausalLM])
def test_an_encoder_is_told_as_one_and_a_decoder_of_its_family_serves(tmp_path: Path, kind: Any) -> None:
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    is_decoder = kind is AutoModelForCausalLM
    folder = make_model(tmp_path / "tiny", "bert", is_decoder=True, **shape)
    config = AutoConfig.from_pretrained(folder, is_decoder=is_decoder)
    kind.from_config(config).save_pretrained(folder)
    if is_decoder:
        assert load(folder).parameters > 0
        return
    with pytest.raises(ModelRefused, match=r"This is an encoder .*: it fills in masked words"):
        load(folder)


@pytest.mark.parametrize("has_file", [False, True])
def test_code_that_nobody_needs_is_left_aside(tmp_path: Path, has_file: bool) -> None:
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "pad_token_id": 0}
    plain = make_model(tmp_path / "plain", "phi3", num_attention_heads=4, **shape)
    coded = make_model(tmp_path / "coded", "phi3", num_attention_heads=4, **shape)
    names = {
        "AutoConfig": "configuration_phi3.Phi3Config",
        "AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM",
    }
    change(coded / "config.json", auto_map=names)
    change(coded / "tokenizer_config.json", auto_map={"AutoTokenizer": ["tokenization_x.Tokenizer", None]})
    if has_file:
        for name in ("configuration_phi3", "modeling_phi3", "tokenization_x"):
            (coded / f"{name}.py").write_text(EVIL)
    loaded = load(coded)
    ids = torch.arange(2, 12)[None]
    with torch.inference_mode():
        expected = AutoModelForCausalLM.from_pretrained(plain).eval()(ids).logits
        assert torch.equal(loaded.model(ids).logits, expected)
    assert not list(tmp_path.rglob("ran"))
    assert "left aside" in loaded.note
    told = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["doctor", str(coded), "--device", "cpu"])
    assert "left aside" in told.stdout


def test_a_tokenizer_of_an_unknown_class_is_read_from_its_data(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "tiny", "llama")
    before = load_tokenizer(folder)("the quick fox")["input_ids"]
    change(
        folder / "tokenizer_config.json",
        tokenizer_class="NobodysTokenizer",
        auto_map={"AutoTokenizer": ["t.T", None]},
    )
    (folder / "t.py").write_text(EVIL)
    assert load_tokenizer(folder)("the quick fox")["input_ids"] == before
    assert not (folder / "ran").exists()


def test_a_tokenizer_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "tiny", "llama")
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(ModelRefused, match=r"no tokenizer that can be read \(.*\w.*\)") as caught:
        load(folder)
    assert str(tmp_path) not in caught.value.message


def test_what_the_library_says_is_told_whole(tmp_path: Path) -> None:
    """Rules that a config breaks stand in the second line of transformers' message."""
    folder = make_model(tmp_path / "tiny", "llama")
    change(folder / "config.json", hidden_size=36, num_attention_heads=5, head_dim=None)
    with pytest.raises(Exception, match="multiple of the number of attention heads") as caught:
        load(folder)
    assert str(tmp_path) not in str(caught.value)


def test_unknown_places_are_told_in_plain_words() -> None:
    told = say_plainly(ValueError("Could not locate transformer trunk (no `.layers`/`.h` submodule found)."))
    assert told.startswith("its blocks do not lie where")
    assert say_plainly(ValueError("each of its blocks runs two.")) == "each of its blocks runs two"
