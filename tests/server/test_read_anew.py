"""A text that its model reads anew as a whole: whoever follows the recording hears of it at once."""

import json
import sys
from pathlib import Path

from serving import read_events, serving
from tiny import make_tokenizer

sys.path.insert(0, str(Path(__file__).parent.parent / "families"))
from building import D_HEAD, build

ORIGINAL = 32
ROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "original_max_position_embeddings": ORIGINAL,
    "short_factor": [1.0] * (D_HEAD // 2),
    "long_factor": [1.5, 2.0, 3.0, 4.0],
}


def test_a_state_tells_that_rows_were_replaced_before_the_step_does(tmp_path: Path) -> None:
    model = build("phi3", rope_parameters=ROPE, original_max_position_embeddings=ORIGINAL)
    model.save_pretrained(tmp_path / "phi3")
    make_tokenizer().save_pretrained(tmp_path / "phi3")
    body = {
        "token_ids": list(range(5, 5 + ORIGINAL - 2)),
        "max_new_tokens": 8,
        "sampling": {"temperature": 0, "forced_token_ids": list(range(5, 13))},
    }
    with serving(tmp_path, default_model="phi3", rate_limit="") as running, running.client() as client:
        answer = client.post("/api/traces", json={"model_id": "phi3", **body})
        assert answer.status_code == 201, answer.text
        state = answer.json()
        assert state["rewritten"] == 0
        events = read_events(client.get(f"/api/traces/{state['id']}/events").text)
    told = [(name, json.loads(data)) for name, _, data in events]
    counts = [data["rewritten"] for name, data in told if name == "state"]
    assert counts == sorted(counts)
    assert counts[-1] == 1
    first = next(at for at, (name, data) in enumerate(told) if name == "state" and data["rewritten"] == 1)
    assert told[first][1]["positions"] > ORIGINAL
    later = [data["pos"] for name, data in told[first:] if name == "step"]
    # The step that was drawn from the text read anew comes after the state, not before it.
    assert ORIGINAL + 1 in later
