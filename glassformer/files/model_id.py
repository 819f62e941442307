"""What may be the id of a model, by its letters alone."""

from __future__ import annotations

import re

from glassformer.errors import BadValue

# Hub ids have at most 2 x 96 characters; folders may lie deeper. Longer ids are never honest.
LONGEST_ID = 512
HUB_ID = re.compile(
    r"(?P<repo>[A-Za-z0-9_][\w.-]{0,95}(/[A-Za-z0-9_][\w.-]{0,95})?)(@(?P<revision>[A-Za-z0-9_][\w./-]{0,99}))?",
    re.ASCII,
)


def check_model_id(model_id: str) -> None:
    """Raise BadValue where `model_id` cannot be an honest id: too long, control characters, `..`, a scheme."""
    if not model_id or len(model_id) > LONGEST_ID:
        raise BadValue(f"model_id has 1 to {LONGEST_ID} characters.", field="model_id")
    if not model_id.isprintable():
        raise BadValue("model_id holds characters that cannot be printed.", field="model_id")
    if "\\" in model_id or ".." in model_id.split("/") or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", model_id):
        raise BadValue(
            "model_id is a bundled model's name, a folder under a model directory, or a hub id.",
            field="model_id",
        )


def is_model_id(model_id: str) -> bool:
    """Whether a folder's name can be asked for."""
    try:
        check_model_id(model_id)
    except BadValue:
        return False
    return True
