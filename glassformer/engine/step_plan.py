"""What a step computes: a row for each text that is written, and as many rows of prompts as there is time for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from glassformer.engine.forward import Part
from glassformer.engine.pace import Pace
from glassformer.engine.sequence import TokenSequence
from glassformer.engine.session import Session

# How long a step may take that reads prompts: while other texts wait for their next token, and when none does. And
# prompts of one client, while another that has fewer texts waits for its next token.
SHARED_SECS, ALONE_SECS, FOREIGN_SECS = 0.1, 0.5, 0.03


def plan(sessions: Sequence[Session], pace: Pace) -> tuple[list[Part], int]:
    """What the next step of these computes, and how many rows it might have had."""
    writing = [session for session in sessions if session.sequence.pending == 1]
    reading = [session for session in sessions if session.sequence.pending > 1]
    parts = [Part(session.sequence, 1) for session in writing]
    if not reading:
        return parts, len(parts)
    secs = choose_secs([session.client for session in reading], [session.client for session in writing])
    rows = {client: pace.count_rows(most) for client, most in secs.items()}
    found = share_rows(reading, rows)
    return [*parts, *found], len(parts) + max(sum(part.count for part in found), *rows.values())


def choose_secs(readers: Sequence[str], writers: Sequence[str]) -> dict[str, float]:
    """How long prompts of each client may take in a step, by whose texts are read and whose are written.

    The longer, the more of a client's texts wait for their first token than for their next.
    """
    texts = Counter([*readers, *writers])
    clients = set(readers)
    if len(texts) == 1 and writers:
        return dict.fromkeys(clients, min(ALONE_SECS, SHARED_SECS * max(1.0, len(readers) / len(writers))))
    if len(texts) == 1:
        return dict.fromkeys(clients, ALONE_SECS)
    fewest = min((texts[client] for client in writers), default=len(readers))
    return {client: FOREIGN_SECS if texts[client] > fewest else SHARED_SECS for client in clients}


def share_rows(reading: Sequence[Session], most: Mapping[str, int]) -> list[Part]:
    """Rows for prompts: an equal part for each client; of its part the oldest gets half, then the shortest come first.

    `most` says how many each client may have. What one does not need is left to the others.
    """
    queues: dict[str, list[TokenSequence]] = {}
    for session in reading:
        queues.setdefault(session.client, []).append(session.sequence)
    wanted = {
        client: min(most[client], sum(each.pending for each in queue)) for client, queue in queues.items()
    }
    left = max(most[client] for client in queues)
    parts: list[Part] = []
    for place, client in enumerate(sorted(queues, key=lambda client: wanted[client])):
        found = _share_among(queues[client], min(wanted[client], left // (len(queues) - place)))
        left -= sum(part.count for part in found)
        parts += found
    return parts


def _share_among(sequences: Sequence[TokenSequence], rows: int) -> list[Part]:
    oldest = sequences[0]
    counts = {oldest: min(oldest.pending, rows // 2)}
    left = rows - counts[oldest]
    for sequence in sorted(sequences, key=lambda sequence: sequence.pending):
        count = min(sequence.pending, counts.get(sequence, 0) + left)
        left -= count - counts.get(sequence, 0)
        counts[sequence] = count
    return [Part(sequence, count) for sequence, count in counts.items() if count]
