"""Tokenizers and chat templates in whatever files they come."""

import base64
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny import make_model
from transformers import AutoTokenizer

from glassformer.errors import ModelRefused
from glassformer.loading.tokenizer import load_tokenizer

TEXT = "Mia has a ball, and Tom takes the ball."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_model(tmp_path / "tiny", "llama")


def drop_tokenizer(folder: Path) -> Path:
    for path in folder.glob("*token*"):
        path.unlink()
    return folder


def test_a_sentencepiece_model_alone(folder: Path) -> None:
    sentencepiece: Any = pytest.importorskip("sentencepiece")
    pytest.importorskip("google.protobuf")
    drop_tokenizer(folder)
    source = folder.parent / "texts"
    source.write_text(
        "\n".join(f"{TEXT} The quick brown fox jumps {number * 7} times." for number in range(40))
    )
    sentencepiece.SentencePieceTrainer.train(
        input=str(source),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=100,
        model_type="bpe",
        minloglevel=2,
    )
    trained = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    tokenizer = load_tokenizer(folder)
    ids = tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    assert ids == trained.encode(TEXT)
    assert tokenizer.decode(ids) == TEXT


def test_without_its_library_it_is_named(folder: Path) -> None:
    """Run where neither can be imported, as on a machine without them; transformers' own error names another one."""
    (drop_tokenizer(folder) / "tokenizer.model").write_bytes(b"pieces")
    program = (
        "import sys; sys.modules['sentencepiece'] = sys.modules['google.protobuf'] = None\n"
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name in ('sentencepiece', 'google.protobuf') else find(name, *a)\n"
        "from pathlib import Path; from glassformer.loading.tokenizer import load_tokenizer\n"
        f"load_tokenizer(Path({str(folder)!r}))"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120
    )
    last = told.stderr.strip().splitlines()[-1]
    assert last.endswith(
        "The model's tokenizer is in tokenizer.model alone, which sentencepiece and protobuf can read; "
        "install that with: pip install 'glassformer[sentencepiece]'."
    )


@pytest.mark.skipif(importlib.util.find_spec("tiktoken") is not None, reason="what is missing is here")
def test_a_tiktoken_file_names_its_library(folder: Path) -> None:
    (drop_tokenizer(folder) / "qwen.tiktoken").write_text("IQ== 0\n")
    with pytest.raises(ModelRefused, match=r"is in qwen\.tiktoken alone, which tiktoken can read"):
        load_tokenizer(folder)


def write_tekken(folder: Path) -> None:
    drop_tokenizer(folder)
    vocab = [
        {"rank": byte, "token_bytes": base64.b64encode(bytes([byte])).decode(), "token_str": None}
        for byte in range(256)
    ]
    config = {
        "pattern": r"[^\s]+|\s+",
        "num_vocab_tokens": 256,
        "default_vocab_size": 266,
        "default_num_special_tokens": 10,
        "version": "v3",
    }
    special = [{"rank": rank, "token_str": f"<SPECIAL_{rank}>", "is_control": True} for rank in range(10)]
    told = {"config": config, "vocab": vocab, "special_tokens": special}
    (folder / "tekken.json").write_text(json.dumps(told))


def test_mistrals_file_alone(folder: Path) -> None:
    write_tekken(folder)
    tokenizer = load_tokenizer(folder)
    assert tokenizer.decode(tokenizer(TEXT)["input_ids"], skip_special_tokens=True) == TEXT


def test_a_processors_template_is_the_tokenizers(folder: Path) -> None:
    """Where it has none itself; the file of its own goes first, as in transformers."""
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": "P"}))
    assert load_tokenizer(folder).chat_template == "P"
    (folder / "chat_template.jinja").write_text("J")
    assert load_tokenizer(folder).chat_template == "J"
    (folder / "chat_template.jinja").unlink()
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": "C"}))
    assert load_tokenizer(folder).chat_template == "C"
    (folder / "chat_template.json").write_text('{"chat_template": 1}')
    assert load_tokenizer(folder).chat_template == "C"


def test_templates_by_name_are_those_of_transformers(folder: Path) -> None:
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "rag.jinja").write_text("R")
    (folder / "chat_template.jinja").write_text("J")
    assert load_tokenizer(folder).chat_template == {"default": "J", "rag": "R"}
    assert AutoTokenizer.from_pretrained(folder).chat_template == {"default": "J", "rag": "R"}


def test_no_tokenizer_at_all(folder: Path) -> None:
    with pytest.raises(ModelRefused, match=r"^The model has no tokenizer\.$"):
        load_tokenizer(drop_tokenizer(folder))


def test_a_librarys_reason_is_told_to_its_end(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelRefused, match=r"convert a slow tokenizer to a fast one\.\)\.$") as caught:
        load_tokenizer(folder)
    assert str(folder.parent) not in caught.value.message
