"""Names that other servers' clients send: what says nothing is no error, what would change the answer is named."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import BadRequestError, OpenAI
from serving import Running, serving
from talking import connect

CHAT: dict[str, Any] = {
    "model": "tales",
    "messages": [{"role": "user", "content": "Mia has a ball. Who has the ball?"}],
    "temperature": 0,
    "max_tokens": 6,
}
COMPLETION: dict[str, Any] = {"model": "llama", "prompt": "the quick", "max_tokens": 4, "temperature": 0}
HEADER = "x-glassformer-ignored"
SAYS_NOTHING: list[tuple[str, Any]] = [
    ("skip_special_tokens", True),
    ("spaces_between_special_tokens", True),
    ("include_stop_str_in_output", False),
    ("ignore_eos", False),
    ("min_tokens", 0),
    ("cache_prompt", True),
    ("n_predict", -1),
    ("mirostat", 0),
    ("mirostat_tau", 5.0),
    ("repeat_penalty", 1.0),
    ("keep_alive", "5m"),
    ("options", {}),
    ("use_beam_search", False),
    ("truncate_prompt_tokens", None),
    ("best_of", 1),
    ("stop", ""),
    ("stop", [""]),
    ("stop", None),
    ("seed", -1),
    ("logit_bias", {}),
    ("top_k", -1),
    ("min_p", 0),
    ("typical_p", 1),
    ("tfs_z", 1.0),
    ("xtc_probability", 0),
    ("dry_multiplier", 0.0),
    ("do_sample", True),
    ("grammar", ""),
    ("guided_json", None),
    ("negative_prompt", ""),
    ("banned_tokens", []),
    ("tools", []),
    ("tools", None),
    ("tool_choice", "auto"),
    ("functions", []),
    ("suffix", ""),
    ("suffix", None),
    ("logprobs", False),
    ("stream_options", {"include_usage": False}),
    ("num_ctx", 2048),
]
CHANGES_THE_ANSWER: list[tuple[str, Any, str]] = [
    ("repeat_penalty", 1.1, "repetition_penalty"),
    ("rep_pen", 1.1, "repetition_penalty"),
    ("n_predict", 5, "max_tokens"),
    ("max_new_tokens", 5, "max_tokens"),
    ("typical", 0.5, "typical_p"),
    ("stop_sequences", ["x"], "stop"),
    ("json_schema", {"type": "string"}, "guided_json"),
    ("regex", "x", "guided_regex"),
    ("do_sample", False, "temperature: 0"),
    ("banned_tokens", [5], "logit_bias"),
    ("options", {"temperature": 0}, "outside"),
    ("skip_special_tokens", False, ""),
    ("ignore_eos", True, ""),
    ("min_tokens", 4, ""),
    ("mirostat", 2, ""),
    ("truncate_prompt_tokens", 4, ""),
    ("use_beam_search", True, ""),
    ("best_of", 4, ""),
]


@pytest.fixture(scope="module")
def plain(running: Running) -> tuple[str, str]:
    with running.client() as client:
        chat = client.post("/v1/chat/completions", json=CHAT).json()["choices"][0]["message"]["content"]
        return chat, client.post("/v1/completions", json=COMPLETION).json()["choices"][0]["text"]


@pytest.mark.parametrize(("name", "value"), SAYS_NOTHING, ids=lambda value: repr(value)[:30])
def test_what_says_nothing_is_no_error(
    client: httpx.Client, plain: tuple[str, str], name: str, value: Any
) -> None:
    chat = client.post("/v1/chat/completions", json={**CHAT, name: value})
    assert chat.status_code == 200, chat.text
    assert chat.json()["choices"][0]["message"]["content"] == plain[0]
    completion = client.post("/v1/completions", json={**COMPLETION, name: value})
    assert completion.status_code == 200, completion.text
    assert completion.json()["choices"][0]["text"] == plain[1]


@pytest.mark.parametrize(("name", "value", "ours"), CHANGES_THE_ANSWER, ids=lambda value: repr(value)[:30])
def test_what_would_change_the_answer_is_named_with_ours(
    client: httpx.Client, name: str, value: Any, ours: str
) -> None:
    for path, body in (("chat/completions", CHAT), ("completions", COMPLETION)):
        answer = client.post(f"/v1/{path}", json={**body, name: value})
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert error["param"] == name
        assert name in error["message"]
        assert ours in error["message"]


def test_no_limit_is_as_much_as_there_is_room_for(client: httpx.Client) -> None:
    body = {"model": "sorter", "prompt": "CBABBC", "temperature": 0, "max_tokens": -1}
    assert client.post("/v1/completions", json=body).json()["choices"][0]["text"] == "ABBBCC"
    answer = client.post("/v1/chat/completions", json={**CHAT, "max_tokens": -1, "max_completion_tokens": 6})
    assert answer.json()["usage"]["completion_tokens"] <= 6


def test_the_classic_surface_knows_none_too(client: httpx.Client) -> None:
    body = {"model_id": "llama", "prompt": "the quick", "max_new_tokens": 4, "temperature": 0}
    plain = client.post("/generate", json=body).json()
    for none in ({"seed": -1}, {"stop": ""}, {"stop": [""]}, {"top_k": -1}, {"whatever": 1}):
        assert client.post("/generate", json={**body, **none}).json() == plain


def test_a_schema_beside_the_type_is_held(client: httpx.Client) -> None:
    """Where it used to be dropped: any JSON object would have been an answer."""
    schema = {
        "type": "object",
        "properties": {"a": {"enum": [7]}},
        "required": ["a"],
        "additionalProperties": False,
    }
    for kind in ("json_object", "json_schema"):
        body = {**CHAT, "max_tokens": 60, "response_format": {"type": kind, "schema": schema}}
        answer = client.post("/v1/chat/completions", json=body)
        assert json.loads(answer.json()["choices"][0]["message"]["content"]) == {"a": 7}


@pytest.fixture
def official(running: Running) -> Iterator[OpenAI]:
    with connect(running) as client:
        yield client


def test_unknown_names_are_told_in_a_header(official: OpenAI, plain: tuple[str, str]) -> None:
    """On whole answers and on streams, never on those that have none."""
    extra: Any = {"temprature": 1, "keep_alive": -1, "a b\r\nc": 0, "user": "me", "nothing": None}
    raw = official.chat.completions.with_raw_response.create(**CHAT, extra_body=extra)
    assert raw.headers[HEADER] == "temprature, keep_alive, ?"
    assert raw.parse().choices[0].message.content == plain[0]
    streamed = official.chat.completions.with_raw_response.create(**CHAT, extra_body=extra, stream=True)
    assert streamed.headers[HEADER] == "temprature, keep_alive, ?"
    streamed.parse().close()
    many: Any = {f"unknown_{number}": 1 for number in range(50)}
    told = official.completions.with_raw_response.create(**COMPLETION, extra_body=many).headers[HEADER]
    assert told.endswith("unknown_19, and 30 more")
    assert HEADER not in official.completions.with_raw_response.create(**COMPLETION).headers


def test_they_are_logged_once(client: httpx.Client, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        client.post("/v1/completions", json={**COMPLETION, "a_name_that_is_logged": 1})
    told = capfd.readouterr()
    assert (told.out + told.err).count("a_name_that_is_logged") == 1


def test_an_answer_names_its_request_as_the_log_does(
    official: OpenAI, capfd: pytest.CaptureFixture[str]
) -> None:
    answer = official.completions.create(**COMPLETION, extra_body={"another_name_that_is_logged": 1})
    told = capfd.readouterr()
    assert answer._request_id
    assert answer._request_id in told.out + told.err
    with pytest.raises(BadRequestError) as refused:
        official.completions.create(**COMPLETION, extra_body={"mirostat": 2})
    assert refused.value.request_id not in (None, answer._request_id)


def test_a_strict_server_hears_a_typing_slip(model_dir: Path) -> None:
    with serving(model_dir, strict_fields=True) as running, connect(running) as client:
        with pytest.raises(BadRequestError, match=r"Did you mean temperature\?") as slip:
            client.completions.create(**COMPLETION, extra_body={"temprature": 1})
        assert slip.value.param == "temprature"
        assert client.completions.create(**COMPLETION, extra_body={"ignore_eos": False}).choices
