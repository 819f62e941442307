"""The reading over HTTP: its defaults, what it is held against, and what it refuses."""

from typing import Any

import httpx
import pytest
from test_traces_api import record


def test_the_reading_of_what_was_written(client: httpx.Client) -> None:
    state = record(client, max_new_tokens=3, sampling={"temperature": 0})
    path, ids = f"/api/traces/{state['id']}", [token["id"] for token in state["tokens"]]
    last = client.get(f"{path}/reading").json()
    # The last position has no token after it: the likeliest word.
    found = client.get(f"{path}/distribution", params={"pos": len(ids) - 1}).json()["candidates"][0]
    assert (last["position"], last["token"]["id"]) == (len(ids) - 1, found["token"]["id"])
    assert last["token"]["text"] == found["token"]["text"]
    assert last["probability"] == pytest.approx(found["probability"], rel=1e-5)
    assert last["logit"] == pytest.approx(found["logit"], rel=1e-5)
    assert sum(part["value"] for part in last["parts"]) + last["remainder"] == pytest.approx(last["logit"])
    earlier = client.get(f"{path}/reading", params={"pos": len(ids) - 3}).json()
    assert earlier["token"]["id"] == ids[-2]
    other = client.get(f"{path}/reading", params={"pos": len(ids) - 3, "token": 7, "versus": ids[-2]}).json()
    assert other["token"]["id"] == 7
    assert other["versus"] == ids[-2]
    bare = client.get(f"{path}/reading", params={"pos": len(ids) - 3, "token": 7}).json()
    assert other["logit"] == pytest.approx(bare["logit"] - earlier["logit"], abs=1e-5)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"pos": 99}, "pos"),
        ({"pos": -1}, "pos"),
        ({"pos": "x"}, "pos"),
        ({"token": 10**6}, "token"),
        ({"token": "Madrid"}, "token"),
        ({"versus": "median"}, "versus"),
        ({"versus": 10**6}, "versus"),
    ],
)
def test_what_is_not_there_is_named(client: httpx.Client, query: dict[str, Any], field: str) -> None:
    path = f"/api/traces/{record(client)['id']}/reading"
    answer = client.get(path, params=query)
    assert answer.status_code == 422, answer.text
    assert answer.json()["field"] == field
    assert client.get(path).status_code == 200


def test_a_recording_that_is_gone(client: httpx.Client) -> None:
    path = f"/api/traces/{record(client)['id']}"
    assert client.delete(path).status_code == 204
    answer = client.get(f"{path}/reading")
    assert (answer.status_code, answer.json()["field"]) == (404, "trace_id")
