"""The generation loop against transformers' own `generate()`, and what a watcher sees of it."""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from glassformer.engine.decoding import Watcher as WatcherProtocol
from glassformer.engine.decoding import decode as decode_request
from glassformer.engine.generation_request import DecodedToken, GenerationRequest
from glassformer.errors import BadValue, TooLong
from glassformer.files.catalog import Catalog
from glassformer.loading.load import load_model
from glassformer.loading.loaded import LoadedModel
from glassformer.protocol.messages import Sampling

GREEDY = Sampling(temperature=0)
PROMPT = "the quick brown fox"


def generate(loaded: LoadedModel, ids: list[int], count: int, **options: object) -> list[int]:
    out = loaded.model.generate(
        torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        max_new_tokens=count,
        **options,
    )
    return out[0, len(ids) :].tolist()


def decode(
    loaded: LoadedModel,
    ids: list[int],
    sampling: Sampling,
    *,
    max_new_tokens: int,
    stop: tuple[str, ...] = (),
    cancelled: threading.Event | None = None,
    watcher: WatcherProtocol | None = None,
) -> Iterator[DecodedToken]:
    request = GenerationRequest(ids, sampling, max_new_tokens=max_new_tokens, stop=stop)
    return decode_request(loaded, request, cancelled=cancelled, watcher=watcher)


def run(loaded: LoadedModel, ids: list[int], sampling: Sampling, count: int, **options: object) -> list[int]:
    return [step.token_id for step in decode(loaded, ids, sampling, max_new_tokens=count, **options)]


def test_greedy_tokens_are_those_of_generate(loaded: LoadedModel) -> None:
    ids = loaded.encode(PROMPT)
    assert run(loaded, ids, GREEDY, 40) == generate(loaded, ids, 40, do_sample=False)


def test_greedy_with_a_penalty_is_that_of_generate(loaded: LoadedModel) -> None:
    ids = loaded.encode(PROMPT)
    sampling = Sampling(temperature=0, repetition_penalty=1.3)
    assert run(loaded, ids, sampling, 40) == generate(
        loaded, ids, 40, do_sample=False, repetition_penalty=1.3
    )


def test_seeded_samples_are_those_of_generate(loaded: LoadedModel) -> None:
    ids = loaded.encode(PROMPT)
    sampling = Sampling(temperature=0.8, top_k=40, top_p=0.9, repetition_penalty=1.2, seed=3)
    torch.manual_seed(3)
    expected = generate(
        loaded, ids, 40, do_sample=True, temperature=0.8, top_k=40, top_p=0.9, repetition_penalty=1.2
    )
    assert run(loaded, ids, sampling, 40) == expected


@pytest.mark.parametrize("name", ["tales", "sorter"])
def test_greedy_tokens_of_the_bundled_models(name: str) -> None:
    source = Catalog().find(name)
    assert source.folder is not None
    loaded = load_model(source, source.folder, device="cpu")
    for prompt in source.prompts[:2]:
        ids = loaded.encode(prompt)
        # The sorter's last letter is drawn from its last position, which generate() does too.
        count = min(60, loaded.context + 1 - len(ids))
        assert run(loaded, ids, GREEDY, count) == generate(loaded, ids, count, do_sample=False)


def test_a_watcher_does_not_change_the_tokens(loaded: LoadedModel) -> None:
    ids = loaded.encode(PROMPT)
    assert run(loaded, ids, GREEDY, 20, watcher=Watcher()) == run(loaded, ids, GREEDY, 20)


class Watcher:
    is_alone = False

    def __init__(self) -> None:
        self.spans: list[tuple[int, int]] = []
        self.rows: list[int] = []

    def wanted(self, count: int) -> frozenset[str]:
        return frozenset({"lm_head"})

    @contextmanager
    def watch(self, rows: slice, start: int, stop: int) -> Iterator[None]:
        assert rows.stop - rows.start == stop - start
        self.spans.append((start, stop))
        yield

    def see(self, capture: object, rows: slice, logits: Tensor) -> None:
        self.rows.append(logits.shape[0])

    def adopt(self, other: object, count: int) -> bool:
        return False


def test_a_watcher_sees_every_position_once(loaded: LoadedModel) -> None:
    ids, watcher = loaded.encode(PROMPT), Watcher()
    count = len(run(loaded, ids, GREEDY, 5, watcher=watcher))
    stops = [len(ids) + step for step in range(count + 1)]
    assert watcher.spans == list(zip([0, *stops], stops, strict=False))
    assert watcher.rows == [stop - start for start, stop in watcher.spans]


def test_no_new_tokens_still_records_the_prompt(loaded: LoadedModel) -> None:
    ids, watcher = loaded.encode(PROMPT), Watcher()
    assert run(loaded, ids, GREEDY, 0, watcher=watcher) == []
    assert watcher.spans == [(0, len(ids))]


def test_the_context_ends_a_generation(gpt2: LoadedModel) -> None:
    loaded = gpt2
    ids, watcher = [5] * (loaded.context - 3), Watcher()
    steps = list(decode(loaded, ids, GREEDY, max_new_tokens=50, watcher=watcher))
    # Three more fit, and one is drawn from the last position.
    assert [step.pos for step in steps] == [61, 62, 63, 64]
    assert steps[-1].finish_reason == "context"
    assert watcher.spans[-1] == (63, 64)


def test_prompts_that_cannot_be_read_are_refused(loaded: LoadedModel) -> None:
    with pytest.raises(TooLong, match="at most"):
        next(decode(loaded, [5] * (loaded.context + 1), GREEDY, max_new_tokens=1))
    with pytest.raises(BadValue):
        next(decode(loaded, [], GREEDY, max_new_tokens=1))
    # And the next request works.
    assert len(run(loaded, [5], GREEDY, 2)) <= 2


def test_stop_strings_end_and_are_never_seen(llama: LoadedModel) -> None:
    ids = llama.encode(PROMPT)
    sampling = Sampling(temperature=1.0, top_p=1.0, seed=11)
    whole = "".join(step.text for step in decode(llama, ids, sampling, max_new_tokens=60))
    for start in range(4, 40, 7):
        stop = whole[start : start + 3]
        steps = list(decode(llama, ids, sampling, max_new_tokens=60, stop=("never there", stop)))
        assert "".join(step.text for step in steps) == whole[: whole.index(stop)]
        assert steps[-1].finish_reason == "stop"


def test_an_end_token_stops_and_has_no_text(llama: LoadedModel) -> None:
    ids = llama.encode(PROMPT)
    sampling = Sampling(temperature=2.0, top_p=1.0, seed=1)
    steps = list(decode(llama, ids, sampling, max_new_tokens=2000))
    assert steps[-1].token_id in llama.eos_ids
    assert steps[-1].finish_reason == "stop"
    text = "".join(step.text for step in steps)
    assert text == llama.decode([*ids, *(step.token_id for step in steps)])[len(llama.decode(ids)) :]


def test_cancelling_ends_within_one_step(llama: LoadedModel) -> None:
    cancelled = threading.Event()
    steps = decode(llama, llama.encode(PROMPT), GREEDY, max_new_tokens=1000, cancelled=cancelled)
    next(steps)
    cancelled.set()
    assert list(steps) == []


def test_probabilities_are_those_of_the_logits(llama: LoadedModel) -> None:
    ids = llama.encode(PROMPT)
    steps = list(decode(llama, ids, Sampling(temperature=1, top_p=1, seed=5), max_new_tokens=5))
    with torch.no_grad():
        logits = llama.model(torch.tensor([[*ids, *(step.token_id for step in steps)]])).logits[0].softmax(-1)
    for step in steps:
        expected = float(logits[step.pos - 1, step.token_id])
        assert math.exp(step.logprob) == pytest.approx(expected, rel=1e-4)
        assert step.probability == pytest.approx(expected, rel=1e-4)
