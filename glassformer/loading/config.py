"""A model's config as transformers reads it, without its weights."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from transformers import AutoConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from glassformer import fault
from glassformer.errors import GlassformerError, ModelFailed, ModelRefused
from glassformer.files.kind import is_known
from glassformer.files.safety import check_config, refuse_own_code
from glassformer.loading.config_repair import repair_config
from glassformer.loading.field import first_number
from glassformer.loading.gguf.config import open_header, read_gguf_config

# Names under which configs give the longest sequence the model was made for.
CONTEXT_KEYS = (
    "max_position_embeddings",
    "n_positions",
    "n_ctx",
    "max_seq_len",
    "max_sequence_length",
    "seq_length",
)
# For models that state no limit (state-space models, ALiBi): bounds memory, not quality.
FALLBACK_CONTEXT = 32_768
# While a check of the library is off.
CHECKS = threading.Lock()


def read_config(path: Path) -> Any:
    """The transformers config in `path`, or of the one file that is a model. Raises ModelRefused or ModelFailed."""
    if path.suffix != ".json":
        return read_gguf_config(open_header(path))
    raw = check_config(path)
    place = path.parent if path.name == "config.json" else path
    if raw.get("auto_map") and not is_known(raw["model_type"]):
        refuse_own_code("config.json")
    try:
        config = parse_config(place, raw)
        refuse_unknown_rope(config)
    except GlassformerError:
        raise
    except Exception as exc:
        raise ModelFailed(
            f"The config of model type {str(raw['model_type'])[:60]!r} cannot be read: "
            f"{fault.describe(exc, folder=path.parent)}"
        ) from exc
    # The built-in class reads the model; nothing is to look for another one.
    vars(config).pop("auto_map", None)
    return config


def parse_config(place: Path, raw: dict[str, Any]) -> Any:
    """The library's config of `raw`, which lies in `place`, as its present release would have written it."""
    repaired = repair_config(raw)
    with ExitStack() as stack:
        stack.enter_context(without_needless_check(repaired))
        if repaired != raw:
            # The library picks the class by more than the model type, but only for what it reads itself.
            place = Path(stack.enter_context(TemporaryDirectory()))
            (place / "config.json").write_text(json.dumps(repaired), encoding="utf-8")
        return AutoConfig.from_pretrained(place, trust_remote_code=False, local_files_only=True)


@contextmanager
def without_needless_check(raw: dict[str, Any]) -> Iterator[None]:
    """Let a width be no multiple of the heads where the heads' own width is stated, as transformers 4 did.

    The rule of transformers 5 is for models whose heads divide the width among them; others (pruned ones) have maps to
    heads x head_dim. Whether the weights have these shapes is seen when they are read.
    """
    width, heads, d_head = (raw.get(key) for key in ("hidden_size", "num_attention_heads", "head_dim"))
    is_stated = all(isinstance(value, int) and value > 0 for value in (width, heads, d_head))
    if (
        not is_stated
        or raw["hidden_size"] % raw["num_attention_heads"] == 0
        or not is_known(raw["model_type"])
    ):
        yield
        return
    config_class: Any = CONFIG_MAPPING[raw["model_type"]]
    with CHECKS:
        checks = config_class.__class_validators__
        config_class.__class_validators__ = [c for c in checks if c.__name__ != "validate_architecture"]
        try:
            yield
        finally:
            config_class.__class_validators__ = checks


def refuse_unknown_rope(config: Any) -> None:
    """Raise ModelRefused for a kind of rotary embedding that the library has no formula for."""
    found = getattr(config.get_text_config(), "rope_parameters", None)
    levels = [found, *found.values()] if isinstance(found, dict) else []
    for level in levels:
        kind = level.get("rope_type") if isinstance(level, dict) else None
        if kind is not None and kind != "default" and kind not in ROPE_INIT_FUNCTIONS:
            raise ModelRefused(
                f"The model's rotary embedding is of the kind {str(kind)[:40]!r} (rope_type), and transformers knows "
                f"{', '.join(sorted(ROPE_INIT_FUNCTIONS))}."
            )


def find_context(config: Any) -> int:
    """The longest sequence the model was made for, in tokens."""
    text_config = config.get_text_config()
    return first_number(text_config, CONTEXT_KEYS) or FALLBACK_CONTEXT
