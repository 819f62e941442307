"""Many people at once: bad requests never hurt good ones, and thirty streams go on while a large model loads."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import read_standard, serving
from tiny import make_model

REQUESTS = 200
AT_ONCE = 24

BAD: list[dict[str, Any]] = [
    {"prompt": ""},
    {"prompt": "x \x00 y"},
    {"prompt": "word " * 9000},
    {"temperature": -1},
    {"temperature": 1e999},
    {"top_p": 0},
    {"top_k": -5},
    {"max_new_tokens": 0},
    {"max_new_tokens": 10**9},
    {"repetition_penalty": 0},
    {"seed": -2},
    {"stop": ["x"] * 99},
    {"model_id": "no/such-model"},
    {"model_id": "../../etc"},
    {"prompt": ["not", "text"]},
]


def make_good(rng: random.Random) -> dict[str, Any]:
    words = "the quick brown fox jumps over lazy dog Mia gives ball to Tom 漢字 naïve 🎉".split()
    return {
        "model_id": "llama",
        "prompt": " ".join(rng.choice(words) for _ in range(rng.randrange(1, 60))),
        "max_new_tokens": rng.randrange(1, 40),
        "temperature": rng.choice([0, 0.7, 1.3]),
        "top_p": rng.choice([1.0, 0.9]),
        "top_k": rng.choice([0, 20]),
        "repetition_penalty": rng.choice([1.0, 1.2]),
        "seed": rng.randrange(1000),
        "stop": rng.choice([[], ["a"], ["zzz"]]),
    }


def ask(client: httpx.Client, body: dict[str, Any], *, streams: bool) -> tuple[int, str]:
    if streams:
        answer = client.post("/generate/stream", json=body)
        return answer.status_code, read_standard(answer.text) if answer.is_success else answer.text
    # As JSON.stringify would not write it: huge numbers must reach the server.
    answer = client.post("/generate", json=body)
    return answer.status_code, answer.json()["completion"] if answer.is_success else answer.text


def test_good_answers_are_what_each_would_be_alone(tmp_path: Path) -> None:
    make_model(tmp_path / "llama", "llama")
    rng = random.Random(11)
    good = [make_good(rng) for _ in range(REQUESTS * 3 // 4)]
    bad = [{**make_good(rng), **rng.choice(BAD)} for _ in range(REQUESTS - len(good))]
    jobs = [(body, True) for body in good] + [(body, False) for body in bad]
    rng.shuffle(jobs)
    with serving(tmp_path, rate_limit="", max_waiting=REQUESTS) as server, server.client() as client:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = list(
                pool.map(
                    lambda job: ask(client, encodable(job[0]), streams=rng.random() < 0.5),
                    jobs,
                )
            )
        for (body, is_good), (status, text) in zip(jobs, answers, strict=True):
            assert (status == 200) == is_good, (body, status, text)
            if is_good:
                # In an event stream a carriage return ends a line like a newline does.
                again, alone = ask(client, body, streams=False)
                assert (again, unify(alone)) == (200, unify(text))


def unify(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def encodable(body: dict[str, Any]) -> dict[str, Any]:
    """Infinity is no JSON; as a string it is a wrong type, which is as bad."""
    return {key: "1e999" if value == float("inf") else value for key, value in body.items()}


class Page:
    """A browser-like client: records a prompt, follows its events, reads cells of it."""

    def __init__(self, url: str, number: int) -> None:
        self.url, self.number = url, number
        self.steps = 0
        self.cells = 0

    def run(self) -> None:
        with httpx.Client(base_url=self.url, timeout=120, trust_env=False) as client:
            body = {
                "model_id": "llama",
                "prompt": f"{self.number} the quick brown fox",
                "max_new_tokens": 60,
                "sampling": {"temperature": 1.0, "seed": self.number},
            }
            created = client.post("/api/traces", json=body)
            assert created.status_code == 201, created.text
            trace_id = created.json()["id"]
            with client.stream("GET", f"/api/traces/{trace_id}/events") as events:
                for line in events.iter_lines():
                    self.steps += line == "event: step"
            state = client.get(f"/api/traces/{trace_id}").json()
            assert state["status"] == "done"
            assert state["positions"] == len(state["tokens"])
            assert self.steps == len(state["tokens"]) - state["prompt_count"] > 0
            chunk = client.get(f"/api/traces/{trace_id}/zarr/resid_pre.1/0/c/0/0")
            assert chunk.status_code == 200, chunk.text
            self.cells = len(chunk.content)


def test_thirty_pages_record_at_once_while_a_large_model_loads(tmp_path: Path) -> None:
    make_model(tmp_path / "llama", "llama")
    make_model(tmp_path / "large", "llama", hidden_size=512, intermediate_size=2048, num_hidden_layers=10)
    with serving(tmp_path, rate_limit="", max_waiting=64) as server, server.client() as client:
        client.post("/tokenize", json={"model_id": "llama", "prompt": "x"})
        pages = [Page(server.url, number) for number in range(30)]
        faults: list[BaseException] = []

        def run(page: Page) -> None:
            try:
                page.run()
            except BaseException as exc:
                faults.append(exc)

        threads = [threading.Thread(target=run, args=(page,)) for page in pages]
        for thread in threads:
            thread.start()
        loading = threading.Thread(
            target=lambda: client.post("/tokenize", json={"model_id": "large", "prompt": "x"}, timeout=120)
        )
        loading.start()
        for thread in [*threads, loading]:
            thread.join(120)
        assert not faults, faults[0]
        assert all(page.cells for page in pages)
        models = {model["model_id"]: model for model in client.get("/api/models").json()["models"]}
        assert models["large"]["status"] == "ready"


@pytest.fixture(autouse=True)
def quiet() -> None:
    import logging

    logging.getLogger("httpx").setLevel(logging.WARNING)
