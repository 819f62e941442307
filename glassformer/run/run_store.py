"""All runs of a server, running and resting, under one byte budget.

What was looked at longest ago gives its rows up first. What is given up is run again from its token ids when someone
asks, so nothing is lost but time. A run that may come to take more than there is is refused before it starts.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence

from glassformer.budget import Budget, ByteCache
from glassformer.engine.generation_request import GenerationRequest
from glassformer.errors import UnknownTrace
from glassformer.loading.loaded import LoadedModel
from glassformer.protocol.messages import ChatMessage, Intervention
from glassformer.run.admission import admit, estimate_run
from glassformer.run.materialise import BlockSites
from glassformer.run.recorded import Answer, Recorded
from glassformer.run.run import Models, Run, count_positions

# Runs remembered at all, where nobody says; one whose residuals are gone still holds its tokens and steps.
MOST_RUNS = 512


class RunStore:
    """Runs by id, and the blocks of them that were run again. Safe to use from several threads.

    `budget` may be shared with what engines keep.
    """

    def __init__(self, budget: Budget | int, *, most_runs: int = MOST_RUNS) -> None:
        self.budget = Budget(budget) if isinstance(budget, int) else budget
        self.on_forget: list[Callable[[Run], None]] = []
        """Called with each run that is deleted, by whoever deletes it."""
        self._most_runs = most_runs
        # Looked at longest ago first.
        self._runs: OrderedDict[str, Run] = OrderedDict()
        # The one that is being looked at stays, however large.
        self._sites: ByteCache[tuple[str, int], BlockSites] = ByteCache(
            self.budget, lambda sites: sites.nbytes, keeps_newest=True
        )
        # What was answered to larger questions, by run; small beside the blocks it was made of.
        self._answers: ByteCache[tuple[str, Hashable], Answer] = ByteCache(
            self.budget, lambda answer: answer.nbytes
        )
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._runs)

    def create(
        self,
        loaded: LoadedModel,
        token_ids: list[int],
        prompt_count: int,
        *,
        request: GenerationRequest | None = None,
        prompt_field: str = "prompt",
        interventions: Sequence[Intervention] = (),
        prompt: str | None = None,
        messages: Sequence[ChatMessage] | None = None,
        models: Models | None = None,
    ) -> Run:
        """A new, empty run of `token_ids`. With a `request` it counts as running, and its memory is set aside.

        `prompt_field` is what is blamed for a prompt that is too long. `models` keeps its model in memory, where nobody
        else does.

        Raises BadValue as `Run` does and for one that is too large, and NoRoom while others hold the memory it needs.
        """
        run = Run(
            secrets.token_hex(8),
            loaded,
            token_ids,
            prompt_count,
            self,
            request=request,
            interventions=interventions,
            prompt=prompt,
            messages=messages,
            models=models,
        )
        with self._lock:
            if request is not None:
                self._admit(run, request, prompt_field)
            self._runs[run.id] = run
            self.budget.look_at(run)
        self.budget.make_room(keep=run)
        self._forget_oldest(keep=run)
        return run

    def _admit(self, run: Run, request: GenerationRequest, prompt_field: str) -> None:
        positions = count_positions(run.loaded, request)
        needed_bytes = estimate_run(run.loaded, positions)
        admit(
            needed_bytes,
            positions,
            limit_bytes=self.budget.limit_bytes,
            running_bytes=sum(held.nbytes for held in self._runs.values() if held.is_running),
            prompt_positions=len(request.token_ids),
            prompt_field=prompt_field,
        )
        run.reserved_bytes = needed_bytes
        run.is_running = True

    def _forget_oldest(self, keep: Run) -> None:
        """Delete runs that are over, until there are no more than allowed."""
        with self._lock:
            resting = [run for run in self._runs.values() if run is not keep and not run.is_running]
            resting.sort(key=lambda run: run.is_looked_at)
            surplus = resting[: max(0, len(self._runs) - self._most_runs)]
        for run in surplus:
            self.delete(run.id)

    def get(self, run_id: str) -> Run:
        """The run of that id, looked at now. Raises UnknownTrace."""
        with self._lock:
            run = self._runs.get(run_id)
            if run is None:
                raise UnknownTrace(run_id[:64])
            self._runs.move_to_end(run_id)
            self.budget.look_at(run)
        return run

    def list(self) -> list[Run]:
        """All runs, looked at longest ago first."""
        with self._lock:
            return [*self._runs.values()]

    def delete(self, run_id: str) -> None:
        """Forget a run and everything of it. Raises UnknownTrace."""
        with self._lock:
            run = self._runs.pop(run_id, None)
        if run is None:
            raise UnknownTrace(run_id[:64])
        run.is_forgotten = True
        self.budget.drop(run)
        self.drop_blocks(run_id)
        for tell in list(self.on_forget):
            tell(run)

    # --- what recordings ask for -----------------------------------------------------------------------

    def find(self, run_id: str, block: int, positions: int) -> BlockSites | None:
        """A block's sites for at least `positions` positions, if still there."""
        sites = self._sites.find((run_id, block))
        return None if sites is None or sites.positions < positions else sites

    def keep(self, run_id: str, block: int, sites: BlockSites) -> None:
        """Keep a block's sites; what was looked at longest ago goes."""
        if run_id in self._runs:
            self._sites.keep((run_id, block), sites)

    def find_answer(self, run_id: str, key: Hashable) -> Answer | None:
        """What was answered to a question about a run, if still there."""
        return self._answers.find((run_id, key))

    def keep_answer(self, run_id: str, key: Hashable, answer: Answer) -> None:
        """Keep an answer; what was looked at longest ago goes."""
        if run_id in self._runs:
            self._answers.keep((run_id, key), answer)

    def drop_blocks(self, run_id: str) -> None:
        """Keep no block of a run any more, and no answer."""
        for key, _ in self._sites.items():
            if key[0] == run_id:
                self._sites.drop(key)
        for place, _ in self._answers.items():
            if place[0] == run_id:
                self._answers.drop(place)

    def make_room(self, recorded: Recorded, needed_bytes: int) -> None:
        """Have others give their memory up for one that is made again."""
        run = self._runs.get(recorded.id)
        self.budget.make_room(needed_bytes, keep=run)

    def note_change(self, run_id: str) -> None:
        """The rows of a run are not those any more that others have begun with."""
        for run in self.list():
            run.recording.disown(run_id)
