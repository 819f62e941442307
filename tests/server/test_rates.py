"""How often a client may ask: on which clock it is counted, and what is held of it."""

import time
from pathlib import Path

import httpx
import pytest
from leaving import wait_until
from serving import Running, serving

from glassformer.errors import TooMany
from glassformer.server.rate import MANY_CLIENTS, Rate, charge

DAY_SECS = 24 * 3600
KEY = "a-long-enough-key"
TILE = "/api/models/llama/zarr/zarr.json"


def test_so_many_at_once_and_again_in_each_while() -> None:
    rate = Rate("4/second")
    for _ in range(4):
        charge(rate, "one")
    with pytest.raises(TooMany) as refused:
        charge(rate, "one")
    assert 0 < refused.value.retry_after_secs <= 0.25
    charge(rate, "other")
    time.sleep(refused.value.retry_after_secs)
    charge(rate, "one")  # what is told to wait is enough


def test_no_limit_holds_nobody() -> None:
    rate = Rate("")
    for _ in range(1000):
        charge(rate, "one")
    assert len(rate) == 0


def test_clients_who_have_everything_again_are_let_go() -> None:
    rate = Rate("1000000/second")
    for number in range(20 * MANY_CLIENTS):
        charge(rate, str(number))
    assert len(rate) <= 2 * MANY_CLIENTS


@pytest.mark.parametrize("days", [-1, 1])
def test_a_clock_that_is_set_neither_shuts_out_nor_lets_in(
    model_dir: Path, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    with serving(model_dir, rate_limit="2/second") as running, running.client() as client:
        for _ in range(2):
            assert client.get("/api/traces").status_code == 200
        right = time.time
        monkeypatch.setattr(time, "time", lambda: right() + days * DAY_SECS)
        refused = client.get("/api/traces")
        assert refused.status_code == 429
        assert refused.headers["Retry-After"] == "1"
        time.sleep(1)
        assert client.get("/api/traces").status_code == 200


def wait_for_llama(running: Running) -> None:
    wait_until(lambda: running.services.registry.is_ready("llama"), 60)


def test_cells_have_a_limit_of_their_own(model_dir: Path) -> None:
    with serving(model_dir, rate_limit="2/minute", tile_rate_limit="3/minute") as running:
        wait_for_llama(running)
        with running.client() as client:
            assert [client.get(TILE).status_code for _ in range(4)] == [200, 200, 200, 429]
            assert [client.get("/api/traces").status_code for _ in range(3)] == [200, 200, 429]


def test_a_page_is_never_refused_its_cells(model_dir: Path) -> None:
    """More than all other requests together may be, as quickly as they can be asked for."""
    with serving(model_dir, rate_limit="1/minute") as running, running.client() as client:
        wait_for_llama(running)
        trace = client.post(
            "/api/traces", json={"model_id": "llama", "prompt": "the quick", "max_new_tokens": 1}
        )
        recorded = f"/api/traces/{trace.json()['id']}/zarr/zarr.json"
        for path in (TILE, recorded):
            assert {client.get(path).status_code for _ in range(600)} == {200}


@pytest.mark.parametrize(
    "path",
    [
        "/api/models/gpt2/zarr/zarr.json",  # has to be loaded
        "/api/models/somebody/elses/zarr/zarr.json",  # has to be asked for at the hub
        "/api/models/llama/anatomy?/zarr/",
        "/v1/zarr/zarr.json",
        "/zarr/zarr.json",
    ],
)
def test_what_is_no_cell_at_hand_counts_as_any_request(model_dir: Path, path: str) -> None:
    with serving(model_dir, rate_limit="2/hour") as running, running.client() as client:
        wait_for_llama(running)
        client.get("/api/traces")
        assert client.get(path).status_code != 429
        assert client.get("/api/models/somebody/elses/zarr/zarr.json").status_code == 429


def ask(client: httpx.Client, key: str, address: str = "192.0.2.1") -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}", "X-Forwarded-For": address}
    return client.get("/api/traces", headers=headers)


def test_keys_cannot_be_guessed(model_dir: Path) -> None:
    settings = {"api_keys": KEY, "wrong_key_limit": "5/hour", "trusted_proxies": "127.0.0.1"}
    with serving(model_dir, **settings) as running, running.client() as client:
        assert [ask(client, f"guess-{number}").status_code for number in range(7)] == [401] * 5 + [429] * 2
        # Nor does it learn of the right one now; whether the server lives is told to all.
        refused = ask(client, KEY)
        assert refused.status_code == 429
        assert 60 < int(refused.headers["Retry-After"]) <= 720
        assert client.get("/health").status_code == 200
        assert client.get("/api/traces").status_code == 401
        assert ask(client, KEY, "192.0.2.2").status_code == 200


def test_a_program_with_an_old_key_shuts_nobody_out(model_dir: Path) -> None:
    with serving(model_dir, api_keys=KEY, wrong_key_limit="2/hour") as running, running.client() as client:
        assert {ask(client, "the-key-of-yesterday").status_code for _ in range(10)} == {401}
        assert ask(client, KEY).status_code == 200
