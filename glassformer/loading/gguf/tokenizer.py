"""The tokenizer of a GGUF file, as transformers builds it from the file's vocabulary, with its chat template."""

from __future__ import annotations

import logging
from typing import Any

from tokenizers import pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers.integrations.gguf.gguf_tokenizer_mapping import (
    GGUF_PRE_TOKENIZER_SPLITS,
    GGUF_TOKENIZER_MAPPING,
    convert_gguf_tokenizer,
)

from glassformer import fault
from glassformer.errors import ModelRefused
from glassformer.files.gguf import GgufHeader

log = logging.getLogger(__name__)

LISTS = ("ggml.tokens", "ggml.merges", "ggml.scores", "ggml.token_type")
SPECIAL = {
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "unk_token": "unknown_token_id",
    "pad_token": "padding_token_id",
}

# Ways of cutting text before merging, by ggml's name of them, that are GPT-2's: the library's own where it knows none.
AS_GPT2 = frozenset({"gpt-2", "gpt2", "phi-2", "jais", "mpt", "olmo", "roberta-bpe", "exaone4", "trillion"})
# Those that are GPT-2's with each digit by itself (llama.cpp: the expressions `\p{N}`, then GPT-2's).
DIGIT_BY_DIGIT = frozenset(
    {"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"}
)


class GgufTokenizer(PreTrainedTokenizerFast):
    """A tokenizer around what was built; the library's own class would copy that, which takes as long as building."""

    def __init__(self, backend: Any, **options: Any) -> None:
        self._tokenizer = backend
        super().__init__(**options)


def read_gguf_tokenizer(header: GgufHeader) -> PreTrainedTokenizerBase:
    """The tokenizer of a file. Raises ModelRefused where it has none that can be read."""
    if not header.lengths.get("tokenizer.ggml.tokens"):
        raise ModelRefused("The GGUF has no tokenizer.")
    try:
        lists, options = gather(header)
        backend, _ = convert_gguf_tokenizer(header.architecture, lists)
        if header.metadata.get("tokenizer.ggml.pre") in DIGIT_BY_DIGIT:
            backend.pre_tokenizer = pre_tokenizers.Sequence(
                [
                    pre_tokenizers.Digits(individual_digits=True),
                    pre_tokenizers.ByteLevel(add_prefix_space=False),
                ]
            )
        return GgufTokenizer(backend, **options)
    except Exception as exc:
        log.info("tokenizer refused", exc_info=exc)
        reason = fault.describe(exc, folder=header.files[0].parent, most=300)
        raise ModelRefused(f"The GGUF has no tokenizer that can be read ({reason}).") from exc


def gather(header: GgufHeader) -> tuple[dict[str, Any], dict[str, Any]]:
    """What transformers' `get_gguf_tokenizer` gives, by its names; that reads lists a hundred times slower."""
    values = header.metadata | {f"tokenizer.{key}": header.read_list(f"tokenizer.{key}") for key in LISTS}
    lists, options = (
        {
            name: values[f"tokenizer.{key}"]
            for key, name in GGUF_TOKENIZER_MAPPING[group].items()
            if values.get(f"tokenizer.{key}") is not None
        }
        for group in ("tokenizer", "tokenizer_config")
    )
    if lists.get("tokenizer_type") == "llama":
        # llama.cpp begins a text of such a vocabulary unless it is told not to.
        options.setdefault("add_bos_token", True)
    elif lists.get("tokenizer_type") == "gemma4":
        # Its chat template writes the beginning itself.
        options["add_bos_token"] = False
    tokens = lists["tokens"]
    for name, key in SPECIAL.items():
        id_ = header.metadata.get(f"tokenizer.ggml.{key}")
        options[name] = tokens[id_] if isinstance(id_, int) and 0 <= id_ < len(tokens) else None
    return lists, options


def describe_cutting(header: GgufHeader) -> str:
    """What to say where a file names a way to cut text that is not known here; mostly nothing."""
    name = header.metadata.get("tokenizer.ggml.pre")
    known = AS_GPT2 | DIGIT_BY_DIGIT | GGUF_PRE_TOKENIZER_SPLITS.keys() | {"default"}
    if header.metadata.get("tokenizer.ggml.model") != "gpt2" or name is None or name in known:
        return ""
    return f"The file cuts text in a way that is not known here ({str(name)[:40]!r}): some words may be other tokens."
