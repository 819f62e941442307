"""What is done to a model that has just been read: looking into it, and finding its quickest steps."""

from __future__ import annotations

import logging
from collections.abc import Callable

from glassformer.model.anatomy import build_anatomy
from glassformer.model.attention import install
from glassformer.model.compiled import install_compiled
from glassformer.model.computing import computing
from glassformer.model.linear import install_products, remove_products
from glassformer.model.load import LoadedModel
from glassformer.model.selfcheck import keep_true_attention, make_check_prompt

log = logging.getLogger(__name__)


def look_into(loaded: LoadedModel, on_fraction: Callable[[float], None] | None = None) -> None:
    """Select the attention tap and describe the model. One that this fails for still writes, without an anatomy.

    `on_fraction` hears the share of blocks whose equations have been checked.
    """
    try:
        install(loaded.model)
        loaded.anatomy = build_anatomy(loaded, on_fraction)
    except Exception:
        log.exception("looking into %s failed", loaded.model_id)
    if loaded.anatomy is None or loaded.anatomy.refused is not None:
        try:
            # Nothing has compared what it says through the tap with what it says without.
            with loaded.lock:
                prompt = make_check_prompt(loaded.vocab, loaded.context, loaded.device)
                keep_true_attention(loaded.model, prompt)
        except Exception:
            log.exception("comparing attention of %s failed", loaded.model_id)


def quicken_steps(loaded: LoadedModel, *, spare_bytes: int, compiles_blocks: bool) -> None:
    """Find the quickest way to multiply, with copies of weights that take up to `spare_bytes` (0: none).

    Compiles the blocks as well, where that is asked for. What was copied is added to the model's bytes. A model that
    this fails for, or whose generations take turns, keeps its own code.
    """
    taken = 0
    try:
        with computing(1, "products"):
            ways, taken = install_products(loaded.model, spare_bytes=spare_bytes)
        log.debug("linear layers of %s by rows: %s", loaded.model_id, ways)
    except Exception:
        log.exception("quickening %s failed", loaded.model_id)
        remove_products(loaded.model)
    if loaded.packing_fault is not None:
        log.info("generations of %s take turns: %s", loaded.model_id, loaded.packing_fault)
        remove_products(loaded.model)
        return
    loaded.bytes += taken
    if compiles_blocks and loaded.anatomy is not None:
        fault, taken = install_compiled(
            loaded.model,
            loaded.structure.blocks,
            vocab=loaded.vocab,
            context=loaded.context,
            spare_bytes=spare_bytes - taken,
        )
        loaded.bytes += taken
        if fault is not None:
            log.info("blocks of %s stay as they are: %s", loaded.model_id, fault)
