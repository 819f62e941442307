"""What transformers' `generate()` hands to a model, for those who run its forwards themselves."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.generation.configuration_utils import GenerationMode


def make_first_arguments(model: Any, input_ids: Tensor) -> dict[str, Any]:
    """The arguments of a first forward of `input_ids` [1, pos], made by the parts of `generate()` that make them there.

    Positions above all: without them a model guesses from its cache, and one that begins with a block that keeps no
    keys (Bamba, MiniMax) takes every token that it writes for the first.
    """
    arguments: dict[str, Any] = {"attention_mask": torch.ones_like(input_ids)}
    if takes_positions(type(model).forward):
        arguments["position_ids"] = model._prepare_position_ids_for_generation(input_ids, arguments)
    model._prepare_cache_for_generation(
        GenerationConfig(), arguments, GenerationMode.GREEDY_SEARCH, *input_ids.shape
    )
    arguments["use_cache"] = True
    return arguments


def make_whole_arguments(model: Any, token_ids: Tensor) -> dict[str, Any]:
    """The arguments of a whole forward of `token_ids` [pos] without a cache, at the positions of `generate()`."""
    arguments: dict[str, Any] = {"input_ids": token_ids[None], "use_cache": False}
    if takes_positions(type(model).forward):
        arguments["position_ids"] = torch.arange(len(token_ids), device=token_ids.device)[None]
    return arguments


def find_eos_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The ids that end a generation: what `generate()` uses, else the tokenizer's own."""
    generation_config = getattr(model, "generation_config", None)
    eos = getattr(generation_config, "eos_token_id", None)
    if eos is None:
        eos = tokenizer.eos_token_id
    if eos is None:
        return frozenset()
    return frozenset(eos) if isinstance(eos, list | tuple | set) else frozenset({int(eos)})


@cache
def takes_positions(forward: Callable[..., Any]) -> bool:
    """Whether a model's forward can be told the positions of its tokens."""
    return "position_ids" in inspect.signature(forward).parameters


class ModuleState:
    """What a model keeps on its own modules between the forwards of one text (RecurrentGemma does).

    Lent to them for each forward and taken away afterwards, so that texts can take turns and nobody else's forward
    meets it.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._held: dict[tuple[nn.Module, str], Tensor | None] | None = None

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Around one forward; the modules are as they were when it is over."""
        if self._held is None:
            before = read_state(self._model)
        else:
            before = {(module, name): getattr(module, name) for module, name in self._held}
            for (module, name), value in self._held.items():
                setattr(module, name, value)
        try:
            yield
        finally:
            after = {(module, name): getattr(module, name) for module, name in before}
            self._held = {
                place: value
                for place, value in after.items()
                if value is not before[place] or (self._held is not None and place in self._held)
            }
            for module, name in self._held:
                setattr(module, name, before[module, name])


def read_state(model: nn.Module) -> dict[tuple[nn.Module, str], Tensor | None]:
    """What stands on the modules of a model beside its parameters and buffers and is a tensor, or could become one."""
    return {
        (module, name): value
        for module in model.modules()
        for name, value in vars(module).items()
        if (value is None or isinstance(value, Tensor)) and not name.startswith("_")
    }
