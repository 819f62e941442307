"""The real registry fetches from a hub over HTTP: whole, broken off, gated, private, renamed, offline, without room."""

import logging
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from local_hub import LocalHub
from tiny import make_model

from glassformer.errors import (
    GlassformerError,
    HubUnreachable,
    ModelFailed,
    ModelGated,
    ModelRefused,
    NoRoom,
    Unavailable,
    UnknownModel,
)
from glassformer.files.catalog import Catalog, open_catalog
from glassformer.files.hub import translate
from glassformer.protocol.messages import LoadProgress
from glassformer.registry.registry import Registry
from glassformer.settings import Settings

SECRET = "hf_the-only-good-token"


def make_registry(hub: LocalHub, cache: Path, *, budget_bytes: int = 0, **options: Any) -> Registry:
    catalog = Catalog(hub_endpoint=hub.url, hub_cache=cache, **options)
    return Registry(catalog, device="cpu", budget_bytes=budget_bytes)


def fail(registry: Registry, model_id: str) -> GlassformerError:
    error = registry.load(model_id).exception(60)
    assert isinstance(error, GlassformerError)
    assert error.field == "model_id"
    assert "/" not in error.message.replace(model_id.split("@", maxsplit=1)[0], "")
    return error


def logits(registry: Registry, model_id: str) -> torch.Tensor:
    loaded = registry.load(model_id).result(60)
    return loaded.model(torch.tensor([[5, 6, 7]])).logits


@pytest.mark.parametrize("name", ["someone/whole", "someone/parts", "someone/loose"])
def test_what_is_fetched_is_what_lies_there(hub: LocalHub, cache: Path, models: Path, name: str) -> None:
    registry = make_registry(hub, cache)
    seen: list[LoadProgress] = []
    registry.listen(name, seen.append)
    local = Registry(Catalog([models], offline=True), device="cpu")
    assert torch.equal(logits(registry, name), logits(local, name))
    steps = [step for step in seen if step.done_bytes is not None]
    done = [step.done_bytes for step in steps]
    folder = models / name
    files = [file for file in folder.glob("*.safetensors") if file.name != "consolidated.safetensors"]
    total = sum(file.stat().st_size for file in files)
    assert len(steps) > 5
    assert done == sorted(done)
    assert {step.total_bytes for step in steps} == {total}
    assert (done[-1], steps[-1].fraction) == (total, 1.0)
    assert sum(asked.sent_bytes for asked in hub.transfers) == total
    # Nobody is logged in here, so no token is sent to anybody.
    assert {asked.token for asked in hub.asked} == {None}


def test_a_transfer_that_breaks_off_goes_on_where_it_stopped(
    hub: LocalHub, cache: Path, models: Path
) -> None:
    size = (models / "someone" / "whole" / "model.safetensors").stat().st_size
    hub.cut_after["model.safetensors"] = size // 2
    registry = make_registry(hub, cache)
    seen: list[LoadProgress] = []
    registry.listen("someone/whole", seen.append)
    assert torch.isfinite(logits(registry, "someone/whole")).all()
    first, second = hub.transfers
    assert first.first_byte is None
    assert first.sent_bytes == size // 2
    # Whole pieces are kept, the one under way is asked for again.
    assert second.first_byte is not None
    assert size // 4 < second.first_byte <= size // 2
    assert second.sent_bytes == size - second.first_byte < size
    done = [step.done_bytes for step in seen if step.done_bytes is not None]
    assert done == sorted(done)
    assert done[-1] == size


def test_a_hub_that_goes_away_is_told_and_the_files_that_came_are_kept(
    hub: LocalHub, cache: Path, models: Path
) -> None:
    hub.cut_after["b.safetensors"] = 20_000
    hub.is_down_after_cut = hub.cuts_last = True
    registry = make_registry(hub, cache)
    error = fail(registry, "someone/parts")
    assert isinstance(error, HubUnreachable)
    assert error.retry_after_secs >= 10
    # Asked for again while it is down: there is no half of a model.
    assert isinstance(fail(registry, "someone/parts"), ModelFailed)
    hub.is_down = False
    hub.asked.clear()
    assert torch.isfinite(logits(registry, "someone/parts")).all()
    assert [Path(asked.path).name for asked in hub.transfers] == ["b.safetensors"]


def test_a_gated_model_wants_a_token_that_nobody_else_sees(
    hub: LocalHub, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    hub.gated.add("someone/whole")
    error = fail(make_registry(hub, cache), "someone/whole")
    assert isinstance(error, ModelGated)
    assert "hub_token" in error.message
    assert not hub.transfers
    wrong = fail(make_registry(hub, cache, hub_token="hf_another"), "someone/whole")
    assert isinstance(wrong, ModelRefused)
    assert "does not accept" in wrong.message
    hub.asked.clear()
    settings = Settings(hub_endpoint=hub.url, hub_cache=cache, hub_token=SECRET)  # type: ignore[arg-type]
    registry = Registry(open_catalog(settings), device="cpu")
    assert torch.isfinite(logits(registry, "someone/whole")).all()
    assert {asked.token for asked in hub.asked if not asked.path.startswith("/cdn/")} == {SECRET}
    # Where the hub sends its clients for large files is another host, which is owed no token.
    assert {asked.token for asked in hub.asked if asked.path.startswith("/cdn/")} == {None}
    told = (
        caplog.text + repr(settings) + str(settings) + settings.model_dump_json() + repr(registry.catalog.hub)
    )
    assert SECRET not in told


def test_a_private_model_does_not_exist_for_others(hub: LocalHub, cache: Path) -> None:
    hub.private.add("someone/whole")
    error = fail(make_registry(hub, cache), "someone/whole")
    assert isinstance(error, UnknownModel)
    assert "private" in error.message
    assert make_registry(hub, cache, hub_token=SECRET).load("someone/whole").result(60)


def test_a_renamed_model_is_found_under_its_old_name(hub: LocalHub, cache: Path) -> None:
    hub.renamed["someone/before"] = "someone/whole"
    registry = make_registry(hub, cache)
    expected = logits(registry, "someone/whole")
    assert torch.equal(logits(registry, "someone/before"), expected)
    # And without the hub as well.
    offline = make_registry(hub, cache, offline=True)
    assert torch.equal(logits(offline, "someone/before"), expected)


def test_a_revision_is_another_model(hub: LocalHub, cache: Path, tmp_path: Path) -> None:
    hub.revisions["someone/whole", "v2"] = make_model(tmp_path / "v2", "llama", intermediate_size=64)
    registry = make_registry(hub, cache)
    new, old = (registry.load(f"someone/whole{at}").result(60) for at in ("@v2", ""))
    assert (new.config.intermediate_size, old.config.intermediate_size) == (64, 56)
    assert (new.model_id, old.model_id) == ("someone/whole@v2", "someone/whole")
    error = fail(registry, "someone/whole@v3")
    assert isinstance(error, UnknownModel)
    assert "no such revision" in error.message
    found = hub.find("someone/whole", "v2")
    assert found
    hub.asked.clear()
    assert make_registry(hub, cache, offline=True).load(f"someone/whole@{found[1]}").result(60)
    assert not hub.asked


def test_offline_the_cache_is_all_there_is(hub: LocalHub, cache: Path) -> None:
    expected = logits(make_registry(hub, cache), "someone/whole")
    hub.asked.clear()
    registry = make_registry(hub, cache, offline=True)
    assert torch.equal(logits(registry, "someone/whole"), expected)
    error = fail(registry, "someone/parts")
    assert isinstance(error, UnknownModel)
    assert "cannot be asked now" in error.message
    assert not hub.asked


def test_a_hub_that_is_down_does_not_keep_what_is_here(hub: LocalHub, cache: Path) -> None:
    expected = logits(make_registry(hub, cache), "someone/whole")
    hub.is_down = True
    assert torch.equal(logits(make_registry(hub, cache), "someone/whole"), expected)


def test_the_cache_is_where_the_settings_say(hub: LocalHub, cache: Path, tmp_path: Path) -> None:
    make_registry(hub, cache).load("someone/whole").result(60)
    assert len(list(cache.rglob("snapshots/*/model.safetensors"))) == 1
    assert not (tmp_path / "usual").exists()


def test_a_disk_without_room_is_told_before_anything_large_comes(hub: LocalHub, cache: Path) -> None:
    hub.told_bytes["model.safetensors"] = 10**15
    error = fail(make_registry(hub, cache), "someone/whole")
    assert isinstance(error, NoRoom)
    assert error.message.startswith("The model's files take 1000.0 TB, and the disk of the model cache has ")
    assert not hub.transfers


def test_a_cache_that_cannot_be_written_is_told(hub: LocalHub, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    error = fail(make_registry(hub, tmp_path / "file" / "cache"), "someone/whole")
    assert isinstance(error, ModelFailed)
    assert error.message == "The model cache cannot be written, so the model cannot be downloaded."


def test_a_disk_that_fills_up_meanwhile_is_told() -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        Path("/dev/full").write_text("x")
    error = translate("someone/whole", caught.value)
    assert isinstance(error, NoRoom)
    assert "full" in error.message


def test_a_model_too_large_for_the_memory_is_refused_before_it_is_fetched(hub: LocalHub, cache: Path) -> None:
    error = fail(make_registry(hub, cache, budget_bytes=50_000), "someone/parts")
    assert isinstance(error, NoRoom)
    assert "are set aside for models" in error.message
    assert not hub.transfers
    heads = [asked for asked in hub.asked if asked.path.startswith("/cdn/")]
    assert {Path(asked.path).name for asked in heads} == {"a.safetensors", "b.safetensors"}


def test_one_broken_file_ends_the_others(hub: LocalHub, cache: Path) -> None:
    hub.cut_after["a.safetensors"] = 10
    hub.is_down_after_cut = True
    assert isinstance(fail(make_registry(hub, cache), "someone/parts"), HubUnreachable)


def test_a_model_that_the_hub_has_as_gguf_alone_says_how_to_fetch_one(hub: LocalHub, cache: Path) -> None:
    error = fail(make_registry(hub, cache), "someone/packed")
    assert isinstance(error, ModelRefused)
    assert error.message == (
        "The model is on the hub as GGUF alone (2 files). Fetch one and open that: "
        "hf download someone/packed tiny.Q4_0.gguf --local-dir model"
    )


def test_a_download_that_is_cancelled_ends_at_its_next_piece(hub: LocalHub, cache: Path) -> None:
    registry = make_registry(hub, cache)
    under_way = threading.Event()

    def cancel(progress: LoadProgress) -> None:
        if progress.stage == "downloading" and progress.fraction and not under_way.is_set():
            under_way.set()
            registry.unload("someone/whole")

    future, _ = registry.listen("someone/whole", cancel)
    with pytest.raises(Unavailable, match="cancelled"):
        future.result(60)
    for thread in threading.enumerate():
        if thread.name == "load someone/whole":
            thread.join(60)
    size = (hub.root / "someone" / "whole" / "model.safetensors").stat().st_size
    assert 0 < sum(asked.sent_bytes for asked in hub.transfers) <= size
    assert not (find := list(cache.rglob("model.safetensors"))), find
    assert registry.load("someone/whole").result(60).model_id == "someone/whole"
