"""A model's config as transformers reads it, without its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoConfig

from glassformer import fault
from glassformer.errors import ModelFailed
from glassformer.files.kind import is_known
from glassformer.files.safety import check_config, refuse_own_code
from glassformer.loading.field import first_number

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


def read_config(path: Path) -> Any:
    """The transformers config in `path`, without weights. Raises ModelRefused or ModelFailed."""
    raw = check_config(path)
    if raw.get("auto_map") and not is_known(raw["model_type"]):
        refuse_own_code("config.json")
    try:
        config = AutoConfig.from_pretrained(path.parent, trust_remote_code=False, local_files_only=True)
    except Exception as exc:
        raise ModelFailed(
            f"The config of model type {str(raw['model_type'])[:60]!r} cannot be read: "
            f"{fault.describe(exc, folder=path.parent)}"
        ) from exc
    # The built-in class reads the model; nothing is to look for another one.
    vars(config).pop("auto_map", None)
    return config


def find_context(config: Any) -> int:
    """The longest sequence the model was made for, in tokens."""
    text_config = config.get_text_config()
    return first_number(text_config, CONTEXT_KEYS) or FALLBACK_CONTEXT
