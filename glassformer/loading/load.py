"""From a folder that was found safe to a model in memory, ready to be run and looked into.

Knows nothing about who asks or when to unload (`registry.py`). Costs the model's weights in memory and, on a
CPU, a conversion to float32 unless told otherwise; float32 weights stay mapped from their file.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import transformers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from glassformer import fault
from glassformer.compute import quantize as quantizing
from glassformer.compute.generate import find_eos_ids
from glassformer.compute.quantized_linear import hold_to_weights
from glassformer.compute.shortage import is_shortage
from glassformer.errors import GlassformerError, ModelFailed, ModelRefused
from glassformer.files.catalog import ModelSource
from glassformer.files.kind import name_class, refuse_unless_causal
from glassformer.files.safety import check_folder, names_code
from glassformer.files.size import read_headers
from glassformer.loading.causal import sees_later_tokens
from glassformer.loading.config import find_context, read_config
from glassformer.loading.loaded import LoadedModel
from glassformer.loading.options import LoadOptions
from glassformer.loading.plan import Plan, plan_load
from glassformer.loading.reading import BUILDING, listen_to_reading

log = logging.getLogger(__name__)


def load_model(
    source: ModelSource,
    folder: Path,
    *,
    device: str = "auto",
    dtype: str = "auto",
    quantize: str = "none",
    plan: Plan | None = None,
    on_fraction: Callable[[float], None] | None = None,
) -> LoadedModel:
    """Load the model in `folder`; safetensors only, never code of its own.

    Where a `plan` is given, `device`, `dtype` and `quantize` are its. `on_fraction` hears the share of weights that
    are in place. Raises ModelRefused for what will not be loaded and ModelFailed for what cannot.
    """
    weights = check_folder(folder, source.root)
    if plan is None:
        options = LoadOptions(device=device, dtype=dtype, quantize=quantize)
        plan = plan_load(folder / "config.json", read_headers(weights), options)
    transformers.utils.logging.disable_progress_bar()  # the registry tells how far it is
    try:
        config = read_config(folder / "config.json")
        refuse_unless_causal(config)
        method = quantizing.check_quantised(config, plan.quantize)
        quantizing.unpack_when_read(config, method)
        tokenizer = load_tokenizer(folder)
        with BUILDING, listen_to_reading(on_fraction):
            found: Any = AutoModelForCausalLM.from_pretrained(
                folder,
                config=config,
                dtype=plan.dtype,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
                quantization_config=quantizing.make_quantization(plan.quantize, plan.dtype),
                device_map=plan.device_map,
                max_memory=plan.max_memory,
            )
        model, info = found
        refuse_incomplete(info, model)
        quantizing.refuse_unchanged(model, plan.quantize)
        refuse_spilled(model, plan)
        model = model.eval().requires_grad_(False)
        hold_to_weights(model, model.dtype)
    except GlassformerError:
        raise
    except Exception as exc:
        if is_shortage(exc):
            raise ModelFailed("The model does not fit into the memory of this machine.") from exc
        log.warning("loading %s failed", source.model_id, exc_info=exc)
        raise ModelFailed(f"The model could not be loaded: {fault.describe(exc, folder=folder)}") from exc
    log.debug("read %d weight files of %s", len(weights), source.model_id)
    loaded = wrap_model(source, model, tokenizer, quantize=method or plan.quantize)
    refuse_leaking(loaded)
    if names_code(folder):
        loaded.note = (
            f"The model names code of its own, which was left aside: {type(model).__name__} reads it."
        )
        log.info("%s names code of its own, which was left aside", source.model_id)
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


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in `folder`. Raises ModelRefused where there is none."""
    kinds: list[Any] = [AutoTokenizer]
    if (folder / "tokenizer.json").is_file():
        kinds.append(PreTrainedTokenizerFast)  # for a class of tokenizer that only the model's own code knows
    faults: list[Exception] = []
    for kind in kinds:
        try:
            tokenizer = kind.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        except Exception as exc:
            log.info("tokenizer refused", exc_info=exc)
            faults.append(exc)
            continue
        if isinstance(tokenizer, PreTrainedTokenizerBase) and len(tokenizer) > 0:
            return tokenizer
    if not any(folder.glob("*token*")) and not (folder / "vocab.json").is_file():
        raise ModelRefused("The model has no tokenizer.")
    reason = f" ({fault.describe(faults[0], folder=folder, most=300)})" if faults else ""
    raise ModelRefused(f"The model has no tokenizer that can be read{reason}.") from next(iter(faults), None)


def refuse_leaking(loaded: LoadedModel) -> None:
    """Raise ModelRefused for a model that sees later tokens, whatever its class is called."""
    if not sees_later_tokens(loaded.model, vocab=loaded.vocab):
        return
    kind = loaded.config.model_type
    if getattr(loaded.config, "is_decoder", None) is False:
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
        name = missing[0] if missing else next(iter(mismatched))[0]
        count = len(missing) + len(mismatched)
        saved, needed = name_class(model.config), type(model).__name__
        kinds = "" if saved == needed else f" They are those of {saved}, and {needed} is needed."
        raise ModelRefused(
            f"The weights do not fit the config: {count} are missing or misshapen, first {name!r}.{kinds}"
        )


def refuse_spilled(model: PreTrainedModel, plan: Plan) -> None:
    """Raise ModelFailed where parts were put where each forward would have to fetch them from."""
    slow = {"disk"} if plan.device.type == "cpu" else {"disk", "cpu"}
    if slow & {str(place) for place in (getattr(model, "hf_device_map", None) or {}).values()}:
        raise ModelFailed("The model does not fit into the memory of the devices it was to be shared by.")
