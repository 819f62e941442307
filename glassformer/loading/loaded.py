"""A model in memory: its facts, its lock, its tokens, and what is known of its inside."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import torch
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from glassformer.compute.lock import ModelLock
from glassformer.compute.packing import find_packing_fault
from glassformer.conversation.answer_form import Reasoning, read_reasoning
from glassformer.conversation.call_format import CallFormat, read_call_format
from glassformer.conversation.conversation import Conversation
from glassformer.conversation.marked import encode_marked, find_control_names, mark_names
from glassformer.conversation.template import ChatTemplate
from glassformer.errors import BadValue
from glassformer.loading.token_text import UNFINISHED, Affixes, TokenTexts, find_affixes
from glassformer.loading.tower import WholeNames
from glassformer.loading.usual_sampling import read_usual_sampling
from glassformer.protocol.anatomy import Anatomy
from glassformer.protocol.messages import ChatMessage, Token
from glassformer.structure.naming import teach_names
from glassformer.structure.structure import Structure

log = logging.getLogger(__name__)


class Checks(Protocol):
    """What fills a model's anatomy, a part at a time (`anatomy/checkup.py`)."""

    is_ended: bool
    order: list[int]

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to check."""

    def prepare(self) -> None:
        """The first half of `survey`, for who lets others in between."""

    def survey(self) -> Anatomy | None:
        """The anatomy as far as it has been checked; None where looking into the model fails."""

    def check_site(self, address: str) -> None:
        """Check the part that a site belongs to, if it has not been."""

    def check_next(self) -> bool:
        """Check the first part that has not been; False where there is none."""

    def listen(self, heard: Callable[[], object]) -> Callable[[], None]:
        """Call `heard` after each part; gives a function that ends that."""

    def end(self) -> None:
        """Tell who listens that the model has been unloaded."""


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
    # How the file keeps weights that it keeps in fewer bits, by their names; they are whole here.
    stored: Mapping[str, str] = field(default_factory=dict)
    # What whoever looks at it should know.
    note: str = ""
    # Where it is the language model inside another: how that calls what it is made of.
    whole_names: WholeNames | None = None
    # As far as it has been checked; None until somebody has asked for it (`read_anatomy`), or where that failed.
    anatomy: Anatomy | None = None
    # The model whose weights it computes with, where it is an adapter over one.
    base: LoadedModel | None = None
    # What fills it; None where all has been checked at once.
    checkup: Checks | None = None
    lock: ModelLock = field(default_factory=ModelLock)
    # What has been found of `packing_fault`, once it has been tried.
    _packing: tuple[str | None] | None = None
    _tokens: dict[int, Token] = field(default_factory=dict)
    # For encoding, which may set the tokenizer up anew. Decoding only reads, and must not wait behind a long text.
    _tokenizer_lock: threading.Lock = field(default_factory=threading.Lock)

    @cached_property
    def usual_sampling(self) -> dict[str, float]:
        """How its makers have it sampled, for who says nothing else."""
        return read_usual_sampling(getattr(self.model, "generation_config", None))

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

    def tokenize(self, text: str, *, control_tokens: bool = True, adds_special: bool = True) -> list[int]:
        """The ids of any text, the empty one too, with the special tokens the tokenizer adds if `adds_special`.

        Without `control_tokens` what reads like one is text.
        """
        if not control_tokens:
            names = find_control_names(
                self.tokenizer, str(getattr(self.tokenizer, "chat_template", None) or "")
            )
            before, after = (self.affixes.before, self.affixes.after) if adds_special else ((), ())
            with self._tokenizer_lock:
                return [*before, *encode_marked(self.tokenizer, mark_names(text, names)), *after]
        with self._tokenizer_lock:
            found = self.tokenizer(text, verbose=False, add_special_tokens=adds_special)
            ids: list[int] = found["input_ids"]
        return ids

    def encode(self, text: str, *, control_tokens: bool = True) -> list[int]:
        """The ids of a prompt that is to go on, which the model can read: with one beginning and without an end.

        Raises BadValue for no tokens at all.
        """
        ids = self.tokenize(text, control_tokens=control_tokens)
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

    @property
    def chats(self) -> bool:
        """Whether the tokenizer brings a chat template."""
        return bool(getattr(self.tokenizer, "chat_template", None))

    @cached_property
    def chat_template(self) -> ChatTemplate:
        """The model's own chat template. Raises BadValue where it has none."""
        if not self.chats:
            raise BadValue("This model has no chat template; send a prompt instead.", field="messages")
        return ChatTemplate(self.tokenizer, self._tokenizer_lock)

    @cached_property
    def reasoning_marks(self) -> tuple[Reasoning | None, str]:
        """What marks reasoning in this model's answers, and what opens the text beside it; found when first asked."""
        return read_reasoning(self.chat_template)

    @cached_property
    def call_format(self) -> CallFormat:
        """How this model writes calls of tools, read off its chat template when first asked for."""
        ends = [self.tokenizer.convert_ids_to_tokens(token_id) for token_id in self.eos_ids]
        return read_call_format(self.chat_template, [end for end in ends if isinstance(end, str)])

    def encode_chat(self, messages: list[ChatMessage]) -> list[int]:
        """The ids of a conversation in the model's own chat template, up to where the assistant answers."""
        return self.encode_conversation(Conversation([message.model_dump() for message in messages]))

    def encode_conversation(self, conversation: Conversation) -> list[int]:
        """As above, of a conversation with all that may stand in one. Raises BadValue."""
        return self.check_rendered(self.chat_template.encode(conversation))

    def check_rendered(self, ids: list[int]) -> list[int]:
        """A conversation's `ids` unchanged, if the model can read them. Raises BadValue."""
        if not ids:
            raise BadValue("The messages have no tokens.", field="messages")
        return self.check_ids(ids, field="messages")

    def check_ids(self, token_ids: list[int], *, field: str = "token_ids") -> list[int]:
        """`token_ids` unchanged, if each is in the vocabulary. Raises BadValue."""
        if not token_ids:
            raise BadValue("At least one token is needed.", field=field)
        largest = max(token_ids)
        if min(token_ids) < 0 or largest >= self.vocab:
            raise BadValue(self.describe_unknown(largest), field=field)
        return token_ids

    def describe_unknown(self, token_id: int) -> str:
        """Why an id outside the vocabulary cannot be run: tokens may have been added to the tokenizer alone."""
        known = (
            self.tokenizer.convert_ids_to_tokens(token_id) if 0 <= token_id < len(self.tokenizer) else None
        )
        if isinstance(known, str) and token_id >= self.vocab:
            return (
                f"The tokenizer has the token {known[:60]!r} (id {token_id}), and the model has not: its token ids run "
                f"from 0 to {self.vocab - 1}."
            )
        return f"Token ids run from 0 to {self.vocab - 1} in this model."

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
