"""Surface A over HTTP, as existing front ends call it."""

import re
import time

import httpx
import pytest
from serving import JAVASCRIPT_SPACE, Running, read_events, read_standard, read_trimming
from tiny import make_tokenizer, read_model
from transformers import AutoTokenizer

ORIGIN = "http://localhost:3000"


def ask(client: httpx.Client, path: str, **body: object) -> httpx.Response:
    return client.post(path, json={"model_id": "llama", "prompt": "the quick brown fox", **body})


def stream(client: httpx.Client, **body: object) -> str:
    with client.stream(
        "POST", "/generate/stream", json={"model_id": "llama", "prompt": "the quick brown fox", **body}
    ) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        return "".join(answer.iter_text())


def test_health_and_ready(client: httpx.Client) -> None:
    assert client.get("/health").json() == {"ok": True}
    for _ in range(100):
        answer = client.get("/ready")
        if answer.status_code == 200:
            break
        assert answer.status_code == 503
        assert "Retry-After" in answer.headers
        time.sleep(0.1)
    assert client.get("/ready").status_code == 200


@pytest.mark.parametrize(
    "origin", [ORIGIN, "http://127.0.0.1:5173", "https://localhost", "http://[::1]:8080"]
)
@pytest.mark.parametrize("path", ["/tokenize", "/config", "/generate", "/generate/stream", "/api/traces"])
def test_preflight_from_any_localhost_port(client: httpx.Client, path: str, origin: str) -> None:
    answer = client.options(
        path,
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type",
            "Access-Control-Request-Private-Network": "true",
        },
    )
    assert answer.status_code in (200, 204)
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert "content-type" in answer.headers["Access-Control-Allow-Headers"].lower()
    assert answer.headers["Access-Control-Allow-Private-Network"] == "true"


def test_answers_and_errors_carry_the_cors_header(client: httpx.Client) -> None:
    good = client.post("/tokenize", json={"model_id": "llama", "prompt": "x"}, headers={"Origin": ORIGIN})
    bad = client.post("/tokenize", json={"model_id": "nope", "prompt": "x"}, headers={"Origin": ORIGIN})
    assert good.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert bad.status_code == 404
    assert bad.headers["Access-Control-Allow-Origin"] == ORIGIN


def test_tokenize(client: httpx.Client) -> None:
    tokenizer = make_tokenizer()
    prompt = "Mia gives\n 漢字 🎉 "
    body = ask(client, "/tokenize", prompt=prompt, temperature=0.1, max_new_tokens=5, whatever=[1]).json()
    assert body["token_ids"] == tokenizer(prompt)["input_ids"]
    assert body["special"] == [id_ in tokenizer.all_special_ids for id_ in body["token_ids"]]
    assert body["tokens"] == [tokenizer.decode([token_id]) for token_id in body["token_ids"]]
    assert body["count"] == len(body["token_ids"])


def test_tokenize_gives_the_special_tokens(client: httpx.Client) -> None:
    body = ask(client, "/tokenize", model_id="tales", prompt="Mia").json()
    assert (body["tokens"][0], body["special"][0]) == ("<|bos|>", True)
    assert ask(client, "/tokenize", model_id="tales", prompt="").json()["tokens"] == ["<|bos|>"]
    assert ask(client, "/tokenize", prompt="").json() == {
        "token_ids": [],
        "tokens": [],
        "count": 0,
        "special": [],
        "bytes": [],
        "left_off": [],
    }


@pytest.mark.parametrize(("name", "width", "heads", "blocks", "context"), [
    ("llama", 32, 4, 2, 4096), ("gpt2", 32, 4, 2, 64), ("sorter", 48, 3, 3, 11), ("tales", 128, 8, 5, 256),
])  # fmt: skip
def test_config(client: httpx.Client, name: str, width: int, heads: int, blocks: int, context: int) -> None:
    body = client.post("/config", json={"model_id": name}).json()
    assert body["n_embd"] == body["hidden_size"] == width
    assert body["n_head"] == body["num_attention_heads"] == heads
    assert body["n_layer"] == body["num_hidden_layers"] == blocks
    assert body["block_size"] == body["max_position_embeddings"] == context
    assert body["vocab_size"] > 2


def test_config_never_loads_the_weights(running: Running, client: httpx.Client) -> None:
    client.delete("/api/models/gpt2")
    assert client.post("/config", json={"model_id": "gpt2"}).status_code == 200
    statuses = {model["model_id"]: model["status"] for model in client.get("/api/models").json()["models"]}
    assert statuses["gpt2"] == "available"


def test_generate_greedily_is_transformers(client: httpx.Client, model_dir) -> None:
    prompt = "the quick brown fox"
    tokenizer = AutoTokenizer.from_pretrained(model_dir / "llama")
    model = read_model(model_dir / "llama")
    ids = tokenizer(prompt, return_tensors="pt")
    out = model.generate(**ids, do_sample=False, max_new_tokens=24)
    body = ask(client, "/generate", temperature=0, max_new_tokens=24).json()
    assert body["text"] == tokenizer.decode(out[0], skip_special_tokens=True)
    assert body["completion"] == body["text"].removeprefix(prompt)
    assert body["usage"] == {
        "prompt_tokens": ids["input_ids"].shape[1],
        "completion_tokens": out.shape[1] - ids["input_ids"].shape[1],
        "total_tokens": out.shape[1],
    }
    assert body["finish_reason"] in ("length", "stop")


def test_defaults_are_those_of_the_contract(client: httpx.Client) -> None:
    explicit = {"max_new_tokens": 128, "temperature": 0.7, "top_p": 0.95, "repetition_penalty": 1.0}
    assert ask(client, "/generate", seed=4).json() == ask(client, "/generate", seed=4, **explicit).json()


@pytest.mark.parametrize("seed", range(4))
def test_both_readers_of_a_stream(client: httpx.Client, seed: int) -> None:
    """Random models write every byte: newlines, half characters, odd spaces."""
    options = {"seed": seed, "temperature": 1.5, "top_p": 1.0, "max_new_tokens": 100}
    whole = ask(client, "/generate", **options).json()["completion"]
    raw = stream(client, **options)
    assert read_standard(raw) == whole.replace("\r\n", "\n").replace("\r", "\n")
    seen = re.sub(rf"\n[{re.escape(JAVASCRIPT_SPACE)}\x1c-\x1f\x85]*", "", read_standard(raw))
    assert read_trimming(raw) == seen.lstrip(JAVASCRIPT_SPACE)
    assert "event:" not in raw


def test_the_stream_of_a_story(client: httpx.Client) -> None:
    body = {"model_id": "tales", "prompt": "Mia has a red ball.", "temperature": 0, "max_new_tokens": 40}
    whole = client.post("/generate", json=body).json()["completion"]
    raw = stream(client, **body)
    assert read_standard(raw) == whole
    assert read_trimming(raw) == whole.lstrip().replace("\n", "")
    assert len(read_events(raw)) > 5


def test_stop_strings_are_left_out(client: httpx.Client) -> None:
    options = {"temperature": 0, "max_new_tokens": 60}
    whole = ask(client, "/generate", **options).json()["completion"]
    stop = whole[10:13]
    body = ask(client, "/generate", stop=stop, **options).json()
    assert body["completion"] == whole[: whole.index(stop)]
    assert body["finish_reason"] == "stop"
    assert read_standard(stream(client, stop=[stop], **options)) == body["completion"]


def test_seeds_repeat_and_differ(client: httpx.Client) -> None:
    first, again, other = (
        ask(client, "/generate", seed=seed, temperature=1, max_new_tokens=30).json()["text"]
        for seed in (1, 1, 2)
    )
    assert first == again != other


def test_the_context_ends_a_long_generation(client: httpx.Client) -> None:
    body = ask(client, "/generate", model_id="gpt2", max_new_tokens=5000, temperature=0).json()
    assert body["usage"]["total_tokens"] <= 65
    assert body["finish_reason"] in ("length", "stop")


def test_the_sorter_sorts(client: httpx.Client) -> None:
    body = ask(client, "/generate", model_id="sorter", prompt="CBABBC", temperature=0).json()
    assert body["text"] == "CBABBC" + "ABBBCC"


def test_the_schema_names_every_call(client: httpx.Client) -> None:
    schema = client.get("/openapi.json").json()
    for path in ("/tokenize", "/config", "/generate", "/generate/stream", "/api/models", "/api/traces"):
        assert path in schema["paths"]
    answer = schema["paths"]["/generate/stream"]["post"]["responses"]["200"]
    assert list(answer["content"]) == ["text/event-stream"]
