"""All recordings of a server under one byte budget: the least recently used give their residuals up first.

What is given up is run again from its token ids when someone asks, so nothing is lost but time.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence

from glassformer.errors import UnknownTrace
from glassformer.loading.loaded import LoadedModel
from glassformer.protocol.messages import ChatMessage, Intervention
from glassformer.run.materialise import BlockSites
from glassformer.run.run import Run

# Share of the budget that materialised blocks may hold; the rest is for residuals.
SITES_SHARE = 0.5
# Traces remembered at all; one whose residuals are gone still holds its tokens and steps.
MAX_TRACES = 512


class RunStore:
    """Traces by id, and the cache of their materialised blocks. Safe to use from several threads."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._traces: OrderedDict[str, Run] = OrderedDict()
        self._sites: OrderedDict[tuple[str, int], BlockSites] = OrderedDict()
        self._lock = threading.RLock()

    def create(
        self,
        loaded: LoadedModel,
        token_ids: list[int],
        prompt_count: int,
        *,
        interventions: Sequence[Intervention] = (),
        prompt: str | None = None,
        messages: Sequence[ChatMessage] | None = None,
    ) -> Run:
        """A new, empty trace of `token_ids`; the run fills it. Raises BadValue as `Run` does."""
        trace = Run(
            secrets.token_hex(8),
            loaded,
            token_ids,
            prompt_count,
            self,
            interventions=interventions,
            prompt=prompt,
            messages=messages,
        )
        self.keep_trace(trace)
        return trace

    def keep_trace(self, trace: Run) -> None:
        """Count a trace among those of this store, which may have been made by another one."""
        with self._lock:
            self._traces[trace.id] = trace
            idle = [held.id for held in self._traces.values() if not held.is_running and held is not trace]
            for oldest in idle[: max(0, len(self._traces) - MAX_TRACES)]:
                self.delete(oldest)
        self._shrink(keep=trace.id)

    def get(self, trace_id: str) -> Run:
        """The trace of that id, now the most recently used. Raises UnknownTrace."""
        with self._lock:
            trace = self._traces.get(trace_id)
            if trace is None:
                raise UnknownTrace(trace_id)
            self._traces.move_to_end(trace_id)
        self._shrink(keep=trace_id)
        return trace

    def list(self) -> list[Run]:
        """All traces, least recently used first."""
        with self._lock:
            return [*self._traces.values()]

    def delete(self, trace_id: str) -> None:
        """Forget a trace and everything of it. Raises UnknownTrace."""
        with self._lock:
            if self._traces.pop(trace_id, None) is None:
                raise UnknownTrace(trace_id)
            for key in [key for key in self._sites if key[0] == trace_id]:
                del self._sites[key]

    # --- the cache of materialised blocks ------------------------------------------------------------

    def find(self, trace_id: str, block: int, positions: int) -> BlockSites | None:
        """A block's sites for at least `positions` positions, if still there."""
        with self._lock:
            sites = self._sites.get((trace_id, block))
            if sites is None or sites.positions < positions:
                return None
            self._sites.move_to_end((trace_id, block))
            return sites

    def keep(self, trace_id: str, block: int, sites: BlockSites) -> None:
        """Keep a block's sites; the least recently used go when the share is full."""
        with self._lock:
            if trace_id not in self._traces:
                return
            self._sites[trace_id, block] = sites
            self._sites.move_to_end((trace_id, block))
            total = sum(held.nbytes for held in self._sites.values())
            while total > self._budget_bytes * SITES_SHARE and len(self._sites) > 1:
                _, dropped = self._sites.popitem(last=False)
                total -= dropped.nbytes

    def _shrink(self, keep: str) -> None:
        with self._lock:
            total = sum(trace.nbytes for trace in self._traces.values())
            for trace in [*self._traces.values()]:
                if total <= self._budget_bytes * (1 - SITES_SHARE):
                    return
                held = trace.nbytes
                if trace.id != keep and trace.give_up():
                    total -= held
