"""Recordings over HTTP: their life, their events, their cells; the numbers are those of transformers."""

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from serving import Running, read_events, serving
from tiny import read_model
from transformers import AutoTokenizer

from glassformer.protocol.messages import TraceRequest
from glassformer.run.run import Run
from glassformer.server.services import QUICK_THREADS, Services
from glassformer.settings import Settings

PROMPT = "the quick brown fox"


def record(client: httpx.Client, **body: Any) -> dict[str, Any]:
    """A finished recording's state."""
    answer = client.post("/api/traces", json={"model_id": "llama", "prompt": PROMPT, **body})
    assert answer.status_code == 201, answer.text
    events = read_events(client.get(f"/api/traces/{answer.json()['id']}/events").text)
    return json.loads(events[-1][2])  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def reference(model_dir: Path) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(model_dir / "llama")
    model = read_model(model_dir / "llama", attn_implementation="eager")
    return tokenizer, model


def test_a_prompt_alone(client: httpx.Client, reference: Any) -> None:
    tokenizer, _ = reference
    state = record(client)
    ids = tokenizer(PROMPT)["input_ids"]
    assert [token["id"] for token in state["tokens"]] == ids
    assert state["status"] == "done"
    assert state["positions"] == state["prompt_count"] == len(ids)
    assert state["bytes"] > 0


def test_greedy_tokens_are_those_of_generate(client: httpx.Client, reference: Any) -> None:
    tokenizer, model = reference
    ids = tokenizer(PROMPT, return_tensors="pt")
    expected = model.generate(**ids, do_sample=False, max_new_tokens=12)[0].tolist()
    state = record(client, max_new_tokens=12, sampling={"temperature": 0})
    assert [token["id"] for token in state["tokens"]] == expected
    # Every token has been read by the model, the last one too.
    assert state["positions"] == len(expected)
    assert state["tokens_per_sec"] > 0


def test_events_tell_the_run_and_resume(client: httpx.Client, reference: Any) -> None:
    tokenizer, _ = reference
    state = record(client, max_new_tokens=6, sampling={"seed": 2, "temperature": 1})
    path = f"/api/traces/{state['id']}/events"
    events = read_events(client.get(path).text)
    assert [id_ for _, id_, _ in events] == [str(number) for number in range(len(events))]
    names = [name for name, _, _ in events]
    assert names == ["state", "state", *["step"] * (len(state["tokens"]) - state["prompt_count"]), "state"]
    recorded = json.loads(events[1][2])
    assert recorded["positions"] >= recorded["prompt_count"]
    steps = [json.loads(data) for name, _, data in events if name == "step"]
    assert [step["pos"] for step in steps] == list(range(state["prompt_count"], len(state["tokens"])))
    assert [step["token"] for step in steps] == state["tokens"][state["prompt_count"] :]
    assert all(0 < step["model_probability"] <= 1 for step in steps)
    ids = [token["id"] for token in state["tokens"]]
    whole, prompt = (tokenizer.decode(some) for some in (ids, ids[: state["prompt_count"]]))
    assert prompt + "".join(step["text"] for step in steps) == whole
    resumed = read_events(client.get(path, headers={"Last-Event-ID": "3"}).text)
    assert resumed == events[4:]
    assert read_events(client.get(path, headers={"Last-Event-ID": "nonsense"}).text) == events
    assert client.get(path, headers={"Last-Event-ID": "999"}).text == ""


def test_token_ids_and_messages(client: httpx.Client) -> None:
    state = record(client, prompt=None, token_ids=[5, 6, 7])
    assert [token["id"] for token in state["tokens"]] == [5, 6, 7]
    chat = [{"role": "user", "content": "Mia has a ball. Who has the ball?"}]
    state = record(client, model_id="tales", prompt=None, messages=chat)
    assert state["tokens"][0]["special"]
    assert len(state["tokens"]) > 8


def test_the_list_and_the_end_of_a_recording(client: httpx.Client) -> None:
    state = record(client)
    assert state["id"] in [trace["id"] for trace in client.get("/api/traces").json()["traces"]]
    assert client.get(f"/api/traces/{state['id']}").json() == state
    assert client.delete(f"/api/traces/{state['id']}").status_code == 204
    assert client.get(f"/api/traces/{state['id']}").status_code == 404
    assert client.delete(f"/api/traces/{state['id']}").status_code == 404


def test_the_distribution_is_that_of_the_model(client: httpx.Client, reference: Any) -> None:
    _, model = reference
    state = record(client, max_new_tokens=4, sampling={"temperature": 0})
    ids = [token["id"] for token in state["tokens"]]
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0]
    for pos in range(len(ids)):
        answer = client.get(
            f"/api/traces/{state['id']}/distribution", params={"pos": pos, "limit": 1000}
        ).json()
        expected = logits[pos].softmax(-1)
        for candidate in answer["candidates"]:
            assert candidate["probability"] == pytest.approx(
                float(expected[candidate["token"]["id"]]), abs=1e-5
            )
        assert answer["chosen"] == (ids[pos + 1] if pos + 1 < len(ids) else None)
    greedy = client.get(
        f"/api/traces/{state['id']}/distribution", params={"pos": len(ids) - 2, "temperature": 0}
    ).json()
    assert greedy["candidates"][0]["filtered_probability"] == 1.0
    assert greedy["candidates"][0]["token"]["id"] == greedy["chosen"]


def test_a_distribution_is_shown_as_it_was_drawn(client: httpx.Client) -> None:
    sampling = {
        "temperature": 1.2,
        "top_p": 0.9,
        "top_k": 100,
        "presence_penalty": 1.0,
        "logit_bias": {"40": 2.0},
        "forced_token_ids": [60],
        "constraint": {"regex": "[^0-9]{1,60}"},
        "seed": 3,
    }
    state = record(client, max_new_tokens=5, sampling=sampling)
    path, start = f"/api/traces/{state['id']}/distribution", state["prompt_count"] - 1
    events = read_events(client.get(f"/api/traces/{state['id']}/events").text)
    steps = [json.loads(data) for name, _, data in events if name == "step"]
    assert steps[0]["token"]["id"] == 60
    for step in steps:
        shown = client.get(path, params={"pos": step["pos"] - 1}).json()
        names = [stage["filter"] for stage in shown["stages"]]
        assert names == ["logit_bias", "presence_penalty", "constraint", "temperature", "top_k", "top_p"]
        assert shown["forced"] == (step["pos"] == start + 1)
        chosen = next(each for each in shown["candidates"] if each["token"]["id"] == shown["chosen"])
        assert len(chosen["stages"]) == len(names)
        if not shown["forced"]:
            # A recomputed residual rounds otherwise than the decoded one.
            assert chosen["filtered_probability"] == pytest.approx(step["probability"], rel=1e-3)
    changed = client.get(path, params={"pos": start, "top_p": 1, "typical_p": 0.5, "min_p": 0.1}).json()
    assert [stage["filter"] for stage in changed["stages"]][3:] == [
        "temperature",
        "top_k",
        "min_p",
        "typical_p",
    ]
    # Within the prompt nothing was drawn, so no constraint held.
    prompt = client.get(path, params={"pos": 0}).json()
    assert "constraint" not in [stage["filter"] for stage in prompt["stages"]]


def test_cells_are_those_of_transformers(client: httpx.Client, reference: Any) -> None:
    _, model = reference
    state = record(client, max_new_tokens=4, sampling={"temperature": 0})
    ids = torch.tensor([[token["id"] for token in state["tokens"]]])
    with torch.no_grad():
        out = model(ids, output_hidden_states=True, output_attentions=True)
    base = f"/api/traces/{state['id']}"
    for address, expected in (
        ("resid_pre.1", out.hidden_states[1][0]),
        ("attn_probs.1", out.attentions[1][0]),
    ):
        meta = client.get(f"{base}/zarr/{address}/0/zarr.json").json()
        assert meta["shape"] == list(expected.shape)
        chunk = meta["chunk_grid"]["configuration"]["chunk_shape"]
        # Leading axes are cut one by one; rows and columns of so few positions lie in one chunk.
        for lead in np.ndindex(*expected.shape[:-2]):
            key = "/".join(map(str, (*lead, 0, 0)))
            body = client.get(f"{base}/zarr/{address}/0/c/{key}").content
            cells = np.frombuffer(body, "<f4").reshape(chunk[-2:])
            rows, columns = expected.shape[-2:]
            np.testing.assert_allclose(cells[:rows, :columns], expected[lead].numpy(), atol=1e-5)
    answer = client.get(f"{base}/explain", params={"address": "attn_probs.1", "index": "2,3,1"}).json()
    assert answer["value"] == pytest.approx(float(out.attentions[1][0, 2, 3, 1]), abs=1e-5)
    assert answer["recomputed"] == pytest.approx(answer["value"], abs=1e-5)


def test_chunks_are_asked_for_again_and_not_sent_twice(client: httpx.Client) -> None:
    state = record(client, token_ids=[5] * 70, prompt=None)
    base = f"/api/traces/{state['id']}/zarr"
    done, growing = client.get(f"{base}/resid_pre.0/0/c/0/0"), client.get(f"{base}/resid_pre.0/0/c/1/0")
    for answer in (done, growing):
        assert answer.headers["Cache-Control"] == "private, no-cache"
        etag = answer.headers["ETag"]
        again = client.get(str(answer.url), headers={"If-None-Match": f'"other", {etag}'})
        assert again.status_code == 304
        assert again.headers["ETag"] == etag
    assert client.head(f"{base}/zarr.json").status_code == 200


def test_the_oldest_recordings_make_room(model_dir: Path) -> None:
    with serving(model_dir, max_traces=5) as running, running.client() as client:

        def held() -> list[str]:
            return [trace["id"] for trace in client.get("/api/traces").json()["traces"]]

        made: list[str] = []
        for _ in range(7):
            made.append(record(client)["id"])
            assert held() == made[-5:]
        refused = {
            "model_id": "llama",
            "prompt": PROMPT,
            "interventions": [{"address": "z.7", "operation": "zero"}],
        }
        assert client.post("/api/traces", json=refused).status_code == 422
        assert held() == made[-5:]


def test_metrics_count(running: Running, client: httpx.Client) -> None:
    record(client)
    text = client.get("/metrics").text
    assert 'glassformer_tokens_total{kind="prompt"}' in text
    assert "glassformer_recordings " in text
    assert 'route="/api/traces/{trace_id}/events"' in text


def test_invented_methods_make_no_series(client: httpx.Client) -> None:
    for method in ("PROPFIND", "MKCOL", "REPORT"):
        assert client.request(method, "/api/traces").status_code == 405
    text = client.get("/metrics").text
    assert 'method="other"' in text
    assert "PROPFIND" not in text


def test_a_run_that_is_given_up_before_it_begins_leaves_nothing(model_dir: Path) -> None:
    """As when the deadline passes while its grammar is being built."""

    async def give_up() -> tuple[Run, list[Run]]:
        services = Services(Settings(model_dirs=[model_dir], offline=True, device="cpu"))
        loaded = await services.load("llama")
        gate, loop, busy = threading.Event(), asyncio.get_running_loop(), []

        def occupy() -> None:
            busy.extend(asyncio.create_task(services.quick(gate.wait)) for _ in range(QUICK_THREADS))

        body = TraceRequest(model_id="llama", token_ids=[5, 6])
        starting = asyncio.create_task(
            services.start_run(loaded, body, lambda ids, field: loop.call_soon_threadsafe(occupy))
        )
        while not busy or not services.feeds:
            await asyncio.sleep(0.01)
        (run,) = services.store.list()
        assert run.is_running
        assert run.nbytes > 0
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        gate.set()
        await asyncio.gather(*busy)
        return run, services.store.list()

    run, kept = asyncio.run(give_up())
    assert not run.is_running
    assert kept == []


def test_a_fault_at_the_start_leaves_the_model_free(model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = threading.Thread.start

    def refuse(self: threading.Thread) -> None:
        if self.name == "engine llama":
            raise RuntimeError("can't start new thread")  # as Python says where the system has no more
        begin(self)

    bodies = {
        "/api/traces": {"model_id": "llama", "prompt": PROMPT},
        "/generate": {"model_id": "llama", "prompt": PROMPT},
    }
    with serving(model_dir) as running, running.client() as client:
        client.get("/api/models/llama/load")
        monkeypatch.setattr(threading.Thread, "start", refuse)
        for path, body in bodies.items():
            assert client.post("/api/models/llama/load").status_code == 202
            client.get("/api/models/llama/load")
            assert client.post(path, json=body).status_code == 500
            assert client.get("/api/traces").json() == {"traces": []}
            assert client.delete("/api/models/llama").status_code == 204, path


def test_states_are_not_kept_with_their_tokens(running: Running, client: httpx.Client) -> None:
    """Three copies of a long recording's tokens for each would be memory that no budget knows of."""
    state = record(client, prompt=None, token_ids=[5] * 3000, max_new_tokens=2)
    run = running.services.feeds[state["id"]]
    kept = sum(len(getattr(told, "data", "")) for told in run._events)
    told = client.get(f"/api/traces/{state['id']}/events").text
    assert len(told) > 100_000
    assert kept < 5000


def test_an_intervened_run_is_that_of_hooked_transformers(client: httpx.Client, reference: Any) -> None:
    """Steered from the third token on, generated tokens included; the change comes back in the state and the store."""
    _, model = reference
    change = {"address": "mlp_out.0", "operation": "scale", "value": -3.0, "index": {"pos": {"start": 2}}}
    state = record(client, max_new_tokens=5, sampling={"temperature": 0}, interventions=[change])
    ids = [token["id"] for token in state["tokens"]]

    def steer(_: Any, __: Any, output: torch.Tensor) -> torch.Tensor:
        output = output.clone()
        output[:, 2:] *= -3.0
        return output

    handle = model.model.layers[0].mlp.register_forward_hook(steer)
    try:
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0]
    finally:
        handle.remove()
    for pos in range(state["prompt_count"] - 1, len(ids) - 1):
        assert ids[pos + 1] == int(logits[pos].argmax())
    assert state["interventions"] == [{**change, "index": {"pos": {"start": 2, "stop": None}}}]
    attributes = client.get(f"/api/traces/{state['id']}/zarr/zarr.json").json()["attributes"]
    assert attributes["interventions"] == state["interventions"]
    assert attributes["tokens"] == [token["text"] for token in state["tokens"]]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"address": "z.7", "operation": "zero"}, "interventions.0.address"),
        ({"address": "z.1", "operation": "zero", "index": {"head": [4]}}, "interventions.0.index.head"),
        ({"address": "z.1", "operation": "zero", "index": {"head": ["x"]}}, "interventions.0.index"),
        ({"address": "mlp_out.1", "operation": "add", "value": [1.0, 2.0]}, "interventions.0.value"),
        ({"address": "mlp_out.1", "operation": "add", "value": "NaN"}, "interventions.0.value"),
        ({"address": "mlp_out.1", "operation": "explode"}, "interventions.0.operation"),
    ],
)
def test_an_intervention_that_cannot_be_is_refused(
    client: httpx.Client, change: dict[str, Any], field: str
) -> None:
    text = json.dumps({"model_id": "llama", "prompt": PROMPT, "interventions": [change]}).replace(
        '"NaN"', "NaN"
    )
    before = len(client.get("/api/traces").json()["traces"])
    answer = client.post("/api/traces", content=text, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["field"] == field
    assert len(client.get("/api/traces").json()["traces"]) == before


def test_the_lens_ends_in_the_models_own_prediction(client: httpx.Client, reference: Any) -> None:
    _, model = reference
    state = record(client, max_new_tokens=3, sampling={"temperature": 0})
    ids = torch.tensor([[token["id"] for token in state["tokens"]]])
    with torch.no_grad():
        out = model(ids, output_hidden_states=True)
        early = model.lm_head(model.model.norm(out.hidden_states[1]))[0]
    path = f"/api/traces/{state['id']}/lens"
    rows = client.get(path, params={"pos": 1, "count": 2, "top": 3}).json()["rows"]
    assert [(row["address"], row["block"], row["pos"]) for row in rows] == [
        (address, block, pos)
        for block, address in enumerate(["resid_pre.0", "resid_pre.1", "resid_post.1"])
        for pos in (1, 2)
    ]
    for row, expected in ((rows[2], early[1]), (rows[5], out.logits[0, 2])):
        best = expected.topk(3)
        assert [candidate["token"]["id"] for candidate in row["candidates"]] == best.indices.tolist()
        assert [candidate["logit"] for candidate in row["candidates"]] == pytest.approx(
            best.values.tolist(), abs=1e-4
        )
    chosen = client.get(path, params={"pos": 0, "address": ["resid_post.0"]}).json()["rows"]
    assert [row["address"] for row in chosen] == ["resid_post.0"]
    for params, field in (
        ({"pos": 99}, "pos"),
        ({"pos": 0, "address": "q.0"}, "address"),
        ({"pos": 0, "top": 0}, "top"),
    ):
        answer = client.get(path, params=params)
        assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_a_lens_on_everything_is_refused(client: httpx.Client) -> None:
    state = record(client, prompt=None, token_ids=[5] * 600)
    path = f"/api/traces/{state['id']}/lens"
    answer = client.get(path, params={"pos": 0, "count": 512, "top": 100})
    assert (answer.status_code, answer.json()["field"]) == (422, "count")
    assert "fewer positions" in answer.json()["error"]
    assert len(client.get(path, params={"pos": 0, "count": 512, "top": 2}).json()["rows"]) == 512 * 3
