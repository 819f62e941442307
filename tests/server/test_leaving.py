"""A client that goes away stops its generation within one step; stopping the server ends open streams."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from leaving import leave, wait_until
from serving import Running, read_events, serving

# Greedily, the tiny model falls into a circle and never ends by itself.
LONG = {"model_id": "llama", "prompt": "the quick", "max_new_tokens": 3500, "temperature": 0}


@pytest.mark.parametrize("path", ["/generate", "/generate/stream"])
def test_leaving_stops_the_steps(running: Running, client: httpx.Client, path: str) -> None:
    """Again and again: a cancellation must not get lost where it meets a token."""
    client.post("/generate", json={**LONG, "max_new_tokens": 1})
    wait_until(lambda: running.services.count_generations() == 0)
    for _ in range(25):
        # One step, in theory; on a busy machine the hanging-up itself takes some.
        assert leave(running, path, LONG, after_tokens=5) < 1000
    assert client.post("/generate", json={**LONG, "max_new_tokens": 2}).status_code == 200


def test_a_recording_goes_on_without_its_reader_until_it_is_stopped(
    running: Running, client: httpx.Client
) -> None:
    body = {
        "model_id": "llama",
        "prompt": "the quick",
        "max_new_tokens": 3000,
        "sampling": {"temperature": 0},
    }
    trace_id = client.post("/api/traces", json=body).json()["id"]
    with client.stream("GET", f"/api/traces/{trace_id}/events") as answer:
        for line in answer.iter_lines():
            if line.startswith("event: step"):
                break
    assert client.get(f"/api/traces/{trace_id}").json()["status"] == "running"
    client.post(f"/api/traces/{trace_id}/stop")
    wait_until(lambda: client.get(f"/api/traces/{trace_id}").json()["status"] == "stopped")
    state = client.get(f"/api/traces/{trace_id}").json()
    assert state["finish_reason"] == "cancelled"
    assert 2 < state["positions"] <= len(state["tokens"]) < 3000
    client.delete(f"/api/traces/{trace_id}")


def test_several_streams_move_together(running: Running, client: httpx.Client) -> None:
    # A first text may be written before it is known that others could join it.
    client.post("/generate", json={**LONG, "max_new_tokens": 1})
    ends: dict[int, list[float]] = {}

    def follow(number: int) -> None:
        with (
            running.client() as own,
            own.stream(
                "POST", "/generate/stream", json={**LONG, "max_new_tokens": 400, "seed": number}
            ) as answer,
        ):
            ends[number] = [time.monotonic() for chunk in answer.iter_text() if chunk]

    threads = [threading.Thread(target=follow, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    first_end = min(times[-1] for times in ends.values())
    assert len(ends) == 4
    assert all(times[0] < first_end for times in ends.values())


def test_a_full_queue_is_told(model_dir: Path) -> None:
    with serving(model_dir, max_running=1, max_waiting=0) as running, running.client() as client:
        client.post("/generate", json={**LONG, "max_new_tokens": 1})
        with client.stream("POST", "/generate/stream", json=LONG) as answer:
            chunks = answer.iter_text()  # kept: letting go of it would close the connection
            next(chunks)
            with running.client() as other:
                refused = other.post("/generate", json=LONG)
                assert refused.status_code == 429
                assert int(refused.headers["Retry-After"]) >= 1
                assert "error" in refused.json()
                assert other.post("/generate/stream", json=LONG).status_code == 429
                assert other.post("/api/traces", json={"model_id": "llama", "prompt": "x"}).status_code == 429
                assert other.get("/api/traces").json() == {"traces": []}
        wait_until(lambda: running.services.count_generations() == 0)
        assert client.post("/generate", json={**LONG, "max_new_tokens": 2}).status_code == 200


def test_a_deadline_ends_a_generation(model_dir: Path) -> None:
    with serving(model_dir, request_timeout_secs=1.0) as running, running.client() as client:
        wait_until(lambda: client.get("/ready").status_code == 200)
        late = client.post("/generate", json=LONG)
        assert late.status_code == 504
        assert "longer" in late.json()["error"]
        with client.stream("POST", "/generate/stream", json=LONG) as answer:
            raw = "".join(answer.iter_text())
        name, _, data = read_events(raw)[-1]
        assert name == "error"
        assert "longer" in json.loads(data)["error"]
        wait_until(lambda: running.services.count_generations() == 0)


def test_a_recording_that_nobody_waits_for_ends(model_dir: Path) -> None:
    body = {**LONG, "sampling": {"temperature": 0}}
    body.pop("temperature")
    with serving(model_dir, request_timeout_secs=1.0) as running, running.client() as client:
        wait_until(lambda: client.get("/ready").status_code == 200)
        left = client.post("/api/traces", json=body).json()["id"]
        wait_until(lambda: running.services.count_generations() == 0, secs=20)
        state = client.get(f"/api/traces/{left}").json()
        assert (state["status"], state["finish_reason"]) == ("stopped", "cancelled")
        assert 0 < state["positions"] < LONG["max_new_tokens"]
        # One that is followed takes as long as it takes.
        followed = client.post("/api/traces", json=body).json()["id"]
        started = time.monotonic()
        with client.stream("GET", f"/api/traces/{followed}/events", timeout=120) as answer:
            events = read_events("".join(answer.iter_text()))
        assert time.monotonic() - started > 1.0
        assert json.loads(events[-1][2])["status"] == "done"


def test_a_stopping_server_is_not_a_full_one(model_dir: Path) -> None:
    """503 and not 429: the client is to come back, not to slow down."""
    answers: list[httpx.Response] = []
    with serving(model_dir, shutdown_timeout_secs=5.0) as running, running.client() as client:
        client.post("/generate", json={**LONG, "max_new_tokens": 1})

        def ask(path: str, body: dict[str, Any]) -> None:
            with running.client() as other:
                answers.append(other.post(path, json=body))

        openai = {"model": "llama", "prompt": "the quick", "max_tokens": 3500, "temperature": 0}
        threads = [
            threading.Thread(target=ask, args=call)
            for call in (("/generate", LONG), ("/v1/completions", openai))
        ]
        for thread in threads:
            thread.start()
        wait_until(lambda: running.services.count_generations() == 2)
        running.server.should_exit = True
        for thread in threads:
            thread.join(30)
    assert [answer.status_code for answer in answers] == [503, 503]
    for answer in answers:
        assert int(answer.headers["Retry-After"]) >= 1
        assert "stopping" in answer.text


def test_what_comes_while_the_server_stops_is_told_so(model_dir: Path) -> None:
    with serving(model_dir) as running, running.client() as client:
        client.post("/generate", json={**LONG, "max_new_tokens": 1})
        running.services.close()
        for path, body in (
            ("/generate", LONG),
            ("/generate/stream", LONG),
            ("/api/traces", {"model_id": "llama", "prompt": "x"}),
            ("/tokenize", {"model_id": "llama", "prompt": "x"}),
        ):
            answer = client.post(path, json=body)
            assert (answer.status_code, "stopping" in answer.text) == (503, True), path
            assert int(answer.headers["Retry-After"]) >= 1


def test_stopping_the_server_ends_open_streams(model_dir: Path) -> None:
    ended: list[float] = []

    def follow(url: str, path: str, method: str) -> None:
        try:
            with httpx.stream(
                method, url + path, json=LONG if method == "POST" else None, trust_env=False
            ) as answer:
                for _ in answer.iter_text():
                    pass
        except httpx.HTTPError:
            pass
        ended.append(time.monotonic())

    with serving(model_dir) as running:
        with running.client() as client:
            client.post("/generate", json={**LONG, "max_new_tokens": 1})
            trace = client.post(
                "/api/traces",
                json={
                    "model_id": "llama",
                    "prompt": "x",
                    "max_new_tokens": 3000,
                    "sampling": {"temperature": 0},
                },
            ).json()
        threads = [
            threading.Thread(target=follow, args=(running.url, path, method), daemon=True)
            for path, method in [
                ("/generate/stream", "POST"),
                ("/generate", "POST"),
                (f"/api/traces/{trace['id']}/events", "GET"),
            ]
        ]
        for thread in threads:
            thread.start()
        time.sleep(0.3)
        started = time.monotonic()
        running.server.should_exit = True
        for thread in threads:
            thread.join(5)
    assert len(ended) == 3
    assert max(ended) - started < 3


def test_quiet_streams_send_comments(model_dir: Path) -> None:
    with serving(model_dir, ping_secs=0.02) as running, running.client() as client:
        wait_until(lambda: client.get("/ready").status_code == 200)
        loaded = running.services.registry.load("llama").result()
        # The lock as a long computation would hold it.
        with loaded.lock, client.stream("POST", "/generate/stream", json=LONG) as answer:
            assert next(answer.iter_lines()) == ": ping"


def test_a_server_that_has_stopped_computes_nothing(model_dir: Path) -> None:
    with serving(model_dir) as running, running.client() as client:
        wait_until(lambda: client.get("/ready").status_code == 200)
        begun = threading.Event()
        threads: list[threading.Thread] = []

        def dawdle(*_: object) -> None:
            thread = threading.current_thread()
            if thread.name.startswith("after loading"):
                threads.append(thread)
                begun.set()
                time.sleep(1.5)

        loaded = running.services.registry.load("llama").result()
        loaded.model.register_forward_pre_hook(dawdle)
        assert begun.wait(30)
    assert not threads[0].is_alive()
