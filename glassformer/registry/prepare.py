"""What is done to a model that has just been read: looking into it, and finding its quickest steps.

Neither is waited for by whoever wants text: both can follow while it is served (`Aftercare`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import torch

from glassformer.anatomy.checkup import build_anatomy
from glassformer.compute.compiled import install_compiled
from glassformer.compute.linear import install_products, remove_products
from glassformer.compute.overflow import advise
from glassformer.errors import ModelFailed
from glassformer.loading.loaded import LoadedModel

log = logging.getLogger(__name__)

# How long a model that has just been loaded is left to whoever asked for it.
FIRST_USE_SECS = 0.5


def try_writing(loaded: LoadedModel) -> None:
    """Compute steps as they will be served, for a way of loading that may not work.

    Raises ModelFailed for a model that cannot compute one, or whose logits are no numbers.
    """
    ids = torch.zeros(1, 2, dtype=torch.long, device=loaded.device)
    try:
        with loaded.lock.running(ids.numel(), "probes"), torch.inference_mode():
            logits = loaded.model(input_ids=ids, use_cache=False).logits
    except Exception as exc:
        log.warning("a step of %s fails", loaded.model_id, exc_info=exc)
        raise ModelFailed(f"The model cannot compute a step ({type(exc).__name__}).") from exc
    if bool(logits.isnan().any()):
        raise ModelFailed(f"The model's logits are not numbers: {advise(logits.dtype)}.")
    if loaded.packing_fault is not None:
        log.info("generations of %s take turns: %s", loaded.model_id, loaded.packing_fault)


def look_into(loaded: LoadedModel, on_fraction: Callable[[float], None] | None = None) -> None:
    """Select the attention tap, check the model whole and describe it. One that this fails for still writes.

    `on_fraction` hears the share of blocks whose equations have been checked.
    """
    try:
        loaded.anatomy = build_anatomy(loaded, on_fraction)
    except Exception:
        log.exception("looking into %s failed", loaded.model_id)


def quicken_steps(
    loaded: LoadedModel,
    *,
    spare_bytes: int,
    compiles_blocks: bool = False,
    pause: Callable[[], None] = lambda: None,
) -> None:
    """Find the quickest way to multiply, with copies of weights that take up to `spare_bytes` (0: none).

    Compiles the blocks as well, where that is asked for; nobody may use the model meanwhile then. What was copied is
    added to the model's bytes. A model that this fails for, or whose generations take turns, keeps its own code.
    `pause` is called now and then, and may raise Stopped.
    """
    if loaded.packing_fault is not None:
        log.info("generations of %s take turns: %s", loaded.model_id, loaded.packing_fault)
        return
    taken = 0
    try:
        ways, taken = install_products(loaded.model, spare_bytes=spare_bytes, pause=pause)
        log.debug("linear layers of %s by rows: %s", loaded.model_id, ways)
    except Stopped:
        raise
    except Exception:
        log.exception("quickening %s failed", loaded.model_id)
        remove_products(loaded.model)
    loaded.bytes += taken
    if compiles_blocks and loaded.read_anatomy() is not None:
        with loaded.lock:
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


class Stopped(Exception):
    """Nobody needs what was being done any more."""


class Aftercare:
    """What follows once a model is served, in a thread of its own, while nobody else wants the model.

    First whether its generations can share forwards, then its checks, a part at a time, then `quicken`, where there is
    any; that is given a function to call between pieces of its work.
    """

    def __init__(self, loaded: LoadedModel, quicken: Callable[[Callable[[], None]], None] | None) -> None:
        self._stop = threading.Event()
        name = f"after loading {loaded.model_id}"
        # A daemon: a server that is told to stop does not wait for it.
        self._thread = threading.Thread(target=self._run, args=(loaded, quicken), name=name, daemon=True)
        self._thread.start()

    def leave(self) -> None:
        """End it within one piece of work; returns at once."""
        self._stop.set()

    def stop(self) -> None:
        """`leave`, and wait for that: nothing of the model is held by it afterwards."""
        self.leave()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def wait(self, timeout_secs: float | None = None) -> None:
        """Wait until all is done, or so long."""
        self._thread.join(timeout_secs)

    def _run(self, loaded: LoadedModel, quicken: Callable[[Callable[[], None]], None] | None) -> None:
        def pause() -> None:
            self._when_quiet(loaded, lambda: None)

        try:
            # Whoever asked for the model is about to use it.
            self._stop.wait(FIRST_USE_SECS)
            checkup = loaded.checkup
            if checkup is not None:
                self._when_quiet(loaded, checkup.prepare)
                self._when_quiet(loaded, checkup.survey)
                self._when_quiet(loaded, lambda: loaded.packing_fault)
                while self._when_quiet(loaded, checkup.check_next):
                    pass
            if quicken is not None:
                quicken(pause)
        except Stopped:
            log.debug("%s is no longer looked after", loaded.model_id)
        except Exception:
            # The model serves all the same, and whoever looks at a part of it has that checked.
            log.exception("what follows loading %s failed", loaded.model_id)

    def _when_quiet(self, loaded: LoadedModel, work: Callable[[], object]) -> object:
        with loaded.lock.when_quiet(self._stop) as may:
            if not may:
                raise Stopped
            return work()
