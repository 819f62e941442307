"""One run, one owner: its tokens and how they are drawn, its recording, the model it holds, and how it goes and ends.

The server, the notebook and an export hold the same object. Knows no HTTP.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import cached_property
from typing import Any, Protocol

from glassformer.engine.generation_request import DecodedToken, GenerationRequest
from glassformer.errors import BadValue, error_body
from glassformer.loading.loaded import LoadedModel
from glassformer.protocol.messages import (
    ChatMessage,
    Intervention,
    Sampling,
    Token,
    TraceFinish,
    TraceStatus,
)
from glassformer.run.recorded import Keeper, Recorded, check_model
from glassformer.structure.structure import Structure
from glassformer.tiles.zarr_store import ArrayView, ZarrReply, ZarrStore


class Models(Protocol):
    """Who has models in memory, and lets those go that nobody needs."""

    def use(self, loaded: LoadedModel) -> AbstractContextManager[Any]:
        """Keep a model in memory meanwhile. Raises InUse where it has just been unloaded."""

    def looking(self, loaded: LoadedModel) -> AbstractContextManager[Any]:
        """Let a model go after all others meanwhile: somebody looks at it."""


class HeldModels:
    """Models that somebody else keeps: the handles of a notebook, or the one who exports."""

    def use(self, loaded: LoadedModel) -> AbstractContextManager[Any]:
        return nullcontext()

    def looking(self, loaded: LoadedModel) -> AbstractContextManager[Any]:
        return nullcontext()


class Run(Recorded):
    """A text that a model reads and goes on with, recorded.

    `request` is what it is to do, if anything: from the beginning its bytes are set aside (`reserved_bytes`), and it
    counts as running until `release`. `prompt` and `messages` are what the first `prompt_count` tokens were made from;
    without a prompt it is what they read as. Raises BadValue as `Recorded`.
    """

    def __init__(
        self,
        run_id: str,
        loaded: LoadedModel,
        token_ids: list[int],
        prompt_count: int,
        keeper: Keeper,
        *,
        request: GenerationRequest | None = None,
        interventions: Sequence[Intervention] = (),
        prompt: str | None = None,
        messages: Sequence[ChatMessage] | None = None,
        models: Models | None = None,
    ) -> None:
        most_positions = None if request is None else count_positions(loaded, request)
        super().__init__(
            run_id, loaded, token_ids, keeper, interventions=interventions, most_positions=most_positions
        )
        self.prompt_count = prompt_count
        self.request = request
        self.sampling = Sampling() if request is None else request.sampling
        self.messages = None if messages is None else list(messages)
        self.status: TraceStatus = "queued"
        self.finish_reason: TraceFinish | None = None
        self.error: str | None = None
        self.steps: list[DecodedToken] = []
        """What it has written so far."""
        self.reserved_bytes = 0
        self._prompt = prompt
        self._models = models or HeldModels()
        self._lease = ExitStack()
        self._followers = 0
        self._format = describe_format(loaded)
        self._fault: str | None = None
        # What its tokens read as, for while its model is not in memory.
        self._tokens: list[Token] = []
        # The store of a number of positions, and of an anatomy; a page asks for many keys between two steps.
        self._store: tuple[tuple[object, ...], ZarrStore] | None = None

    @cached_property
    def prompt(self) -> str:
        """The text it was given, which need not be what its ids read as; decoded from those where there was none."""
        if self._prompt is not None:
            return self._prompt
        return self.loaded.decode(self.token_ids[: self.prompt_count], keep_special=True)

    # --- going on ----------------------------------------------------------------------------------

    def hold_model(self) -> None:
        """Keep the model in memory until `release`. Raises InUse where it has just been unloaded."""
        self._lease.enter_context(self._models.use(self.loaded))

    def take(self, token: DecodedToken) -> None:
        """Add a token that was written. Before the next forward, so that a position always has its token."""
        # Decoded here, so that who tells of it never waits for a tokenizer.
        self.loaded.token(token.token_id)
        self.append_token(token.token_id)
        self.steps.append(token)

    def release(self) -> None:
        """Nothing is computed any more: let the model go, and the memory that was not needed. Any thread."""
        self._lease.close()
        try:
            self.recording.trim()
        finally:  # there may be no memory for a smaller copy
            self.reserved_bytes = 0
            self.is_running = False

    def end(self, error: BaseException | None = None, *, is_cancelled: bool = False) -> None:
        """Say how it went."""
        written = self.steps[-1].finish_reason if self.steps else None
        if error is not None:
            self.status, self.finish_reason = "failed", written
            self.error = error_body(error)["error"]
        elif written is None and is_cancelled:
            self.status, self.finish_reason = "stopped", "cancelled"
        else:
            self.status, self.finish_reason = "done", written or "length"

    # --- being looked at -----------------------------------------------------------------------------

    @property
    def nbytes(self) -> int:
        """Bytes of the recording, and while it runs those that are set aside for it."""
        return max(self.recording.nbytes, self.reserved_bytes)

    @property
    def is_looked_at(self) -> bool:
        """Whether somebody follows it or asks about it now."""
        return self._followers > 0 or self._pins > 0

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Answer a question about it: model and rows stay in memory meanwhile.

        Raises UnknownTrace where it has been deleted, InUse where its model has just been unloaded, and BadValue where
        its model was loaded anew in a way in which it cannot be made again.
        """
        if self._fault is not None:
            raise BadValue(self._fault, field="trace_id")
        with self._models.use(self.loaded), self.holding_rows():
            yield

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Somebody looks at it for as long as this lasts: it goes after all others, and so does its model."""
        loaded = self._loaded
        with nullcontext() if loaded is None else self._models.looking(loaded):
            self._followers += 1
            try:
                yield
            finally:
                self._followers -= 1

    # --- without its model -----------------------------------------------------------------------------

    @property
    def has_model(self) -> bool:
        """Whether its model is in memory."""
        return self._loaded is not None

    def is_of(self, loaded: LoadedModel) -> bool:
        """Whether it holds that model."""
        return self._loaded is loaded

    def leave_model(self) -> None:
        """Let go of a model that is being unloaded, and of the rows: it may be another one when it comes back."""
        if self._loaded is not None:
            self.tell_tokens(len(self.token_ids))
            self._prompt = self.prompt
        self._loaded = None
        self._store = None
        self.recording.clear()
        self.recording.bind(None)
        self.watcher = self.recording
        self._keeper.drop_blocks(self.id)

    def meet_model(self, loaded: LoadedModel) -> None:
        """Go on with the model as it is in memory now, perhaps in another format.

        The rows are made again when somebody asks; where that cannot be, every question is told why.
        """
        with self._making:
            if self._loaded is not None:
                return
            self._fault = None
            try:
                self._loaded = loaded
                self._known = check_model(loaded)
                self._check_fit(loaded.structure)
                self._check_interventions()
            except BadValue as error:
                self._fault = (
                    f"This recording was made with {self._format}, and cannot be made again with the model as it is "
                    f"loaded now ({describe_format(loaded)}): {error.message}"
                )
            self.recording.bind(loaded.structure)
            if self._fault is None:
                self.watcher = self._watch_with(self.recording)
                self._format = describe_format(loaded)

    def _check_fit(self, structure: Structure) -> None:
        loaded = self.loaded
        if self.positions > loaded.context or max(self.token_ids) >= loaded.vocab:
            raise BadValue("it reads other tokens, or fewer of them.")
        blocks = self.recording.count_blocks()
        if blocks is not None and blocks != len(structure.blocks):
            raise BadValue(f"it has {len(structure.blocks)} blocks instead of {blocks}.")

    def tell_tokens(self, count: int) -> list[Token]:
        """The first `count` tokens with their texts."""
        loaded = self._loaded
        if loaded is None:
            return self._tokens[:count]
        if len(self._tokens) < count:
            self._tokens = loaded.tokens(self.token_ids[:count])
        return self._tokens[:count]

    # --- as a store ----------------------------------------------------------------------------------

    def zarr_store(self) -> ZarrStore:
        """The recording's store as it is now."""
        positions = self.positions
        key = (positions, self.loaded.anatomy, self.recording.rebuilt_difference)
        if self._store is None or self._store[0] != key:
            self._store = (key, self._make_store(positions))
        return self._store[1]

    def zarr_get(self, key: str) -> ZarrReply:
        """The bytes of one key of the store. Raises UnknownKey."""
        return self.zarr_store().get(key)

    def freeze(self, addresses: Sequence[str] | None = None) -> ZarrStore:
        """The store of what is recorded, for good; only of `addresses`, where given. What a saved folder holds."""
        positions = self.positions
        for address in list(self.sites):
            self.find_site(address)
        views = self._make_views(positions)
        chosen = (
            views if addresses is None else {address: views[address] for address in dict.fromkeys(addresses)}
        )
        # With a last token that stands past the context: there is no position to read it at, but it was written.
        everything = {
            **self._describe(len(self.token_ids)),
            "positions": positions,
            "text": self.loaded.decode(self.token_ids),
        }
        return ZarrStore(chosen, everything, growing=False)

    def _make_store(self, positions: int) -> ZarrStore:
        return ZarrStore(self._make_views(positions), self._describe(positions), growing=True)

    def _make_views(self, positions: int) -> dict[str, ArrayView]:
        return {
            site.address: ArrayView(
                shape=self.shape(site, positions),
                axes=tuple(site.axes),
                read=lambda region, address=site.address: self.read(address, region),  # type: ignore[misc]
                attributes={
                    "address": site.address,
                    "provenance": self.describe_site(site).provenance,
                    "units": "1",
                },
            )
            for site in self.sites.values()
            if site.check.status != "refused" and math.prod(self.shape(site, positions)) > 0
        }

    def _describe(self, count: int) -> dict[str, Any]:
        """The attributes of the store, with the first `count` tokens."""
        return {
            "model_id": self.loaded.model_id,
            "token_ids": self.token_ids[:count],
            "prompt_count": self.prompt_count,
            "tokens": [token.text for token in self.loaded.tokens(self.token_ids[:count])],
            "interventions": [given.model_dump() for given in self.interventions],
        }


def count_positions(loaded: LoadedModel, request: GenerationRequest) -> int:
    """How many positions a run of `request` has at most."""
    return min(len(request.token_ids) + request.max_new_tokens, loaded.context)


def describe_format(loaded: LoadedModel) -> str:
    """In which way a model is loaded, as far as its numbers depend on it."""
    dtype = str(loaded.dtype).removeprefix("torch.")
    kept = "" if loaded.quantize == "none" else f", {loaded.quantize}"
    return f"{dtype}{kept} on {loaded.device.type}"
