"""What is read of a model before it is let in, part by part. Runs where it may be ended at any moment.

Whatever loading would read but the weights is read here the same way: config, headers, the modules without numbers,
tokenizer and chat template, the last two tried on a text. What passes may still be refused by loading.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from glassformer.conversation.bounded import compile_template, render_bounded
from glassformer.errors import ModelRefused
from glassformer.files.kind import refuse_unless_causal
from glassformer.files.size import format_bytes
from glassformer.loading.config import read_config
from glassformer.loading.form.form import Form
from glassformer.loading.form.recognise import open_form
from glassformer.loading.plan import count_skeleton_bytes
from glassformer.loading.tokenizer import load_tokenizer

OnPart = Callable[[str], None]
"""Hears, before a part of the model is read, what it is called."""

# Words, digits, runs that patterns stumble over, several scripts, and what only bytes can spell.
PROBE = (
    "The glass (3.14 kg) isn't empty!\n\t" + "a" * 256 + "! " + " " * 256 + "7" * 256 + " Ünï 水晶 🙂 </s>\n"
)
# Tokens of each byte of a text, and characters of each token: several times what the wordiest have.
MOST_TOKENS_A_BYTE = 4
MOST_CHARACTERS_A_TOKEN = 512
# What a config may ask for beyond what the files hold: transformers would fill it with random numbers first.
MOST_MISSING_BYTES = 2 * 2**30
MESSAGES = [
    {"role": "user", "content": "Who has the ball?"},
    {"role": "assistant", "content": "Mia."},
    {"role": "user", "content": "And now?"},
]


def look_at_config(place: Path, on_part: OnPart) -> None:
    """A config alone, or the header of a GGUF. Raises ModelRefused or ModelFailed."""
    on_part("config")
    read_config(place)


def look_at_model(place: Path, root: Path | None, on_part: OnPart) -> None:
    """A whole model. Raises ModelRefused or ModelFailed."""
    on_part("config")
    form = open_form(place, root)
    config = form.read_config()
    refuse_unless_causal(config)
    refuse_negative(config)
    on_part("list of weights")
    stored = form.list_tensors()
    on_part("config")
    refuse_hollow(config, sum(tensor.numbers for tensor in stored))
    try_tokenizer(form, on_part)


def look_at_adapter(place: Path, on_part: OnPart) -> None:
    """The tokenizer that an adapter may bring; the rest of it is plain numbers. One that it lacks is no fault."""
    on_part("tokenizer")
    if (place / "tokenizer.json").is_file():
        try_encoding(load_tokenizer(place))


def refuse_negative(config: Any) -> None:
    """Raise ModelRefused for a model of fewer blocks than none; what is drawn of one without weights has none."""
    count = getattr(config.get_text_config(), "num_hidden_layers", 0)
    if isinstance(count, int) and count < 0:
        raise ModelRefused(
            f"num_hidden_layers is {count}, and no model has fewer than none.", field="num_hidden_layers"
        )


def refuse_hollow(config: Any, numbers: int) -> None:
    """Raise ModelRefused for a config of far more numbers than the files hold, however they are packed."""
    needed_bytes, held_bytes = count_skeleton_bytes(config, "auto"), 4 * numbers
    if needed_bytes > MOST_MISSING_BYTES + 16 * held_bytes:
        raise ModelRefused(
            f"The weights do not fit the config: a model like that takes {format_bytes(needed_bytes)}, and the files "
            f"hold {numbers:,} numbers."
        )


def try_tokenizer(form: Form, on_part: OnPart) -> None:
    on_part("tokenizer")
    tokenizer = form.read_tokenizer()
    try_encoding(tokenizer)
    on_part("chat template")
    source = tokenizer.chat_template
    for text in source.values() if isinstance(source, dict) else [source]:
        if isinstance(text, str):
            try_template(text, tokenizer.special_tokens_map)


def try_encoding(tokenizer: Any) -> None:
    """Raise ModelRefused for a tokenizer that makes far more of a text than there is in it, or fails on it."""
    try:
        ids = tokenizer(PROBE, add_special_tokens=False)["input_ids"]
        text = tokenizer.decode(ids)
    except BaseException as exc:  # of its native part as well
        raise ModelRefused(f"The model's tokenizer fails on a plain text ({type(exc).__name__}).") from exc
    count = len(PROBE.encode())
    if len(ids) > MOST_TOKENS_A_BYTE * count or len(text) > MOST_CHARACTERS_A_TOKEN * max(1, len(ids)):
        raise ModelRefused(
            f"The model's tokenizer makes {len(ids):,} tokens and {len(text):,} characters out of a text of {count:,} "
            "bytes."
        )


def try_template(source: str, special_tokens: dict[str, Any]) -> None:
    """Write a plain conversation out. What the template refuses or fails on is told to whoever sends a conversation."""
    values = {**special_tokens, "messages": MESSAGES, "tools": None, "documents": None}
    try:
        render_bounded(compile_template(source), {**values, "add_generation_prompt": True})
    except MemoryError:
        raise
    except Exception:
        return
