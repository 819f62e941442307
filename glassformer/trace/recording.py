"""What is kept while a model runs: the residual stream entering each block and leaving the last one.

Memory: (blocks + 1) x positions x d_model in float32 (41 MB for 134M parameters at 1024 tokens), nothing quadratic.
A `Recording` watches forwards; live watchers get the newest rows of the sites they name in the same pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from glassformer.errors import BadValue
from glassformer.model.capture import Capture, first_tensor, split_address
from glassformer.model.structure import Structure
from glassformer.protocol.frames import encode_frame

# Positions a new buffer holds; it doubles from there, so a step copies nothing most of the time.
FIRST_CAPACITY = 64

Send = Callable[[bytes], None]


@dataclass(frozen=True, slots=True, eq=False)
class Subscription:
    """Live interest in some sites; `send` is called from the thread that runs the model."""

    addresses: tuple[str, ...]
    send: Send


class Recording:
    """The residuals of one sequence, Float[Tensor, "block_and_end pos d_model"], growing as the model runs."""

    def __init__(self, structure: Structure, trace_id: str) -> None:
        self._structure = structure
        self._trace_id = trace_id
        self._residuals: Tensor | None = None
        self._capture: Capture | None = None
        self._subscriptions: list[Subscription] = []
        self.positions = 0

    @property
    def nbytes(self) -> int:
        """Bytes of the residual buffer."""
        return 0 if self._residuals is None else self._residuals.nbytes

    def residual(self, block: int, stop: int | None = None) -> Tensor:
        """What block `block` read at positions up to `stop`, [pos, d_model]; `block` = number of blocks: the end."""
        if self._residuals is None:
            raise BadValue("Nothing has been recorded yet.", field="pos")
        return self._residuals[block, : self.positions if stop is None else stop]

    def clear(self) -> None:
        """Give the memory up; the recording can be made again from its token ids."""
        self._residuals = None

    @property
    def is_held(self) -> bool:
        """Whether the residuals are in memory."""
        return self._residuals is not None or self.positions == 0

    # --- watching ----------------------------------------------------------------------------------

    @contextmanager
    def watch(self, start: int, stop: int) -> Iterator[None]:
        """Record the forward run inside, which computes positions `start` to `stop`."""
        subscriptions = list(self._subscriptions)
        wanted = {
            address
            for s in subscriptions
            for address in s.addresses
            if split_address(address)[0] != "lm_head"
        }
        self._capture = Capture(self._structure, wanted) if wanted else None
        with ExitStack() as stack:
            self._hook_residuals(stack, start, stop)
            if self._capture is not None:
                stack.enter_context(self._capture.open())
            yield
        self.positions = max(self.positions, stop)

    def logits(self, start: int, logits: Tensor) -> None:
        """Take the logits of the watched forward, [pos, vocab], and send the frame to live watchers."""
        capture, self._capture = self._capture, None
        for subscription in list(self._subscriptions):
            rows: dict[str, np.ndarray[Any, Any]] = {}
            for address in subscription.addresses:
                value = logits if address == "lm_head" else self._live_rows(capture, address, logits.shape[0])
                if value is not None:
                    rows[address] = to_numpy(value)
            subscription.send(encode_frame(self._trace_id, start, start + logits.shape[0], rows))

    def subscribe(self, addresses: list[str], send: Send) -> Callable[[], None]:
        """Send the newest rows of `addresses` after each forward; returns the function that ends it."""
        subscription = Subscription(tuple(dict.fromkeys(addresses)), send)
        self._subscriptions.append(subscription)

        def unsubscribe() -> None:
            if subscription in self._subscriptions:
                self._subscriptions.remove(subscription)

        return unsubscribe

    def _live_rows(self, capture: Capture | None, address: str, count: int) -> Tensor | None:
        if capture is None:
            return None
        point, block = split_address(address)
        if point in ("attn_scores", "attn_probs") and block is not None:
            call = capture.calls.get(block)
            if call is None:
                return None
            return call.scores() if point == "attn_scores" else call.probabilities()
        return capture.values.get(address)

    def _hook_residuals(self, stack: ExitStack, start: int, stop: int) -> None:
        def take_input(block: int, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self._store(block, start, stop, args[0] if args else first_tensor(kwargs))

        def take_output(_: Any, args: tuple[Any, ...], output: Any) -> None:
            self._store(len(blocks), start, stop, output[0] if isinstance(output, (tuple, list)) else output)

        blocks = self._structure.blocks
        for index, block in enumerate(blocks):
            handle = block.register_forward_pre_hook(partial(take_input, index), with_kwargs=True)
            stack.callback(handle.remove)
        stack.callback(blocks[-1].register_forward_hook(take_output).remove)

    def _store(self, block: int, start: int, stop: int, hidden: Tensor) -> None:
        rows = hidden.detach()[0, -(stop - start) :]
        self._ensure(stop, rows)
        assert self._residuals is not None
        self._residuals[block, start:stop] = rows

    def _ensure(self, positions: int, rows: Tensor) -> None:
        held = self._residuals
        if held is not None and held.shape[1] >= positions:
            return
        capacity = max(FIRST_CAPACITY, positions, 0 if held is None else 2 * held.shape[1])
        # Residuals leave the accelerator: its memory is for the model.
        grown = torch.empty(len(self._structure.blocks) + 1, capacity, rows.shape[-1], dtype=torch.float32)
        if held is not None:
            grown[:, : held.shape[1]] = held
        self._residuals = grown


def to_numpy(tensor: Tensor) -> np.ndarray[Any, Any]:
    """A tensor as float32 on the host."""
    return tensor.detach().to("cpu", torch.float32).numpy()
