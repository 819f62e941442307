"""Engines of one base and its adapters in shared forwards: each text as alone, and nobody kept in memory."""

import gc
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from adapters import make_adapter
from tiny import make_model

from glassformer.anatomy.checkup import Checkup
from glassformer.compute.lora import NotMixable, mix
from glassformer.engine import company
from glassformer.engine.engine import Engine
from glassformer.engine.generation_request import GenerationRequest
from glassformer.engine.sequence import TokenSequence
from glassformer.engine.session import Session
from glassformer.files.catalog import Catalog
from glassformer.loading.adapter import load_adapter
from glassformer.loading.load import load_model
from glassformer.loading.loaded import LoadedModel
from glassformer.protocol.messages import Sampling

NAMES = ("one", "two", "three")


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def models(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[LoadedModel]:
    """A base and three adapters over it, of other ranks and other matrices each."""
    root = tmp_path_factory.mktemp("models").resolve()
    make_model(root / "base", request.param)
    changed = [
        ("q_proj", "down_proj", "c_attn"),
        ("v_proj", "o_proj", "c_fc"),
        ("q_proj", "up_proj", "c_proj"),
    ]
    for at, name in enumerate(NAMES):
        make_adapter(root / "base", root / name, names=changed[at], rank=at + 2, seed=at, size=0.3)
    return open_all(root)


def open_all(root: Path) -> list[LoadedModel]:
    catalog = Catalog([root])
    base = load_model(catalog.find("base"), root / "base", device="cpu")
    found = [base, *(load_adapter(catalog.find(name), root / name, base) for name in NAMES)]
    for loaded in found:
        loaded.checkup = Checkup(loaded)
        assert loaded.packing_fault is None
    return found


@pytest.fixture
def mixed_counts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Of how many models each shared forward was."""
    counts: list[int] = []
    compute = company.compute_mixed

    def count(mixed: Any, known: Any, jobs: Any) -> None:
        counts.append(len(jobs))
        compute(mixed, known, jobs)

    monkeypatch.setattr(company, "compute_mixed", count)
    return counts


def write(asked: list[tuple[Engine, list[int]]]) -> list[list[int]]:
    """The greedy ids that each of these sessions writes, all submitted at once."""
    ends = [threading.Event() for _ in asked]
    sequences, errors = [], []

    def end(which: int, error: BaseException | None) -> None:
        errors.append(error)
        ends[which].set()

    for at, (engine, ids) in enumerate(asked):
        request = GenerationRequest(ids, max_new_tokens=12, sampling=Sampling(temperature=0))
        sequences.append(TokenSequence(engine.loaded, request))
        engine.submit(Session(sequences[-1], lambda _: None, lambda error, at=at: end(at, error)))  # type: ignore[misc]
    assert all(each.wait(60) for each in ends)
    assert errors == [None] * len(asked)
    return [[*sequence.ids] for sequence in sequences]


def test_texts_of_several_adapters_share_forwards_and_are_as_alone(
    models: list[LoadedModel], mixed_counts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    engines = [Engine(loaded, max_running=8, max_waiting=8) for loaded in models]
    prompts = [[5, 9, 41, 7], [3, 12], [8, 8, 8, 2, 77, 4], [100, 3, 9]]
    asked = [(engine, prompt) for prompt in prompts for engine in engines]
    alone = [write([one])[0] for one in asked]
    assert not mixed_counts
    assert len({tuple(ids[4:]) for ids in alone[:4]}) == 4
    # However busy the machine is, who was in the last forward is waited for.
    monkeypatch.setattr(company, "WAIT_SHARE", 1e9)
    monkeypatch.setattr(company, "MOST_WAIT_SECS", 2.0)
    assert write(asked) == alone
    assert max(mixed_counts) == 4
    for engine in engines:
        engine.close()
        engine.join(10)


@torch.inference_mode()
def test_rows_of_a_mixed_forward_are_those_of_their_own_model(models: list[LoadedModel]) -> None:
    mixed = company.make_mixed(models[0], models)
    assert mixed is not None
    count = company.TRIED_IDS
    ids = [11, 4, 60]
    places = [(slice(at * count, (at + 1) * count), at) for at in range(4)]
    with company.mixing(places, 4 * count):
        found = company.try_rows(mixed, ids, 4)
    for at, loaded in enumerate(models):
        torch.testing.assert_close(
            found[at * count : (at + 1) * count], company.try_rows(loaded.model, ids, 1), atol=1e-5, rtol=1e-5
        )


def test_what_brings_whole_parameters_takes_turns(tmp_path: Path) -> None:
    make_model(tmp_path / "base", "llama")
    norm = {"base_model.model.model.norm.weight": torch.full((32,), 2.0)}
    for name in NAMES:
        make_adapter(tmp_path / "base", tmp_path / name, more=norm if name == "two" else None)
    models = open_all(tmp_path.resolve())
    with pytest.raises(NotMixable):
        mix(models[0].model, [models[2].model])
    assert company.make_mixed(models[0], models) is None
    assert company.make_mixed(models[0], [models[1], models[3]]) is not None


def test_nobody_is_kept_in_memory(tmp_path: Path) -> None:
    make_model(tmp_path / "base", "llama")
    for name in NAMES:
        make_adapter(tmp_path / "base", tmp_path / name)
    models = open_all(tmp_path.resolve())
    engines = [Engine(loaded, max_running=2, max_waiting=2) for loaded in models]
    write([(engine, [5, 9]) for engine in engines])
    gone = [weakref.ref(loaded) for loaded in models]
    weights = weakref.ref(models[0].model.get_input_embeddings())
    for engine in engines:
        engine.close()
        engine.join(10)
    del models, engines, engine
    gc.collect()
    assert [each() for each in gone] == [None] * 4
    assert weights() is None


def test_weights_of_an_adapter_go_with_it_while_the_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(company, "WAIT_SHARE", 1e9)
    monkeypatch.setattr(company, "MOST_WAIT_SECS", 2.0)
    made: list[weakref.ref[Any]] = []
    make = company.make_mixed

    def note(base: LoadedModel, models: Any) -> Any:
        mixed = make(base, models)
        made.append(weakref.ref(mixed))
        return mixed

    monkeypatch.setattr(company, "make_mixed", note)
    make_model(tmp_path / "base", "llama")
    for name in NAMES:
        make_adapter(tmp_path / "base", tmp_path / name, seed=len(name))
    models = open_all(tmp_path.resolve())
    engines = [Engine(loaded, max_running=2, max_waiting=2) for loaded in models]
    written = write([(engine, [5, 9]) for engine in engines])
    assert made
    gone = models.pop()
    weights = weakref.ref(next(one for name, one in gone.model.named_modules() if name.endswith("lora_A")))
    engine = engines.pop()
    engine.close()
    engine.join(10)
    del gone, engine
    gc.collect()
    assert weights() is None
    assert [each() for each in made] == [None] * len(made)
    assert write([(engine, [5, 9]) for engine in engines]) == written[:-1]
    for engine in engines:
        engine.close()
        engine.join(10)
