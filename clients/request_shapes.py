"""Requests as programs without a library send them: Open WebUI, Continue, SillyTavern. Plain HTTP alone."""

import json
import urllib.request

from checks import BASE, MODEL, QUESTION, URL, run

TURNS = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]


def post(url: str, body: dict) -> str:
    headers = {"content-type": "application/json", "authorization": "Bearer none"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read().decode()


def read_stream(raw: str) -> str:
    lines = [line.removeprefix("data: ") for line in raw.split("\n") if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    chunks = [json.loads(line) for line in lines[:-1]]
    return "".join(
        choice.get("text") or choice.get("delta", {}).get("content") or ""
        for chunk in chunks
        for choice in chunk["choices"]
    )


def open_webui() -> None:
    models = json.loads(urllib.request.urlopen(f"{BASE}/models").read())
    assert any(model["id"] == MODEL for model in models["data"])
    body = {
        "model": MODEL,
        "messages": TURNS,
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 20,
        "metadata": {"chat_id": "x", "message_id": "y", "variables": {}},
        "features": {"web_search": False},
        "tool_ids": None,
        "user": {"name": "a", "id": "b"},
        "num_ctx": 4096,
        "temperature": 0,
    }
    assert read_stream(post(f"{BASE}/chat/completions", body))
    assert json.loads(post(f"{BASE}/embeddings", {"model": MODEL, "input": ["one"], "user": {"id": "b"}}))


def continue_dev() -> None:
    body = {"model": MODEL, "messages": TURNS, "stream": True, "max_tokens": 20, "temperature": 0}
    body |= {"tools": [], "parallel_tool_calls": False, "stop": ["<|endoftext|>", "</s>"], "keep_alive": 1800}
    assert read_stream(post(f"{BASE}/chat/completions", body))
    # Autocomplete: a plain prompt, for which it sends an empty suffix.
    body = {"model": MODEL, "prompt": "Mia has a", "stream": True, "max_tokens": 8, "suffix": ""}
    assert read_stream(post(f"{BASE}/completions", body))


def silly_tavern() -> None:
    neutral = {"repetition_penalty": 1, "top_k": -1, "min_p": 0, "top_a": 0, "mirostat_mode": 0, "tfs": 1}
    neutral |= {"typical_p": 1, "ban_eos_token": False, "skip_special_tokens": True, "add_bos_token": True}
    neutral |= {"ignore_eos": False, "min_tokens": 0, "n": 1, "best_of": 1, "logit_bias": {}, "seed": -1}
    body = {"model": MODEL, "prompt": "Mia has a", "max_tokens": 8, "stream": True, **neutral}
    assert read_stream(post(f"{BASE}/completions", body))
    chat = {"model": MODEL, "messages": TURNS, "max_tokens": 8, "stream": True, "presence_penalty": 0}
    assert read_stream(post(f"{BASE}/chat/completions", chat))
    told = json.loads(post(f"{URL}/tokenize", {"prompt": "Mia has", "model": MODEL}))
    assert told["count"] == len(told["tokens"])


run([], {"Open WebUI": open_webui, "Continue": continue_dev, "SillyTavern": silly_tavern})
