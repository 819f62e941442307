"""How often a client may ask: on which clock it is counted, and what is held of it."""

import time
from pathlib import Path

import pytest
from serving import serving

from glassformer.errors import TooMany
from glassformer.server.rate import MANY_CLIENTS, Rate, charge

DAY_SECS = 24 * 3600


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
