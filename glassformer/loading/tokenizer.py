"""A model's tokenizer from its folder, as transformers reads it."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from glassformer import fault
from glassformer.errors import ModelRefused
from glassformer.files.safety import read_json_object

log = logging.getLogger(__name__)

# Where processors of pictures and text kept the chat template before there was a file of its own for it.
PROCESSOR_TEMPLATE = "chat_template.json"
# What reads a tokenizer that lies in one such file alone: libraries, and how they are installed.
READERS = {
    "*.model": (("sentencepiece", "google.protobuf"), "'glassformer[sentencepiece]'"),
    "*.tiktoken": (("tiktoken",), "tiktoken"),
}


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in `folder`. Raises ModelRefused where there is none."""
    kinds: list[Any] = [AutoTokenizer]
    if (folder / "tokenizer.json").is_file():
        kinds.append(PreTrainedTokenizerFast)  # for a class of tokenizer that only the model's own code knows
    faults: list[Exception] = []
    for kind in kinds:
        try:
            tokenizer = kind.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        except Exception as exc:
            log.info("tokenizer refused", exc_info=exc)
            faults.append(exc)
            continue
        if isinstance(tokenizer, PreTrainedTokenizerBase) and len(tokenizer) > 0:
            add_template(tokenizer, folder)
            return tokenizer
    refuse_without_reader(folder)
    if not any(folder.glob("*token*")) and not (folder / "vocab.json").is_file():
        raise ModelRefused("The model has no tokenizer.")
    reason = f" ({fault.describe(faults[0], folder=folder)})" if faults else ""
    raise ModelRefused(f"The model has no tokenizer that can be read{reason}.") from next(iter(faults), None)


def add_template(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Give a tokenizer without a chat template the one that a processor of pictures and text would have."""
    if tokenizer.chat_template is None and (folder / PROCESSOR_TEMPLATE).is_file():
        found = read_json_object(folder / PROCESSOR_TEMPLATE, PROCESSOR_TEMPLATE).get("chat_template")
        if isinstance(found, str):
            tokenizer.chat_template = found


def refuse_without_reader(folder: Path) -> None:
    """Raise ModelRefused where a tokenizer cannot be read for want of a library, which transformers does not name."""
    if (folder / "tokenizer.json").is_file():
        return
    for pattern, (modules, package) in READERS.items():
        file = next(folder.glob(pattern), None)
        missing = [name for name in modules if not is_installed(name)]
        if file is not None and missing:
            names = " and ".join(name.rpartition(".")[2] for name in modules)
            raise ModelRefused(
                f"The model's tokenizer is in {file.name} alone, which {names} can read; "
                f"install that with: pip install {package}."
            )


def is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # of the package that it is in
        return False
