"""What operators read: numbers that agree with what was done, and a dashboard of nothing else."""

import json
import re
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families
from serving import serving
from tiny import make_model

DASHBOARD = Path(__file__).resolve().parents[2] / "docs" / "grafana.json"


def read(client: httpx.Client) -> dict[str, float]:
    """Every sample by name, those of all labels added up."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found


def test_numbers_agree_with_what_was_done(tmp_path: Path) -> None:
    make_model(tmp_path / "llama", "llama")
    with serving(tmp_path, rate_limit="") as server, server.client() as client:
        client.post("/tokenize", json={"model_id": "llama", "prompt": "x"}).raise_for_status()
        # Until that is known, a text that is alone goes through the model by itself.
        assert server.services.registry.load("llama").result(60).packing_fault is None
        before = read(client)
        prompt = "the quick brown fox jumps over the lazy dog " * 4
        counts = [
            client.post(
                "/generate", json={"model_id": "llama", "prompt": prompt, "max_new_tokens": 7}
            ).json()["usage"]
            for _ in range(3)
        ]
        made = client.post("/api/traces", json={"model_id": "llama", "prompt": "a fox", "max_new_tokens": 5})
        client.get(f"/api/traces/{made.json()['id']}/events")
        after = read(client)
        trace = client.get(f"/api/traces/{made.json()['id']}").json()
        written = (
            sum(each["completion_tokens"] for each in counts) + len(trace["tokens"]) - trace["prompt_count"]
        )

        def grown(name: str) -> float:
            return after[f"glassformer_{name}"] - before[f"glassformer_{name}"]

        assert grown("time_to_first_token_seconds_count") == 4
        assert grown("request_queue_time_seconds_count") == 4
        assert grown("inter_token_latency_seconds_count") == written - 4
        assert grown("time_to_first_token_seconds_sum") > 0
        assert grown("prefix_cache_queries_total") >= counts[0]["prompt_tokens"]
        # The second and third prompt are the first again, but for the last token, which is read for its logits.
        assert grown("prefix_cache_hits_total") >= counts[0]["prompt_tokens"] - 1
        assert after["glassformer_num_requests_running"] == after["glassformer_num_requests_waiting"] == 0
        assert after["glassformer_kv_cache_bytes"] > 0
        assert grown("recordings") == 1
        client.delete(f"/api/traces/{made.json()['id']}")
        client.delete("/api/models/llama").raise_for_status()
        gone = read(client)
        assert gone["glassformer_recordings_forgotten_total"] == 1
        assert gone["glassformer_model_unloads_total"] == 1
        assert gone["glassformer_kv_cache_bytes"] == 0


def test_the_dashboard_asks_for_what_there_is(client: httpx.Client) -> None:
    body = {"model_id": "llama", "prompt": "a fox", "max_new_tokens": 1}
    client.post("/generate", json=body).raise_for_status()
    known = set(read(client))
    text = DASHBOARD.read_text(encoding="utf-8")
    asked = set(re.findall(r"glassformer_\w+", text))
    assert len(asked) > 12
    assert asked <= known
    assert len(json.loads(text)["panels"]) > 8
