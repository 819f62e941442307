"""What goes in between (a client that leaves, a model that is unloaded, memory that lacks) leaves nothing behind."""

import asyncio
import gc
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from leaving import wait_until
from serving import serving

from glassformer.errors import InUse
from glassformer.protocol.messages import TraceRequest
from glassformer.server.services import READING_THREADS, Services
from glassformer.settings import Settings

IDS = [*range(5, 45)]


def open_services(model_dir: Path) -> Services:
    return Services(Settings(model_dirs=[model_dir], offline=True, device="cpu"))


def test_a_request_that_is_cut_off_while_its_run_is_opened_leaves_no_run(model_dir: Path) -> None:
    async def cut_off() -> None:
        services = open_services(model_dir)
        loaded = await services.load("llama")
        reached, goes_on, opened = threading.Event(), threading.Event(), threading.Event()
        create = services.store.create

        def check(ids: list[int], field: str) -> None:
            reached.set()
            assert goes_on.wait(30)

        def note(*given: Any, **more: Any) -> Any:
            run = create(*given, **more)
            opened.set()
            return run

        services.store.create = note  # type: ignore[method-assign]
        body = TraceRequest(model_id="llama", token_ids=IDS)
        starting = asyncio.create_task(services.start_run(loaded, body, check))
        assert await asyncio.to_thread(reached.wait, 30)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        goes_on.set()
        assert await asyncio.to_thread(opened.wait, 30)
        await asyncio.to_thread(wait_until, lambda: not services.store.list())
        assert services.budget.held_bytes == 0
        assert not services.feeds
        services.registry.unload("llama")  # nothing uses it

    asyncio.run(cut_off())


def test_a_model_that_goes_before_its_run_meets_it_is_not_kept_by_that(model_dir: Path) -> None:
    async def meet() -> None:
        services = open_services(model_dir)
        loaded = await services.load("llama")
        feed = await services.start_run(
            loaded, TraceRequest(model_id="llama", token_ids=IDS), lambda ids, field: None
        )
        run = feed.run
        while run.is_running:
            await asyncio.sleep(0.01)
        services.registry.unload("llama")
        assert not run.has_model
        # Whoever asks has to wait for a thread when the model is there again, and it is unloaded meanwhile.
        gate = threading.Event()
        busy = [asyncio.create_task(services.read(gate.wait)) for _ in range(READING_THREADS)]
        asking = asyncio.create_task(services.ask(run, run.tell_tokens, 3))
        while services.registry.summary("llama").status != "ready":
            await asyncio.sleep(0.01)
        weights = weakref.ref(services.registry.load("llama").result().model)
        await asyncio.sleep(0.1)
        services.registry.unload("llama")
        gate.set()
        await asyncio.gather(*busy)
        with pytest.raises(InUse):
            await asking
        assert not run.has_model
        del asking, loaded
        async with asyncio.timeout(10):  # threads that have just ended hold it for a moment
            while weights() is not None:
                gc.collect()
                await asyncio.sleep(0.05)
        assert len(await services.ask(run, run.tell_tokens, 3)) == 3

    asyncio.run(meet())


def test_a_run_ends_for_which_there_is_no_memory_to_trim(
    model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone, refused = torch.Tensor.clone, []

    def refuse(self: torch.Tensor, **more: Any) -> torch.Tensor:
        if sys._getframe(1).f_code.co_name == "trim":
            refused.append(self.shape)
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")  # as torch says
        return clone(self, **more)

    body = {"model_id": "llama", "token_ids": IDS, "max_new_tokens": 3000, "sampling": {"temperature": 0}}
    with serving(model_dir) as running, running.client() as client:
        monkeypatch.setattr(torch.Tensor, "clone", refuse)
        made = client.post("/api/traces", json=body).json()
        run = running.services.store.get(made["id"])
        wait_until(lambda: len(run.steps) > 2)
        client.post(f"/api/traces/{made['id']}/stop")
        wait_until(
            lambda: client.get(f"/api/traces/{made['id']}").json()["status"] not in ("queued", "running")
        )
        assert refused
        assert not run.is_running
        assert run.reserved_bytes == 0
        assert run.nbytes == run.recording.nbytes
        # Its rows are there, the next text is written, and nothing holds the model.
        assert client.get(f"/api/traces/{made['id']}/zarr/resid_pre.1/0/c/0/0").status_code == 200
        again = {"model_id": "llama", "prompt": "the quick", "max_new_tokens": 3}
        assert client.post("/generate", json=again).status_code == 200
        wait_until(lambda: client.delete("/api/models/llama").status_code == 204)
