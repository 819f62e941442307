"""A model built on torch's `meta` device from its config: every module and every size, no weights, nothing random.

`Sketching` is entered around whatever computes with it: shapes are worked out by PyTorch itself, and what a forward
asks of a value (is all of this mask set?) is answered as for an ordinary text. It also keeps the time: of the building,
and of each forward that is tried after it. What has taken longer than `MOST_SECS` is refused at its next operation of
torch. A shape may so take a few times as long; what a family's own code does between two operations is bounded by the
sizes alone that `files/bound.py` lets through.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING

from glassformer import fault
from glassformer.errors import GlassformerError, ModelRefused, Unavailable
from glassformer.files.bound import check_numbers, check_size
from glassformer.files.kind import name_class, refuse_unless_causal
from glassformer.loading.config import find_context, read_config
from glassformer.loading.reading import BUILDING
from glassformer.loading.tower import make_skeleton

log = logging.getLogger(__name__)

# For the building, and again for each forward: the largest bundled shapes take a second in all on a slow core.
MOST_SECS = 15.0
# How long to wait where weights are being read, which must not be disturbed.
PATIENCE_SECS = 30.0


# What is said where a forward asks for a value and there are none: not padded, not packed, one of each.
ANSWERS: dict[str, bool | int] = {
    "__bool__": True,
    "__contains__": False,
    "item": 1,
    "__int__": 1,
    "__index__": 1,
}


class Sketching(TorchFunctionMode):
    """Around what computes with sizes alone; raises ModelRefused once it has taken too long."""

    def __init__(self) -> None:
        super().__init__()
        self._until_secs = time.monotonic() + MOST_SECS

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if time.monotonic() > self._until_secs:
            raise ModelRefused(f"Laying out a model of this config takes longer than {MOST_SECS:.0f} s.")
        asked = getattr(func, "__name__", "")
        if asked in ANSWERS and args and args[0].is_meta:
            return True if args[0].dtype == torch.bool else ANSWERS[asked]
        return func(*args, **(kwargs or {}))


@dataclass(eq=False)
class Skeleton:
    """A model of which only the sizes are there, with the facts that an outline states."""

    model_id: str
    title: str
    model: PreTrainedModel
    config: Any
    device: torch.device
    dtype: torch.dtype
    context: int
    vocab: int
    parameters: int
    bytes: int
    stored: Mapping[str, str] = field(default_factory=dict)


def build_skeleton(config_path: Path, shape_id: str, title: str) -> Skeleton:
    """The model that a config describes. Raises ModelRefused or ModelFailed with one clear sentence, or Unavailable."""
    if config_path.suffix == ".json":
        check_size(config_path)
        config = read_config(config_path)
    else:
        config = read_config(config_path)
        check_numbers(config.to_dict())
    refuse_unless_causal(config)
    refuse_encoder(config)
    model = build_on_meta(config)
    parameters = sum(int(parameter.numel()) for parameter in model.parameters())
    stored = getattr(config, "dtype", None) or getattr(config.get_text_config(), "dtype", None)
    dtype = stored if isinstance(stored, torch.dtype) else torch.float32
    vocab = getattr(config.get_text_config(), "vocab_size", None) or 1
    return Skeleton(
        model_id=shape_id,
        title=title or shape_id,
        model=model,
        config=model.config,
        device=torch.device("meta"),
        dtype=dtype,
        context=find_context(config),
        vocab=int(vocab),
        parameters=parameters,
        bytes=parameters * dtype.itemsize,
    )


def build_on_meta(config: Any) -> PreTrainedModel:
    """A causal model with this config on `meta`. Raises ModelRefused, or Unavailable while weights are being read."""
    if not BUILDING.acquire(timeout=PATIENCE_SECS):
        raise Unavailable("The weights of a model are being read; ask for the shape again later.")
    try:
        with Sketching():
            model: PreTrainedModel = make_skeleton(config, attn_implementation="eager")
    except GlassformerError:
        raise
    except Exception as exc:
        log.info("a config could not be laid out", exc_info=exc)
        raise ModelRefused(f"No model can be made of this config: {fault.describe(exc, most=300)}") from exc
    finally:
        BUILDING.release()
    model.train(False)
    model.requires_grad_(False)
    return model


def refuse_encoder(config: Any) -> None:
    """Raise ModelRefused for what reads whole texts: of a loaded model that is tried, here its config has to say so."""
    if type(config) in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False):
        raise ModelRefused(
            f"This is an encoder ({name_class(config)}): it fills in masked words and sees later tokens, so it does "
            "not predict the next token."
        )
