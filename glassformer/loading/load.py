"""From a folder that was found safe to a model in memory, ready to be run and looked into.

Knows nothing about who asks or when to unload (`registry.py`). Costs the model's weights in memory and, on a
CPU, a conversion to float32 unless told otherwise; float32 weights stay mapped from their file.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
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
from glassformer.compute.lock import ModelLock
from glassformer.compute.packing import find_packing_fault
from glassformer.compute.quantized_linear import hold_to_weights
from glassformer.compute.shortage import is_shortage
from glassformer.errors import BadValue, GlassformerError, ModelFailed, ModelRefused
from glassformer.files.kind import name_class, refuse_unless_causal
from glassformer.files.safety import check_folder, names_code
from glassformer.files.size import read_headers
from glassformer.files.source import ModelSource
from glassformer.loading.causal import sees_later_tokens
from glassformer.loading.config import find_context, read_config
from glassformer.loading.options import LoadOptions
from glassformer.loading.plan import Plan, plan_load
from glassformer.loading.reading import BUILDING, listen_to_reading
from glassformer.loading.token_text import UNFINISHED, Affixes, TokenTexts, find_affixes
from glassformer.protocol.anatomy import Anatomy
from glassformer.protocol.messages import ChatMessage, Token
from glassformer.structure.naming import teach_names
from glassformer.structure.structure import Structure

if TYPE_CHECKING:
    from glassformer.anatomy.checkup import Checkup

log = logging.getLogger(__name__)


@dataclass(eq=False)
class LoadedModel:
    """A model in memory. Hold `lock` for every forward: hooks and caches are one at a time."""

    model_id: str
    title: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    config: Any
    device: torch.device
    dtype: torch.dtype
    special_ids: frozenset[int]
    eos_ids: frozenset[int]
    context: int
    vocab: int
    parameters: int
    bytes: int
    # `int8` or `int4` where it was quantised while it was read, the checkpoint's own method, or `none`.
    quantize: str = "none"
    # What whoever looks at it should know.
    note: str = ""
    # As far as it has been checked; None until somebody has asked for it (`read_anatomy`), or where that failed.
    anatomy: Anatomy | None = None
    # What fills it; None where all has been checked at once.
    checkup: Checkup | None = None
    lock: ModelLock = field(default_factory=ModelLock)
    # What has been found of `packing_fault`, once it has been tried.
    _packing: tuple[str | None] | None = None
    _tokens: dict[int, Token] = field(default_factory=dict)
    # For encoding, which may set the tokenizer up anew. Decoding only reads, and must not wait behind a long text.
    _tokenizer_lock: threading.Lock = field(default_factory=threading.Lock)

    @cached_property
    def structure(self) -> Structure:
        """Which module plays which role; made when first asked for."""
        teach_names()
        return Structure(self.model, self.tokenizer, self.lock)

    def read_anatomy(self) -> Anatomy | None:
        """The anatomy as far as it has been checked; None where looking into the model fails."""
        if self.anatomy is None and self.checkup is not None:
            self.checkup.survey()
        return self.anatomy

    def check_site(self, address: str) -> None:
        """Have the part of the anatomy checked that a site belongs to, if it has not been."""
        if self.checkup is not None:
            self.checkup.check_site(address)

    @property
    def packing_fault(self) -> str | None:
        """Why generations of this model cannot share a forward; None where they can. Tried when first asked for."""
        # Not a cached property: some hold a lock of their own meanwhile, and who asks may hold the model's.
        if self._packing is None:
            with self.lock:
                if self._packing is None:
                    # Whether the attention tap leaves alone what the model says is found out there, and comes first.
                    is_known = self.read_anatomy() is not None or self.checkup is None or self.checkup.is_done
                    fault = find_packing_fault(self.model, vocab=self.vocab, context=self.context)
                    if not is_known:  # for lack of memory: asked again next time
                        return fault
                    self._packing = (fault,)
        return self._packing[0]

    @property
    def knows_packing(self) -> bool:
        """Whether it has been tried if generations can share a forward, which takes as long as some forwards."""
        return self._packing is not None

    @cached_property
    def texts(self) -> TokenTexts:
        """The texts of single tokens; made when first asked for."""
        with self._tokenizer_lock:
            return TokenTexts(self.tokenizer, self.special_ids)

    @cached_property
    def affixes(self) -> Affixes:
        """The special tokens that the tokenizer adds to a text; found when first asked for."""
        with self._tokenizer_lock:
            found = find_affixes(self.tokenizer)
        if found.after:
            log.info("the tokenizer of %s ends every text; a prompt is run without its end", self.model_id)
        return found

    def tokenize(self, text: str) -> list[int]:
        """The ids of any text, the empty one too, with the special tokens the tokenizer adds."""
        with self._tokenizer_lock:
            ids: list[int] = self.tokenizer(text, verbose=False)["input_ids"]
        return ids

    def encode(self, text: str) -> list[int]:
        """The ids of a prompt that is to go on, which the model can read: with one beginning and without an end.

        Raises BadValue for no tokens at all.
        """
        ids = self.tokenize(text)
        left_off = set(self.list_left_off(ids))
        if left_off:
            log.debug(
                "%d special tokens that the tokenizer of %s added are not run", len(left_off), self.model_id
            )
            ids = [token_id for place, token_id in enumerate(ids) if place not in left_off]
        if not ids:
            raise BadValue("The prompt has no tokens.", field="prompt")
        return self.check_ids(ids, field="prompt")

    def list_left_off(self, ids: list[int]) -> list[int]:
        """The places in a text's `ids` that are not run when it is to go on."""
        return self.affixes.list_left_off(ids)

    def encode_chat(self, messages: list[ChatMessage]) -> list[int]:
        """The ids of a conversation in the model's own chat template, up to where the assistant answers."""
        if not getattr(self.tokenizer, "chat_template", None):
            raise BadValue("This model has no chat template; send a prompt instead.", field="messages")
        turns = [message.model_dump() for message in messages]
        try:
            with self._tokenizer_lock:
                text = self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
                ids = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        except Exception as exc:
            log.info("chat template of %s refused a conversation: %s", self.model_id, type(exc).__name__)
            raise BadValue(
                "The model's chat template cannot express these messages.", field="messages"
            ) from exc
        if not ids:
            raise BadValue("The messages have no tokens.", field="messages")
        return self.check_ids(ids, field="messages")

    def check_ids(self, token_ids: list[int], *, field: str = "token_ids") -> list[int]:
        """`token_ids` unchanged, if each is in the vocabulary. Raises BadValue."""
        if not token_ids:
            raise BadValue("At least one token is needed.", field=field)
        if min(token_ids) < 0 or max(token_ids) >= self.vocab:
            raise BadValue(f"Token ids run from 0 to {self.vocab - 1} in this model.", field=field)
        return token_ids

    def decode(self, token_ids: list[int], *, keep_special: bool = False) -> str:
        """The text of `token_ids` exactly as the tokenizer gives it, unfinished characters as U+FFFD."""
        return str(
            self.tokenizer.decode(
                token_ids, skip_special_tokens=not keep_special, clean_up_tokenization_spaces=False
            )
        )

    def token(self, token_id: int) -> Token:
        """`token_id` with its text as it reads in the middle of one."""
        known = self._tokens.get(token_id)
        if known is None:
            text, raw = self.texts[token_id].text, self.texts[token_id].raw
            known = Token(
                id=token_id,
                text=text,
                special=token_id in self.special_ids,
                bytes=list(raw) if raw is not None and UNFINISHED in text else None,
            )
            self._tokens[token_id] = known
        return known

    def tokens(self, token_ids: list[int]) -> list[Token]:
        return [self.token(token_id) for token_id in token_ids]


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
