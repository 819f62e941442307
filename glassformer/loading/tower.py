"""The language model inside one that also reads pictures or sound: its **tower**, without the other parts.

By structure alone, for any family: the whole model's own class says where its decoder, its embedding and its output
lie, and how the names in a checkpoint become its own. Whatever stands beside the way to those three is never made and
its weights are never read. Where transformers has a causal class for the text's config, the decoder then moves into
one, if it computes the same logits there; otherwise the whole model's class is kept, without its other parts.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForCausalLM, PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightRenaming, rename_source_key
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from glassformer.compute.computing import computing
from glassformer.compute.shortage import is_shortage
from glassformer.errors import ModelRefused
from glassformer.files.kind import find_plain_class, find_whole_class, list_other_parts, name_class

log = logging.getLogger(__name__)

# What transformers hangs on a model that it has read in some special way.
KEPT = (
    "hf_quantizer",
    "quantization_method",
    "is_quantized",
    "is_loaded_in_4bit",
    "is_loaded_in_8bit",
    "hf_device_map",
)
# Tokens of the text that both classes are tried on.
POSITIONS = 8
# What may differ between the two by rounding, as a share of the largest logit.
TOLERANCE = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 3e-2}


class Absent(nn.Module):
    """Stands where a part was that only pictures or sound go through. It has no weights."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise ModelRefused("This model runs its part for pictures or sound on text as well.")


@dataclass(frozen=True, slots=True)
class WholeNames:
    """What the whole model calls the modules of its tower, with their names in the model that is served.

    `renamings` are transformers' own, from the names of earlier releases.
    """

    places: Mapping[str, str]
    absent: tuple[str, ...]
    renamings: tuple[Any, ...]

    def translate(self, name: str) -> str | None:
        """The name here of a module or parameter that the whole model calls `name`; None inside what was left out."""
        given, _ = rename_source_key(name, list(self.renamings), [])
        if f"{given}.".startswith(tuple(f"{part}." for part in self.absent)):
            return None
        holder = given
        while holder and holder not in self.places:
            holder = holder.rpartition(".")[0]
        return self.places[holder] + given[len(holder) :] if holder else given


def choose_class(config: Any) -> Any:
    """The class that reads a model with this config: a causal model's, or a tower's."""
    plain, whole = find_plain_class(config), find_whole_class(config)
    if whole is None:
        return AutoModelForCausalLM if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING else plain
    if plain is not None and plain is not whole and name_class(config) == plain.__name__:
        return AutoModelForCausalLM  # weights of the text alone, under the config of the whole
    return make_tower_class(whole)


def make_skeleton(config: Any, **options: Any) -> Any:
    """The model that is served with a config, without numbers. For the holder of `BUILDING`."""
    model = make_unread(config, **options)
    causal = make_causal(model) if is_tower(model) else None
    return model if causal is None else causal


def make_unread(config: Any, **options: Any) -> Any:
    """The model whose weights are read for a config, without numbers. For the holder of `BUILDING`."""
    plain = copy.deepcopy(config)
    if hasattr(plain, "quantization_config"):
        del plain.quantization_config
    kind = choose_class(plain)
    with torch.device("meta"):
        if kind is AutoModelForCausalLM:
            return kind.from_config(plain, trust_remote_code=False, **options)
        return kind._from_config(plain, **options)


def tell_tower(model: Any) -> str:
    """What whoever looks at a tower should know; `model` is the whole model that it was read as."""
    return (
        f"The language model of a {type(model).__name__}, which also reads pictures or sound. "
        "Only the language model is loaded, so it can be sent text alone."
    )


def is_tower(model: Any) -> bool:
    """Whether parts were left out of `model`."""
    return bool(list_absent(model))


def list_absent(model: nn.Module) -> list[str]:
    """The names of the parts that were left out."""
    return [name for name, module in model.named_modules() if isinstance(module, Absent)]


def name_whole(whole: Any, served: nn.Module) -> WholeNames:
    """The names of the modules of `served`, made of those of `whole`, in both."""
    here = {id(module): name for name, module in served.named_modules()}
    places = {name: here[id(module)] for name, module in whole.named_modules() if name and id(module) in here}
    renamings = [each for each in get_model_conversion_mapping(whole) if isinstance(each, WeightRenaming)]
    return WholeNames(places, tuple(list_absent(whole)), tuple(renamings))


def find_causal_class(whole: Any) -> Any | None:
    """transformers' causal class for the text of a whole model alone; None where it has none."""
    text = whole.get_decoder().config
    found = find_plain_class(text) if not list_other_parts(text) else None
    if found is None:
        found = find_plain_class(whole.config)  # some families name it for the whole config
    return found if found is not None and found.config_class is type(text) else None


def make_tower_class(whole: Any) -> Any:
    """The class `whole`, whose models leave out what text does not go through as soon as they are made.

    Its name stays: transformers finds by it how the names in a checkpoint become those of the model.
    """

    def make(self: Any, config: Any, *args: Any, **kwargs: Any) -> None:
        try:
            whole.__init__(self, config, *args, **kwargs)
        except ImportError:  # of a library that only pictures or sound need
            with leaving_out({type(getattr(config, name)) for name in list_other_parts(config)}):
                whole.__init__(self, config, *args, **kwargs)
        leave_out(self)

    # What is left out is still in the file, and not worth a warning.
    own = {"__init__": make, "__module__": whole.__module__, "_keys_to_ignore_on_load_unexpected": [".*"]}
    return type(whole.__name__, (whole,), own)


@contextmanager
def leaving_out(others: set[type]) -> Iterator[None]:
    """Have transformers make nothing of configs of the types `others`. For the holder of `BUILDING`."""
    make = AutoModel.from_config

    def make_unless_other(config: Any, *args: Any, **kwargs: Any) -> Any:
        return Absent() if type(config) in others else make(config, *args, **kwargs)

    auto: Any = AutoModel
    auto.from_config = make_unless_other
    try:
        yield
    finally:
        del auto.from_config  # its own is its base's


def leave_out(model: PreTrainedModel) -> list[str]:
    """Replace every part that stands beside the text's way through `model`; gives their names."""
    kept = [model.get_decoder(), model.get_input_embeddings(), model.get_output_embeddings()]
    kept_ids = {id(module) for module in kept if module is not None}
    parts = [getattr(model.config, name) for name in list_other_parts(model.config)]
    left_out = list(find_beside(model, "", kept_ids, {type(part) for part in parts}))
    for name in left_out:
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, Absent())
    tied = getattr(model, "all_tied_weights_keys", None)
    if tied:
        gone = tuple(f"{name}." for name in left_out)
        model.all_tied_weights_keys = {a: b for a, b in tied.items() if not f"{a}.".startswith(gone)}
    return left_out


def find_beside(module: nn.Module, name: str, kept_ids: set[int], others: set[type]) -> Iterator[str]:
    """The names of the modules with weights that neither are, hold nor lie within one of `kept_ids`.

    Within those too, models of their own whose config is of one of the types `others`.
    """
    for last, child in module.named_children():
        path = f"{name}.{last}" if name else last
        holds_kept = any(id(inner) in kept_ids for inner in child.modules())
        if not holds_kept and isinstance(child, PreTrainedModel) and type(child.config) in others:
            yield path
        elif holds_kept or id(module) in kept_ids:
            inside = kept_ids | {id(child)} if id(module) in kept_ids or id(child) in kept_ids else kept_ids
            yield from find_beside(child, path, inside, others)
        elif any(True for _ in child.parameters()):
            yield path


def settle(whole: Any) -> Any:
    """The model to be served of a tower that has been read: in its causal class, where that computes the same.

    Raises ModelRefused for one that does not run on text alone.
    """
    expected, causal = try_text(whole), make_causal(whole)
    found = None if causal is None else try_text(causal)
    if found is not None and (expected is None or is_same(expected, found, whole.dtype)):
        return causal
    vocab = whole.get_input_embeddings().weight.shape[0]
    if expected is None or expected.shape[:2] != (1, POSITIONS) or expected.shape[2] > vocab:
        raise ModelRefused(
            f"This is a language model inside a model that also reads pictures or sound ({name_class(whole.config)}), "
            "and it does not go on with a text without them."
        )
    placed = try_text(whole, position_ids=torch.arange(POSITIONS, device=whole.device)[None])
    if placed is None or not is_same(expected, placed, whole.dtype):
        raise ModelRefused(
            f"This language model inside another ({name_class(whole.config)}) counts positions in a way of "
            "its own, which is not known here."
        )
    return whole


def make_causal(whole: Any) -> Any | None:
    """A model of transformers' causal class made of the modules of `whole`; None where there is no such class."""
    decoder, head, kind = whole.get_decoder(), whole.get_output_embeddings(), find_causal_class(whole)
    # Where several devices share a model, what carries rows between them hangs on the whole.
    is_shared = len(set((getattr(whole, "hf_device_map", None) or {}).values())) > 1
    if kind is None or head is None or isinstance(whole, kind) or is_shared:
        return None
    with torch.device("meta"):
        causal = kind(decoder.config)
    places = [name for name, child in causal.named_children() if type(child) is type(decoder)]
    if len(places) != 1:
        return None
    setattr(causal, places[0], decoder)
    causal.set_output_embeddings(head)
    if (
        any(tensor.is_meta for tensor in (*causal.parameters(), *causal.buffers()))
        and whole.device.type != "meta"
    ):
        return None
    decoder.config.tie_word_embeddings = head.weight is causal.get_input_embeddings().weight
    causal.generation_config = whole.generation_config
    vars(causal).update({name: kept for name, kept in vars(whole).items() if name in KEPT})
    return causal.eval()


@torch.inference_mode()
def try_text(model: Any, **inputs: Tensor) -> Tensor | None:
    """The logits of a short text; None where a model does not run on it."""
    vocab = model.get_input_embeddings().weight.shape[0]
    ids = torch.randint(vocab, (1, POSITIONS), generator=torch.Generator().manual_seed(0)).to(model.device)
    try:
        with computing(ids.numel(), "probes"):
            logits: Tensor = model(input_ids=ids, use_cache=False, **inputs).logits.float()
    except Exception as exc:  # whatever a family's own code raises
        if is_shortage(exc):
            raise
        log.debug("%s does not run on text alone", type(model).__name__, exc_info=exc)
        return None
    return logits


def is_same(expected: Tensor, found: Tensor, dtype: torch.dtype) -> bool:
    """Whether logits are equal but for rounding."""
    if expected.shape != found.shape:
        return False
    most = float(expected.abs().max())
    return float((expected - found).abs().max()) <= most * TOLERANCE.get(dtype, 3e-2)
