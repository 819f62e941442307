"""Whose turn it is: places in an engine are shared by its clients, not by their generations.

Max-min fairness over places (Bertsekas and Gallager, "Data Networks", 1992, section 6.5.2): nobody gets one more while
another who wants one has at least two fewer.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence

from glassformer.engine.session import Session

# Where several clients ask, fewer texts are written at once, as each of them makes everybody's next token later.
SHARED_PLACES = 0.25
# A client that has asked so lately is expected again.
EXPECTED_SECS = 1.0


class Turns:
    """Generations that wait for a place, a queue for each client, first come first served within it."""

    def __init__(self) -> None:
        # Whoever was served last comes last.
        self._queues: dict[str, deque[Session]] = {}
        self._seen_at: dict[str, float] = {}

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._queues.values())

    def __iter__(self) -> Iterator[Session]:
        for queue in self._queues.values():
            yield from queue

    def put(self, session: Session) -> None:
        self._queues.setdefault(session.client, deque()).append(session)

    def remove(self, session: Session) -> None:
        """Take out one that does not wait any more. Raises ValueError where it does not wait."""
        queue = self._queues.get(session.client, deque[Session]())
        queue.remove(session)
        if not queue:
            del self._queues[session.client]

    def clear(self) -> None:
        self._queues.clear()

    def share(self, running: Sequence[Session], places: int) -> tuple[list[Session], list[Session]]:
        """Whose turn it is now, and who of `running` gives way to them, to go on later as the first of its client's.

        Where there is no place, the latest of the client that has most gives way to one that has at least two fewer.
        """
        clients = {session.client for session in running} | self._queues.keys()
        now = time.monotonic()
        self._seen_at = {client: at for client, at in self._seen_at.items() if now - at < EXPECTED_SECS}
        self._seen_at.update(dict.fromkeys(clients, now))
        if len(self._seen_at) > 1:
            places = min(places, max(int(places * SHARED_PLACES), len(clients), 2))
        held = Counter(session.client for session in running)
        staying = list(running)
        joining: list[Session] = []
        leaving: list[Session] = []

        def give_way() -> None:
            most = max(held, key=lambda client: held[client])
            latest = max(at for at, session in enumerate(staying) if session.client == most)
            leaving.append(staying.pop(latest))
            held[most] -= 1

        while len(staying) > places:
            give_way()
        while self._queues:
            client = min(self._queues, key=lambda client: held[client])
            if len(staying) + len(joining) >= places:
                if max(held.values()) - held[client] < 2:
                    break
                give_way()
            joining.append(self._take(client))
            held[client] += 1
        for session in leaving:
            self._queues.setdefault(session.client, deque()).appendleft(session)
        return joining, leaving

    def _take(self, client: str) -> Session:
        queue = self._queues.pop(client)
        session = queue.popleft()
        if queue:
            self._queues[client] = queue
        return session
