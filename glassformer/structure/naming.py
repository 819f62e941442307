"""What families call their modules, where interp-engine does not know it yet; and what it says, in plain words.

A name decides nothing by itself: what is found by it is shown only where its equations hold.
"""

from __future__ import annotations

from interp_engine import facts

NAMES: dict[str, tuple[str, ...]] = {
    "TRUNK_CONTAINER_ATTRS": ("rwkv", "biogpt", "gpt_neox_japanese"),
    "FINAL_NORM_ATTRS": ("final_norm", "out_norm", "ln_out", "layer_norm"),
    # At the root only: deeper, these names mean other things.
    "LM_HEAD_ROOT_ONLY_ATTRS": ("head", "output_projection", "proj_out"),
}
# Of interp-engine's messages, by a word of each.
PLAIN = {
    "trunk": "its blocks do not lie where those of other families do, and where is not known here",
    "embedding": "its table of token vectors was not found under any name known here",
    "final norm": "no norm was found after its last block",
    "lm_head": "its output head was not found under any name known here",
}


def teach_names() -> None:
    """Let interp-engine look for these names too, after its own. Harmless when done twice."""
    for table, names in NAMES.items():
        known: tuple[str, ...] = getattr(facts, table)
        setattr(facts, table, (*known, *(name for name in names if name not in known)))


def say_plainly(exc: Exception) -> str:
    """Why a model's parts were not found, a clause without its full stop."""
    message = str(exc).strip().rstrip(".")
    if "Could not locate" not in message:
        return message
    return next((plain for word, plain in PLAIN.items() if word in message), message)
