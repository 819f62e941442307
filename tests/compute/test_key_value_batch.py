"""Sequences side by side against each alone: attention over a batch's slots, whoever joins, grows and leaves."""

import pytest
import torch
from torch import Tensor, nn

from glassformer.compute import key_value
from glassformer.compute.attention import attend_packed, watching
from glassformer.compute.attention_call import AttentionCall
from glassformer.compute.key_value import KeyValueBatch, KeyValueStore, PackedSpan
from glassformer.compute.key_value_batch import FEWEST_TOGETHER, MOST_POSITIONS, KeyValueBatches
from glassformer.compute.packed_row import Packing, Pattern

CPU = torch.device("cpu")
HEADS, KV_HEADS, WIDTH = 4, 2, 8


class Text:
    """A sequence with the keys and values that its store ought to hold, for one attention call."""

    def __init__(self, length: int) -> None:
        self.store = KeyValueStore()
        self.keys, self.values = torch.empty(0, KV_HEADS, WIDTH), torch.empty(0, KV_HEADS, WIDTH)
        if length:
            self.add(torch.randn(length, KV_HEADS, WIDTH), torch.randn(length, KV_HEADS, WIDTH))
            self.store.extend(0, 0, *(rows.transpose(0, 1)[None] for rows in (self.keys, self.values)))

    def __len__(self) -> int:
        return len(self.keys)

    def add(self, key: Tensor, value: Tensor) -> None:
        self.keys, self.values = torch.cat([self.keys, key]), torch.cat([self.values, value])

    def attend(self, query: Tensor) -> Tensor:
        """What transformers' equation gives for the last position: [head, d_head]."""
        shared = [head // (HEADS // KV_HEADS) for head in range(HEADS)]
        scores = torch.einsum("hd,khd->hk", query, self.keys[:, shared]) * WIDTH**-0.5
        return torch.einsum("hk,khd->hd", scores.softmax(-1), self.values[:, shared])


def attend(batches: KeyValueBatches, texts: list[Text], **kwargs: object) -> tuple[Tensor, Tensor, int]:
    """Write one position of each: the queries, what attention gave, and how many of them were put together."""
    query, key, value = (torch.randn(1, heads, len(texts), WIDTH) for heads in (HEADS, KV_HEADS, KV_HEADS))
    spans = [PackedSpan(slice(row, row + 1), len(text), text.store) for row, text in enumerate(texts)]
    together = batches.arrange(spans, CPU)
    carrier = torch.ones(1, 1, 1, 1, dtype=torch.bool)
    carrier.pattern = Causal({})  # type: ignore[attr-defined]
    module = nn.Module()
    module.num_key_value_groups = HEADS // KV_HEADS  # type: ignore[assignment]
    mixed, _ = attend_packed(Packing(spans, together), module, query, key, value, carrier, None, **kwargs)
    for row, text in enumerate(texts):
        text.add(key[0, :, row][None], value[0, :, row][None])
    return query, mixed, sum(len(batch.spans) for batch in together)


def step(batches: KeyValueBatches, texts: list[Text]) -> int:
    """Hold what attention gives for one position of each against each alone; how many of them attended together."""
    query, mixed, count = attend(batches, texts)
    for row, text in enumerate(texts):
        torch.testing.assert_close(mixed[0, row], text.attend(query[0, :, row]))
    return count


def count_bytes(batch: KeyValueBatch) -> int:
    return sum(keys.nbytes + values.nbytes for keys, values in batch._calls)


class Causal(Pattern):
    def mask(self, span: PackedSpan) -> None:
        return None


class Window(Pattern):
    """The last five positions, as sliding windows mask them."""

    def mask(self, span: PackedSpan) -> Tensor:
        return (torch.arange(span.stop) >= span.stop - 5)[None, None, None]


def test_rows_attend_together_as_each_would_alone() -> None:
    batches = KeyValueBatches()
    texts = [Text(length) for length in (3, 30, 61, 62, 100, 90, 70, 120, MOST_POSITIONS, 5)]
    counts = [step(batches, texts) for _ in range(8)]
    assert counts[0] == 9  # all but the long one
    assert counts[-1] == 6  # two of those below 64 positions are above, and three are too few


@pytest.mark.parametrize("seed", range(5))
def test_sequences_join_sit_out_and_leave_in_any_order(seed: int) -> None:
    torch.manual_seed(seed)
    batches, texts = KeyValueBatches(), [Text(length) for length in (1, 9, 33, 60, 63, 64)]
    for number in range(40):
        if number % 5 == 0:
            texts.append(Text(int(torch.randint(1, 80, ()))))
        if number % 7 == 0:
            left = texts.pop(int(torch.randint(len(texts), ())))
            batches.remove(left.store, len(left))
            texts.insert(int(torch.randint(len(texts), ())), left)  # and comes back with what it had
        if number % 9 == 0:
            left = texts.pop(int(torch.randint(len(texts), ())))
            batches.remove(left.store, 0)
            assert left.store.batch is None
        order = torch.randperm(len(texts))[: max(FEWEST_TOGETHER, len(texts) - 1)]
        step(batches, [texts[index] for index in order])


def test_what_is_not_a_number_stays_with_its_own_sequence() -> None:
    batches, texts = KeyValueBatches(), [Text(length) for length in (10, 11, 12, 40)]
    step(batches, texts)
    sick = texts.pop()
    for keys, values in sick.store.calls:
        keys.fill_(torch.nan)
        values.fill_(torch.inf)
    batches.remove(sick.store, 0)
    texts += [Text(2), Text(45)]  # one takes the slot over, the other makes the others look beyond their ends
    assert step(batches, texts) == 5


def test_windows_are_those_of_each_sequence() -> None:
    texts = [Text(length) for length in (3, 5, 9, 40)]
    spans = [PackedSpan(slice(row, row + 1), len(text), text.store) for row, text in enumerate(texts)]
    (rows,) = KeyValueBatches().arrange(spans, CPU)
    added = Window({}).mask_batch(rows, torch.float32)
    assert added.shape == (4, 1, 1, 41)
    for slot, span in zip(rows.slots, rows.spans, strict=True):
        open_positions = (added[slot, 0, 0] == 0).nonzero().flatten().tolist()
        assert open_positions == list(range(max(0, span.stop - 5), span.stop))
    assert added.isinf().sum() == 4 * 41 - 4 - 5 * 3


def test_sequences_for_which_there_is_no_memory_attend_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    batches, texts = KeyValueBatches(), [Text(length) for length in (3, 5, 9, 40)]

    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("no memory")

    with monkeypatch.context() as patch:
        patch.setattr(key_value, "make_slots", fail)
        assert step(batches, texts) == 0
    assert step(batches, texts) == 4
    # Nor does it hurt those that stay that there is none to give memory back.
    texts = [Text(4) for _ in range(20)] + texts
    assert step(batches, texts) == 24
    with monkeypatch.context() as patch:
        patch.setattr(key_value, "make_slots", fail)
        for text in texts[4:]:
            batches.remove(text.store, 0)
    assert step(batches, texts[:4]) == 4


def test_memory_goes_back_with_those_that_leave() -> None:
    batches, texts = KeyValueBatches(), [Text(10) for _ in range(32)]
    step(batches, texts)
    batch = texts[0].store.batch
    assert batch is not None
    full = count_bytes(batch)
    for text in texts[4:]:
        batches.remove(text.store, 0)
    assert count_bytes(batch) <= full / 3
    step(batches, texts[:4])
    for text in texts[:4]:
        batches.remove(text.store, len(text))
    assert count_bytes(batch) == 0
    assert len(texts[0]) == 12


def test_capped_attention_is_computed_alone() -> None:
    batches, texts = KeyValueBatches(), [Text(length) for length in (4, 5, 6, 7)]
    step(batches, texts)
    query, mixed, count = attend(batches, texts, softcap=1e6)  # as good as none
    assert count == 4
    for row, text in enumerate(texts):
        torch.testing.assert_close(mixed[0, row], text.attend(query[0, :, row]), atol=1e-4, rtol=1e-4)
    assert attend(batches, texts, softcap=1e6)[2] == 0  # nor are they put side by side again
    assert all(text.store.batch is None for text in texts)


def test_attention_that_somebody_watches_is_computed_alone() -> None:
    batches, texts = KeyValueBatches(), [Text(length) for length in (4, 5, 6, 7)]
    step(batches, texts)
    calls: list[AttentionCall] = []
    with watching(calls.append):
        assert step(batches, texts) == 4
    assert [call.key.shape[1] for call in calls] == [6, 7, 8, 9]
    assert step(batches, texts) == 4
