"""A model and adapters over it on one server: each request has its own, and what is recorded knows which."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from adapters import make_adapter, read_plainly
from serving import Running, serving
from tiny import make_model
from transformers import AutoTokenizer

MODELS = ("llama", "llama+first", "llama+second", "first")
PROMPTS = ("the quick brown fox", "Mia gives the ball", "Who has", "over the lazy dog. Tom")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models").resolve()
    make_model(root / "llama", "llama")
    make_adapter(root / "llama", root / "first", seed=1)
    make_adapter(root / "llama", root / "second", seed=2, rank=2, names=("q_proj", "up_proj", "o_proj"))
    return root


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[Running]:
    with serving(root) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def write(client: httpx.Client, model: str, prompt: str) -> str:
    body = {"model_id": model, "prompt": prompt, "temperature": 0, "max_new_tokens": 12}
    answer = client.post("/generate", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["completion"]


def test_models_and_adapters_are_offered(client: httpx.Client) -> None:
    found = {model["model_id"]: model for model in client.get("/api/models").json()["models"]}
    assert found["llama+first"]["base"] == "llama"
    assert found["llama"]["base"] is None
    assert {"llama", "llama+first", "llama+second"} <= {
        model["id"] for model in client.get("/v1/models").json()["data"]
    }


def test_mixed_streams_are_each_their_own(client: httpx.Client) -> None:
    """Sixteen at once, of four ids in turn, against each alone: no row of one is computed with another's adapter."""
    asked = [(MODELS[at % 4], PROMPTS[at // 4]) for at in range(16)]
    alone = [write(client, *one) for one in asked]
    assert len({alone[at] for at in range(3)}) == 3
    assert alone[1] == alone[3]
    together = threading.Barrier(len(asked))

    def stream(one: tuple[str, str]) -> str:
        together.wait()
        return write(client, *one)

    with ThreadPoolExecutor(len(asked)) as pool:
        assert list(pool.map(stream, asked)) == alone


@pytest.mark.filterwarnings("ignore")  # of what peft itself uses
def test_greedy_text_is_that_of_peft(root: Path, client: httpx.Client) -> None:
    peft = pytest.importorskip("peft")
    referee = peft.PeftModel.from_pretrained(read_plainly(root / "llama"), root / "first").eval()
    tokenizer: Any = AutoTokenizer
    tokenizer = tokenizer.from_pretrained(root / "llama")
    for prompt in PROMPTS:
        given = tokenizer(prompt, return_tensors="pt")
        written = referee.generate(**given, max_new_tokens=12, do_sample=False)[0, given.input_ids.shape[1] :]
        text = tokenizer.decode(written, skip_special_tokens=True)
        assert write(client, "llama+first", prompt) == text


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"model": "llama+second", "prompt": "the", "max_tokens": 2}),
        ("/generate/stream", {"model_id": "llama+second", "prompt": "the", "max_new_tokens": 2}),
        ("/tokenize", {"model_id": "llama+second", "prompt": "the"}),
        ("/config", {"model_id": "llama+second"}),
    ],
)
def test_every_surface_takes_the_id(client: httpx.Client, path: str, body: dict[str, Any]) -> None:
    assert client.post(path, json=body).status_code == 200


@pytest.fixture(scope="module")
def trace(client: httpx.Client) -> str:
    body = {
        "model_id": "llama+first",
        "prompt": PROMPTS[0],
        "max_new_tokens": 3,
        "sampling": {"temperature": 0},
    }
    made = client.post("/api/traces", json=body).json()
    with client.stream("GET", f"/api/traces/{made['id']}/events") as events:
        for _ in events.iter_lines():
            pass
    return made["id"]


def test_a_recording_shows_what_the_adapter_adds(client: httpx.Client, trace: str) -> None:
    """Every site's equation holds, A's product has an address, and a cell of a changed matrix says both its parts."""
    for block in range(2):
        client.get(f"/api/traces/{trace}/explain", params={"address": f"resid_post.{block}", "index": "0,0"})
    anatomy = client.get("/api/models/llama%2Bfirst/anatomy").json()
    sites = {site["address"]: site for block in anatomy["blocks"] for site in block["sites"]}
    assert all(site["check"]["status"] in ("exact", "close") for site in sites.values()), sites
    assert sites["lora_q.1"]["axes"] == ["pos", "rank"]
    for address, index in (
        ("q.0", "1,2,3"),
        ("lora_q.0", "2,1"),
        ("attn_out.1", "2,5"),
        ("lora_down.1", "1,3"),
    ):
        found = client.get(
            f"/api/traces/{trace}/explain", params={"address": address, "index": index, "terms": 100}
        ).json()
        assert found["difference"] < 1e-5, found
        names = {
            operand.get("name") or operand.get("address")
            for term in found["terms"]
            for operand in term["operands"]
        }
        if address == "attn_out.1":
            assert {"lora_o.1", "z.1", "model.layers.1.self_attn.o_proj.lora_B.weight"} <= names
    weights = {weight["name"]: weight for weight in anatomy["blocks"][0]["weights"]}
    assert weights["model.layers.0.self_attn.q_proj.lora_A.weight"]["role"] == "lora_a"
    assert weights["model.layers.0.self_attn.q_proj.lora_B.weight"]["axes"] == ["row", "rank"]


def test_a_reading_adds_up(client: httpx.Client, trace: str) -> None:
    """What heads bring goes through the changed output map, both ways of it."""
    reading = client.get(f"/api/traces/{trace}/reading").json()
    assert not reading["refused"]
    assert abs(reading["remainder"]) < 1e-4
    effects = client.get(f"/api/traces/{trace}/effects").json()
    assert effects["base"]["probability"] == pytest.approx(reading["probability"], abs=1e-5)


def test_a_base_is_kept_while_its_adapter_is_used(server: Running, client: httpx.Client) -> None:
    write(client, "llama+first", "the")
    registry = server.services.registry
    with registry.use(registry.load("llama+first").result()):
        answer = client.delete("/api/models/llama")
        assert answer.status_code in (409, 503), answer.text
    assert client.delete("/api/models/llama").status_code == 204
    ready = {m["model_id"] for m in client.get("/api/models").json()["models"] if m["status"] == "ready"}
    assert not {"llama", "llama+first", "llama+second"} & ready
    assert write(client, "llama+first", "the")


def test_refusals_come_with_the_right_status(root: Path, client: httpx.Client) -> None:
    make_model(root / "wide", "llama", hidden_size=48)
    for model, status, sentence in (
        ("wide+first", 422, "another base than 'wide'"),
        ("llama+nothing", 404, "no such model"),
        ("llama+first+second", 422, "One adapter"),
    ):
        answer = client.post("/generate", json={"model_id": model, "prompt": "the"})
        assert sentence in answer.json()["error"]
        assert answer.status_code == status, answer.text
