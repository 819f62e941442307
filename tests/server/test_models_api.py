"""Models over HTTP: listed, loaded once, followed, unloaded, refused with the reason."""

import json
import re
import threading
from pathlib import Path

import httpx
from serving import Running, read_events, serving
from tiny import make_model

from glassformer.protocol.messages import LoadProgress


def statuses(client: httpx.Client) -> dict[str, str]:
    return {model["model_id"]: model["status"] for model in client.get("/api/models").json()["models"]}


def test_the_list(client: httpx.Client) -> None:
    body = client.get("/api/models").json()
    assert body["default_model_id"] == "llama"
    by_id = {model["model_id"]: model for model in body["models"]}
    assert {"tales", "sorter", "llama", "gpt2"} <= set(by_id)
    assert by_id["tales"]["source"] == "bundled"
    assert by_id["tales"]["prompts"]
    assert by_id["llama"]["source"] == "folder"
    assert by_id["gpt2"]["family"] == "gpt2"


def test_every_model_has_something_to_open_with(client: httpx.Client) -> None:
    for model_id in ("tales", "gpt2"):
        client.get(f"/api/models/{model_id}/load")
    by_id = {model["model_id"]: model for model in client.get("/api/models").json()["models"]}
    assert all(model["prompts"] for model in by_id.values())
    assert by_id["gpt2"]["chat"] is False
    # A model's own samples come before a sample conversation that any model would get.
    assert by_id["tales"]["chat"] is True
    assert [by_id[model_id]["conversation"] for model_id in ("tales", "gpt2")] == [[], []]


def test_a_model_that_chats_opens_with_a_question_that_it_can_be_asked(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "chatty", "llama")
    template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"
    (folder / "chat_template.jinja").write_text(template)
    with serving(model_dirs=[tmp_path]) as running, running.client() as client:
        client.get("/api/models/chatty/load")
        (listed,) = [
            each for each in client.get("/api/models").json()["models"] if each["model_id"] == "chatty"
        ]
        assert listed["chat"] is True
        assert listed["conversation"][-1]["role"] == "user"
        asked = {"model_id": "chatty", "messages": listed["conversation"]}
        assert client.post("/api/traces", json=asked).status_code == 201


def test_loading_is_followed_to_its_end(client: httpx.Client) -> None:
    client.delete("/api/models/gpt2")
    events = read_events(client.get("/api/models/gpt2/load").text)
    stages = [json.loads(data)["stage"] for _, _, data in events]
    assert {name for name, _, _ in events} == {"progress"}
    assert stages[-1] == "ready"
    shares = {stage: [] for stage in stages}
    for _, _, data in events:
        step = json.loads(data)
        if step["fraction"] is not None:
            shares[step["stage"]].append(step["fraction"])
    assert all(found == sorted(found) and found[-1] == 1 for found in shares.values() if found)
    assert shares["reading"]
    assert stages == sorted(stages, key=["queued", "downloading", "reading", "checking", "ready"].index)
    # Loaded already: one event says so.
    assert "ready" in client.get("/api/models/gpt2/load").text


def test_unloading_gives_its_recordings_up(client: httpx.Client) -> None:
    trace = client.post("/api/traces", json={"model_id": "gpt2", "prompt": "the"}).json()
    client.get(f"/api/traces/{trace['id']}/events")
    assert client.delete("/api/models/gpt2").status_code == 204
    assert client.delete("/api/models/gpt2").status_code == 204
    assert statuses(client)["gpt2"] == "available"
    assert client.get(f"/api/traces/{trace['id']}").status_code == 404
    assert client.delete("/api/models/nope nope").status_code == 404


def test_a_model_in_use_is_not_unloaded(client: httpx.Client) -> None:
    long = {"model_id": "llama", "prompt": "the", "max_new_tokens": 3000, "sampling": {"temperature": 0}}
    trace_id = client.post("/api/traces", json=long).json()["id"]
    refused = client.delete("/api/models/llama")
    client.post(f"/api/traces/{trace_id}/stop")
    assert refused.status_code == 409
    assert "error" in refused.json()


def test_twenty_ask_at_the_same_time_and_it_loads_once(model_dir: Path) -> None:
    with serving(model_dir, default_model="gpt2") as running:
        seen: list[LoadProgress] = []
        running.services.registry.listen("llama", seen.append)
        answers: list[httpx.Response] = []

        def ask() -> None:
            with running.client() as client:
                answers.append(
                    client.post(
                        "/generate",
                        json={"model_id": "llama", "prompt": "the", "max_new_tokens": 3, "seed": 1},
                    )
                )

        threads = [threading.Thread(target=ask) for _ in range(20)]
        for thread in threads:
            thread.start()
        with running.client() as client:  # and the event loop is never blocked by it
            assert client.get("/health", timeout=2).status_code == 200
        for thread in threads:
            thread.join(60)
        assert [answer.status_code for answer in answers] == [200] * 20
        assert len({answer.json()["text"] for answer in answers}) == 1
        begun = [step.stage for step in seen if step.fraction is None]
        # Whoever listens while it begins may come a moment after its turn did.
        assert "checking" in begun
        assert begun == ["queued", "reading", "checking"][-len(begun) :]
        assert [step.stage for step in seen].count("ready") == 1


def test_refusals_are_told_and_can_be_tried_again(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "mine", "gpt2")
    weights = (folder / "model.safetensors").rename(tmp_path / "elsewhere")
    (folder / "pytorch_model.bin").write_bytes(b"pickled")
    with serving(tmp_path, default_model="sorter") as running, running.client() as client:
        for answer in (
            client.post("/api/models/mine/load"),
            client.post("/generate", json={"model_id": "mine", "prompt": "the"}),
            client.get("/api/models/mine/anatomy"),
        ):
            assert answer.status_code == 422
            assert "safetensors" in answer.json()["error"]
        last = json.loads(read_events(client.get("/api/models/mine/load").text)[-1][2])
        assert last["stage"] == "failed"
        assert "safetensors" in last["detail"]
        listed = {model["model_id"]: model for model in client.get("/api/models").json()["models"]}["mine"]
        assert listed["status"] == "failed"
        assert "safetensors" in listed["error"]
        weights.rename(folder / "model.safetensors")
        assert client.post("/generate", json={"model_id": "mine", "prompt": "the"}).status_code == 200
        assert statuses(client)["mine"] == "ready"


def test_models_make_room_for_each_other(model_dir: Path) -> None:
    sizes = [(model_dir / name / "model.safetensors").stat().st_size for name in ("llama", "gpt2")]
    with serving(model_dir, model_bytes=max(sizes) + 10_000) as running, running.client() as client:
        for name in ("llama", "gpt2", "llama"):
            answer = client.post("/generate", json={"model_id": name, "prompt": "the", "max_new_tokens": 2})
            assert answer.status_code == 200
            assert statuses(client)[name] == "ready"
        assert statuses(client)["gpt2"] == "available"
        too_large = client.post("/generate", json={"model_id": "tales", "prompt": "the"})
        assert too_large.status_code == 503
        assert re.search(
            r"needs about [\d.]+ MB of memory, and \d+ kB are set aside", too_large.json()["error"]
        )
        assert "Retry-After" in too_large.headers


def test_a_load_request_says_how(model_dir: Path) -> None:
    with serving(model_dir, default_model="sorter") as running, running.client() as client:
        ask = {"model_id": "llama", "prompt": "the", "max_new_tokens": 2}
        assert client.post("/generate", json=ask).status_code == 200

        def find() -> dict:
            read_events(client.get("/api/models/llama/load").text)
            return {model["model_id"]: model for model in client.get("/api/models").json()["models"]}["llama"]

        whole = find()
        assert (whole["dtype"], whole["device"], whole["quantize"]) == ("float32", "cpu", "none")
        assert not whole["pinned"]
        body = {"dtype": "bfloat16", "pinned": True}
        assert client.post("/api/models/llama/load", json=body).status_code == 202
        half = find()
        assert (half["dtype"], half["pinned"]) == ("bfloat16", True)
        assert half["bytes"] * 2 == whole["bytes"]
        assert client.post("/generate", json=ask).status_code == 200
        refused = client.delete("/api/models/llama")
        assert refused.status_code == 409
        assert "pinned" in refused.json()["error"]
        assert client.post("/api/models/llama/load", json={"pinned": False}).status_code == 202
        assert find()["dtype"] == "bfloat16"  # unpinned, not loaded anew
        assert client.delete("/api/models/llama").status_code == 204
        trace = client.post("/api/traces", json=ask).json()
        client.get(f"/api/traces/{trace['id']}/events")
        for wrong, field in (
            ({"dtype": "int3"}, "dtype"),
            ({"device": "cuda:99"}, "device"),
            ({"device": "the moon"}, "device"),
            ({"device": "meta"}, "device"),
            ({"quantise": "int8"}, "quantise"),
            ({"pinned": "perhaps"}, "pinned"),
        ):
            answer = client.post("/api/models/llama/load", json=wrong)
            assert answer.status_code == 422, answer.text
            assert answer.json()["field"] == field
            # The model that was there, and what it wrote, are there still.
            assert client.get(f"/api/traces/{trace['id']}").status_code == 200
            assert statuses(client)["llama"] == "ready"
        assert client.post("/generate", json=ask).status_code == 200


def test_pinned_models_are_there_from_the_start(model_dir: Path) -> None:
    with serving(model_dir, default_model="sorter", pinned_models=["gpt2", "nothing/of the kind"]) as running:
        running.services.registry.load("gpt2").result(60)
        with running.client() as client:
            assert statuses(client)["gpt2"] == "ready"
            assert client.delete("/api/models/gpt2").status_code == 409


def test_anatomy_and_weights(running: Running, client: httpx.Client) -> None:
    anatomy = client.get("/api/models/llama/anatomy").json()
    assert anatomy["model_id"] == "llama"
    assert len(anatomy["blocks"]) == 2
    answer = client.get("/api/models/llama/zarr/zarr.json")
    assert answer.json()["node_type"] == "group"
    again = client.get("/api/models/llama/zarr/zarr.json", headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status_code == 304
    assert again.content == b""


def test_the_anatomy_fills(model_dir: Path) -> None:
    with serving(model_dir, default_model="sorter") as running, running.client() as client:
        client.post("/generate", json={"model_id": "llama", "prompt": "the", "max_new_tokens": 1})
        first = client.get("/api/models/llama/anatomy")
        anatomy = first.json()
        assert anatomy["parts"] == len(anatomy["blocks"]) + 1
        events = read_events(
            client.get("/api/models/llama/checks", params={"after": anatomy["checked"]}, timeout=60).text
        )
        assert {name for name, _, _ in events} <= {"checked"}
        for _, _, data in events:
            told = json.loads(data)
            assert anatomy["checked"] < told["checked"] <= told["parts"]
            anatomy["checked"] = told["checked"]
            anatomy["before"] = told["before"] or anatomy["before"]
            anatomy["after"] = told["after"] or anatomy["after"]
            for block in told["blocks"]:
                anatomy["blocks"][block["index"]] = block
        last = client.get("/api/models/llama/anatomy")
        assert last.json() == anatomy
        assert anatomy["checked"] == anatomy["parts"]
        assert first.json() == anatomy or first.headers["etag"] != last.headers["etag"]
        again = client.get("/api/models/llama/anatomy", headers={"If-None-Match": last.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert (
            read_events(client.get("/api/models/llama/checks", params={"after": anatomy["parts"]}).text) == []
        )


def test_a_way_of_loading_that_does_not_write_is_refused(model_dir: Path, tmp_path: Path) -> None:
    """bitsandbytes' products for some processors cannot take every shape: then int4 must be refused, not served."""
    prompt = {"model_id": "llama", "prompt": "the", "max_new_tokens": 3, "temperature": 0}
    with serving(model_dir, default_model="llama") as running, running.client() as client:
        before = client.post("/generate", json=prompt).json()
        for options in ({"quantize": "int4"}, {"dtype": "float16"}, {"dtype": "bfloat16"}):
            answer = client.post("/api/models/llama/load", json=options, timeout=60)
            assert answer.status_code in (202, 422)
            if answer.status_code == 422:
                assert answer.json()["field"] == next(iter(options))
                assert client.post("/generate", json=prompt).json()["text"] == before["text"]
            # Whatever it said, the model writes, with and without a body.
            assert client.post("/generate", json=prompt).status_code == 200
            assert client.post("/api/models/llama/load").status_code == 202
            assert client.post("/generate", json=prompt).status_code == 200
            assert statuses(client)["llama"] == "ready"


def test_addresses_of_a_model_are_no_models(client: httpx.Client) -> None:
    client.get("/api/models/llama/load")
    for address, allowed in (
        ("llama/load", "GET, POST"),
        ("llama/anatomy", "GET"),
        ("someone/llama/checks", "GET"),
        ("llama/zarr/a/zarr.json", "GET, HEAD"),
    ):
        answer = client.delete(f"/api/models/{address}")
        assert (answer.status_code, answer.headers.get_list("allow")) == (405, [allowed]), address
    assert client.request("PATCH", "/api/models/llama").headers["allow"] == "DELETE"
    assert client.put("/api/traces").headers["allow"] == "GET, POST"
    assert client.delete("/v1/models/llama").headers["allow"] == "GET"
    assert statuses(client)["llama"] == "ready"
    # That may be a model of the hub, which is not loaded.
    assert client.delete("/api/models/load/llama").status_code == 204
