"""What a model's own forward hands each of its blocks beside the stream, so that they can be run by themselves.

Masks, rotary tables and positions are made by the model; its blocks are passed over meanwhile. A block run so gives
what it gives in a forward, for the price of that block.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor

from glassformer.capture.rerun import leaving_after, leaving_early, passing_over
from glassformer.compute.generate import make_whole_arguments
from glassformer.compute.hooking import hook_input
from glassformer.structure.residual import first_tensor
from glassformer.structure.structure import Structure


class Frame:
    """One forward of `token_ids` [pos] as its blocks see it; `extra` is given to the model.

    What surrounds the forward, such as a packed row, must surround `run` as well. Holds no stream.
    """

    @torch.inference_mode()
    def __init__(self, structure: Structure, token_ids: Tensor, **extra: Any) -> None:
        self._structure = structure
        self._given: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        self._dtypes: list[torch.dtype] = []
        blocks = structure.blocks
        arguments = {**make_whole_arguments(structure.model, token_ids), **extra}
        with structure.lock.running(len(token_ids), "frame", is_step=False), ExitStack() as stack:
            stack.enter_context(passing_over(structure, blocks))
            for block in blocks:
                stack.callback(hook_input(block, self._take).remove)
            stack.enter_context(leaving_after(blocks[-1]))
            with leaving_early():
                structure.model(**arguments)

    def _take(self, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        stream = args[0] if args else first_tensor(kwargs)
        self._dtypes.append(stream.dtype)
        name = next((name for name, value in kwargs.items() if value is stream), None)
        self._given.append((args[1:], {key: value for key, value in kwargs.items() if key != name}))
        if not args and name != "hidden_states":
            raise ValueError(f"a block is handed the stream as {name}")

    def dtype(self, block: int) -> torch.dtype:
        """The format in which a block is handed the stream."""
        return self._structure.stream_format(block) or self._dtypes[block]

    def given(self, block: int, name: str) -> Any:
        """What a block is handed by that name, None where nothing."""
        return self._given[block][1].get(name)

    def run(self, block: int, stream: Tensor, **changed: Any) -> Tensor:
        """What a block makes of `stream` [row, d_model], in its own format.

        `changed` stands in for what it is handed by those names. The caller holds the lock, as `lock.running`.
        """
        args, kwargs = self._given[block]
        found = self._structure.blocks[block](
            stream[None].to(self.dtype(block)), *args, **{**kwargs, **changed}
        )
        hidden: Tensor = found[0] if isinstance(found, (tuple, list)) else found
        return hidden[0]
