"""From a model on a disk, in any form (`form/`), to one in memory, ready to be run and looked into.

Knows nothing about who asks or when to unload (`registry.py`). Costs the model's weights in memory and, on a
CPU, a conversion to float32 unless told otherwise; float32 weights stay mapped from their file.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import transformers
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from glassformer import fault
from glassformer.compute import quantize as quantizing
from glassformer.compute.generate import find_eos_ids
from glassformer.compute.quantized_linear import hold_to_weights
from glassformer.compute.shortage import is_shortage
from glassformer.errors import GlassformerError, ModelFailed, ModelRefused
from glassformer.files.catalog import ModelSource
from glassformer.files.kind import name_class, refuse_unless_causal
from glassformer.loading.causal import sees_later_tokens
from glassformer.loading.config import find_context
from glassformer.loading.form.form import Form
from glassformer.loading.form.recognise import open_form
from glassformer.loading.loaded import LoadedModel
from glassformer.loading.options import LoadOptions
from glassformer.loading.plan import Plan, plan_load
from glassformer.loading.reading import BUILDING, listen_to_reading
from glassformer.loading.stored_name import place_stored
from glassformer.loading.tower import is_tower, name_whole, settle, tell_tower

log = logging.getLogger(__name__)


def load_model(
    source: ModelSource,
    place: Path,
    *,
    device: str = "auto",
    dtype: str = "auto",
    quantize: str = "none",
) -> LoadedModel:
    """Load the model in `place` wherever it goes by these options; never code of its own. Raises as `load_form`."""
    form = open_form(place, source.root)
    options = LoadOptions(device=device, dtype=dtype, quantize=quantize)
    return load_form(source, form, plan_load(form.read_config(), form.list_tensors(), options))


def load_form(
    source: ModelSource, form: Form, plan: Plan, *, on_fraction: Callable[[float], None] | None = None
) -> LoadedModel:
    """Load a model the way its plan says. `on_fraction` hears the share of weights that are in place.

    Raises ModelRefused for what will not be loaded and ModelFailed for what cannot.
    """
    transformers.utils.logging.disable_progress_bar()  # the registry tells how far it is
    try:
        config = form.read_config()
        refuse_unless_causal(config)
        method = quantizing.check_quantised(config, plan.quantize)
        quantizing.unpack_when_read(config, method)
        tokenizer = form.read_tokenizer()
        with BUILDING, listen_to_reading(on_fraction):
            model, info = form.read_weights(config, plan)
        refuse_incomplete(info, model)
        quantizing.refuse_unchanged(model, plan.quantize)
        refuse_spilled(model, plan)
        notes, whole_names = [form.describe(model)], None
        model = model.eval().requires_grad_(False)
        hold_to_weights(model, model.dtype)
        if is_tower(model):
            notes.insert(0, tell_tower(model))
            whole, model = model, settle(model)
            whole_names = name_whole(whole, model)
    except GlassformerError:
        raise
    except Exception as exc:
        if is_shortage(exc):
            raise ModelFailed("The model does not fit into the memory of this machine.") from exc
        log.warning("loading %s failed", source.model_id, exc_info=exc)
        reason = fault.describe(exc, folder=form.place)
        raise ModelFailed(f"The model could not be loaded: {reason}") from exc
    loaded = wrap_model(source, model, tokenizer, quantize=method or plan.quantize)
    refuse_leaking(loaded, config)
    loaded.stored = place_stored(form.stored, [name for name, _ in loaded.model.named_parameters()])
    loaded.note, loaded.whole_names = " ".join(filter(None, notes)), whole_names
    if loaded.note:
        log.info("%s: %s", source.model_id, loaded.note)
    return loaded


def wrap_model(
    source: ModelSource,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    quantize: str = "none",
) -> LoadedModel:
    """The facts about a model that everything else asks for, gathered once."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        # Set once and never again: then encoding and decoding only read it, and threads do not collide.
        backend.no_truncation()
        backend.no_padding()
    parameters = list(model.parameters())
    added = getattr(tokenizer, "added_tokens_decoder", {})
    special = {id_ for id_, token in added.items() if token.special} | set(tokenizer.all_special_ids)
    embedding: Any = model.get_input_embeddings()
    vocab = getattr(embedding, "num_embeddings", None) or model.config.get_text_config().vocab_size
    return LoadedModel(
        model_id=source.model_id,
        title=source.title or source.model_id,
        model=model,
        tokenizer=tokenizer,
        config=model.config,
        device=model.device,
        dtype=model.dtype,
        special_ids=frozenset(id_ for id_ in special if id_ is not None),
        eos_ids=find_eos_ids(model, tokenizer),
        context=find_context(model.config),
        vocab=int(vocab),
        parameters=sum(quantizing.count_numbers(parameter) for parameter in parameters),
        bytes=sum(quantizing.count_bytes(parameter) for parameter in parameters),
        quantize=quantize,
    )


def refuse_leaking(loaded: LoadedModel, config: Any) -> None:
    """Raise ModelRefused for a model that sees later tokens, whatever its class is called; `config` is its folder's."""
    if not sees_later_tokens(loaded.model, vocab=loaded.vocab):
        return
    kind = config.model_type
    if getattr(config, "is_decoder", None) is False:
        raise ModelRefused(
            f"This {kind!r} model is an encoder: it fills in masked words and sees later tokens, so it does not "
            "predict the next token."
        )
    raise ModelRefused(
        f"This {kind!r} model sees later tokens: what it expects at the beginning of a text changes with the end, so "
        "it does not predict the next token."
    )


def refuse_incomplete(info: Any, model: PreTrainedModel) -> None:
    """Raise ModelRefused where weights were missing: transformers fills them with random numbers."""
    missing = sorted(info.get("missing_keys") or [])
    mismatched = info.get("mismatched_keys") or []
    if missing or mismatched:
        count = len(missing) + len(mismatched)
        first, why = (missing[0], "") if missing else describe_shapes(min(mismatched))
        unused = sorted(info.get("unexpected_keys") or [])
        if missing and unused:
            why = f" (the files have {unused[0][:80]!r} and others that the model has not)"
        saved, needed = name_class(model.config), type(model).__name__
        kinds = "" if saved == needed else f" They are those of {saved}, and {needed} is needed."
        raise ModelRefused(
            f"The weights do not fit the config: {count} are missing or misshapen, first {first!r}{why}.{kinds}"
        )


def describe_shapes(mismatched: tuple[str, Sequence[int], Sequence[int]]) -> tuple[str, str]:
    """The name of a weight that transformers found misshapen, and its shapes in words."""
    name, stored, needed = mismatched
    there, here = (" x ".join(map(str, shape)) for shape in (stored, needed))
    return name, f", which is {there} in the files and {here} by the config"


def refuse_spilled(model: PreTrainedModel, plan: Plan) -> None:
    """Raise ModelFailed where parts were put where each forward would have to fetch them from."""
    slow = {"disk"} if plan.device.type == "cpu" else {"disk", "cpu"}
    if slow & {str(place) for place in (getattr(model, "hf_device_map", None) or {}).values()}:
        raise ModelFailed("The model does not fit into the memory of the devices it was to be shared by.")
