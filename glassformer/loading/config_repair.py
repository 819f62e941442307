"""What earlier releases of transformers wrote into a config.json and today's refuses, as today's would write it.

Pure functions over the JSON. What is not repaired here the library judges itself, and its sentence is told.
"""

from __future__ import annotations

from typing import Any

from transformers.models.auto.configuration_auto import CONFIG_MAPPING

# Numbers that follow from two others where a config leaves them out; a null means the same.
DERIVED = {
    "num_key_value_heads": lambda raw: raw["num_attention_heads"],
    "head_dim": lambda raw: raw["hidden_size"] // raw["num_attention_heads"],
}
# Earlier names of a rotary embedding's kind. The sections of Qwen2-VL's hold times and places of pictures: where a text
# is all there is, they are equal, and so are the embeddings.
ROPE_NAMES = {"su": "longrope", "mrope": "default"}
ROPE_KEYS = ("rope_scaling", "rope_parameters")


def repair_config(raw: dict[str, Any]) -> dict[str, Any]:
    """The config as today's library takes it; equal to `raw` where nothing is to be done."""
    kind = raw.get("model_type")
    config_class = CONFIG_MAPPING[kind] if isinstance(kind, str) and kind in CONFIG_MAPPING else None
    return repair_level(raw, config_class)


def repair_level(raw: dict[str, Any], config_class: Any) -> dict[str, Any]:
    parts = getattr(config_class, "sub_configs", None) or {}
    repaired = {
        key: repair_level(value, parts[key]) if key in parts and isinstance(value, dict) else value
        for key, value in raw.items()
    }
    if config_class is not None:
        repaired = drop_nulls(repaired, config_class)
    return name_rope(drop_padding(repaired))


def drop_nulls(raw: dict[str, Any], config_class: Any) -> dict[str, Any]:
    """Without the nulls that the family's config has no meaning for: as if the keys were not there.

    A null that its class takes stays, for it may say something: `sliding_window` of Mistral is off with it, and on
    without.
    """
    validators = getattr(config_class, "__validators__", {})
    kept = {}
    for key, value in raw.items():
        if value is not None or takes_null(validators.get(key)):
            kept[key] = value
        elif key in DERIVED:
            try:
                kept[key] = DERIVED[key](raw)
            except (KeyError, TypeError, ZeroDivisionError):
                continue  # the numbers themselves are missing, which the library says
    return kept


def takes_null(validators: Any) -> bool:
    """Whether a field may be null, by what huggingface_hub's strict dataclasses check on setting it."""
    if validators is None:
        return False
    try:
        for validate in validators:
            validate(None)
    except (TypeError, ValueError):
        return False
    return True


def drop_padding(raw: dict[str, Any]) -> dict[str, Any]:
    """Without a padding token that the embedding has no row for; nothing is padded here."""
    vocab, pad = raw.get("vocab_size"), raw.get("pad_token_id")
    if isinstance(vocab, int) and isinstance(pad, int) and not 0 <= pad < vocab:
        return {**raw, "pad_token_id": None}
    return raw


def name_rope(raw: dict[str, Any]) -> dict[str, Any]:
    """With the kinds of rotary embeddings under their present names."""
    found = dict(raw)
    for key in ROPE_KEYS:
        value = raw.get(key)
        if isinstance(value, dict):
            found[key] = {
                name: ROPE_NAMES.get(item, item)
                if name in ("type", "rope_type") and isinstance(item, str)
                else item
                for name, item in value.items()
            }
    return found
