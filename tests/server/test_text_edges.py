"""Text where it begins, ends, and is cut: what is sent, told and run is the same, for tokenizers of every habit."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from serving import Running, serving
from tiny import make_model, make_spaced_tokenizer, make_tokenizer, read_model
from transformers import AutoTokenizer

import glassformer as gf
from glassformer.engine.decoding import decode
from glassformer.engine.generation_request import GenerationRequest
from glassformer.notebook.model import Model
from glassformer.protocol.messages import Sampling

SENTENCE = "Mia has a ball."
CONTROL = "<|im_end|>"
# What the random model thinks comes next is made its end token.
BEFORE_AN_END = [40, 50, 60, 70, 80, 90, 100, 110]
TEMPLATE = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"


def make_chatty_tokenizer() -> Any:
    """With control tokens that end no text, as where a fine-tune names the wrong end."""
    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", CONTROL]})
    tokenizer.chat_template = TEMPLATE
    return tokenizer


@pytest.fixture(scope="module")
def text_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("texts")
    make_model(root / "spaced", "llama", tokenizer=make_spaced_tokenizer())
    make_model(root / "ending", "llama", tokenizer=make_spaced_tokenizer(ends=True))
    make_model(root / "chatty", "llama", tokenizer=make_chatty_tokenizer())
    # Tokens that were added to the tokenizer alone, its table never made longer.
    make_chatty_tokenizer().save_pretrained(make_model(root / "unresized", "llama"))
    usual = make_model(root / "usual", "llama") / "generation_config.json"
    usual.write_text(json.dumps({"do_sample": True, "top_k": 1, "temperature": 0.6, "eos_token_id": 1}))
    model = read_model(make_model(root / "gpt2", "gpt2"))
    with torch.no_grad():
        model.generation_config.eos_token_id = int(
            model(torch.tensor([BEFORE_AN_END])).logits[0, -1].argmax()
        )
    model.generation_config.save_pretrained(root / "gpt2")
    return root


@pytest.fixture(scope="module")
def running(text_dir: Path) -> Iterator[Running]:
    with serving(text_dir, rate_limit="", default_model="spaced") as server:
        yield server


@pytest.fixture
def client(running: Running) -> Iterator[httpx.Client]:
    with running.client() as found:
        yield found


def ask(client: httpx.Client, path: str, **body: Any) -> Any:
    answer = client.post(path, json=body)
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


def record(client: httpx.Client, **body: Any) -> Any:
    """The state of a recording that has ended."""
    made = ask(client, "/api/traces", **body)
    for line in client.get(f"/api/traces/{made['id']}/events").text.split("\n\n"):
        assert "event: error" not in line
    return client.get(f"/api/traces/{made['id']}").json()


# --- tokens -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [SENTENCE, "漢字 🙂", "a  a"])
def test_tokens_join_to_the_text_everywhere(client: httpx.Client, text_dir: Path, text: str) -> None:
    told = ask(client, "/tokenize", model_id="spaced", prompt=text)
    state = record(client, model_id="spaced", prompt=text)
    handle = gf.load(text_dir / "spaced", device="cpu").trace(text)
    assert handle.tokens == told["tokens"] == [token["text"] for token in state["tokens"]]
    raw = b"".join(
        bytes(token["bytes"]) if token["bytes"] else token["text"].encode()
        for token in state["tokens"]
        if not token["special"]
    )
    assert raw.decode() in (text, " " + text)
    attributes = client.get(f"/api/traces/{state['id']}/zarr/zarr.json").json()["attributes"]
    assert attributes["tokens"] == told["tokens"]


def test_words_and_their_insides_are_told_apart(client: httpx.Client, text_dir: Path) -> None:
    inside, word = AutoTokenizer.from_pretrained(text_dir / "spaced").convert_tokens_to_ids(["a", "▁a"])
    trace_id = record(client, model_id="spaced", prompt=SENTENCE)["id"]

    def read(path: str, **query: Any) -> Any:
        return client.get(f"/api/traces/{trace_id}/{path}", params=query).json()

    told = [one["token"] for one in read("distribution", pos=2, limit=1000)["candidates"]]
    lens = [one["token"] for row in read("lens", pos=2, top=100)["rows"] for one in row["candidates"]]
    for tokens in (told, lens):
        texts = {token["id"]: token["text"] for token in tokens}
        assert texts.get(inside, "a") == "a"
        assert texts.get(word, " a") == " a"
    assert {inside, word} <= {token["id"] for token in told}
    answer = ask(client, "/v1/completions", model="spaced", prompt="a a", echo=True, max_tokens=0, logprobs=1)
    assert answer["choices"][0]["logprobs"]["tokens"] == ["<s>", " a", " a"]


# --- prompts that end inside a character ---------------------------------------------------------------


@pytest.mark.parametrize("model", ["gpt2", "spaced"])
def test_a_character_that_the_prompt_left_unfinished_is_written(
    client: httpx.Client, text_dir: Path, model: str
) -> None:
    ids = ask(client, "/tokenize", model_id=model, prompt="ab👍xyz")["token_ids"]
    loaded = gf.load(text_dir / model, device="cpu")
    texts = [loaded.loaded.texts[token_id].text for token_id in ids]
    first, last = (
        texts.index("\ufffd") if "\ufffd" in texts else 0,
        max(at for at, text in enumerate(texts) if "\ufffd" in text),
    )
    for cut in range(first + 1, last + 1):
        written = ids[cut:]
        request = GenerationRequest(
            ids[:cut], Sampling(forced_token_ids=written), max_new_tokens=len(written)
        )
        assert "".join(token.text for token in decode(loaded.loaded, request)) == "👍xyz"
    # The same over HTTP: the last byte alone, drawn by force of a bias.
    answer = ask(
        client,
        "/v1/completions",
        model=model,
        prompt=ids[:last],
        max_tokens=1,
        logprobs=1,
        echo=True,
        temperature=0,
        logit_bias={str(ids[last]): 100},
    )
    choice = answer["choices"][0]
    assert choice["text"].endswith("👍")
    assert choice["logprobs"]["text_offset"][-1] == len(choice["text"]) - 1
    assert answer["usage"]["completion_tokens"] == 1


# --- stop strings ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [CONTROL, CONTROL + "\n"])
def test_a_control_token_stops(client: httpx.Client, text_dir: Path, stop: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(text_dir / "chatty")
    written = tokenizer.encode("the ball" + CONTROL + "\nand more")
    state = record(
        client,
        model_id="chatty",
        prompt="Tom has",
        stop=[stop],
        max_new_tokens=len(written),
        sampling={"forced_token_ids": written},
    )
    assert state["finish_reason"] == "stop"
    count = len(tokenizer.encode("the ball" + stop))
    assert [token["id"] for token in state["tokens"][state["prompt_count"] :]] == written[:count]
    request = GenerationRequest([5], Sampling(forced_token_ids=written), max_new_tokens=40, stop=(stop,))
    loaded = gf.load(text_dir / "chatty", device="cpu").loaded
    assert "".join(token.text for token in decode(loaded, request)) == "the ball"


def test_a_control_token_alone_is_no_text(client: httpx.Client, text_dir: Path) -> None:
    token_id = AutoTokenizer.from_pretrained(text_dir / "chatty").convert_tokens_to_ids(CONTROL)
    bias = {str(token_id): 100}
    body = {"model": "chatty", "prompt": "Tom", "logit_bias": bias, "max_tokens": 10}
    choice = ask(client, "/v1/completions", stop=[CONTROL], logprobs=1, **body)["choices"][0]
    assert (choice["text"], choice["finish_reason"], choice["logprobs"]["tokens"]) == ("", "stop", [])
    choice = ask(client, "/v1/completions", stop=["<|im_start|>"], **body)["choices"][0]
    assert (choice["text"], choice["finish_reason"]) == ("", "length")


# --- what a tokenizer adds ------------------------------------------------------------------------------


def test_a_prompt_goes_on_after_no_end(client: httpx.Client) -> None:
    told = ask(client, "/tokenize", model_id="ending", prompt=SENTENCE)
    assert (told["token_ids"][-1], told["left_off"]) == (2, [told["count"] - 1])
    ran = told["token_ids"][:-1]
    assert [t["id"] for t in record(client, model_id="ending", prompt=SENTENCE)["tokens"]] == ran
    answer = ask(
        client, "/v1/completions", model="ending", prompt=SENTENCE, echo=True, max_tokens=0, logprobs=1
    )
    assert answer["usage"]["prompt_tokens"] == len(ran) == len(answer["choices"][0]["logprobs"]["tokens"])
    assert answer["choices"][0]["text"] == SENTENCE
    generated = ask(client, "/generate", model_id="ending", prompt=SENTENCE, max_new_tokens=3, temperature=0)
    assert generated["usage"]["prompt_tokens"] == len(ran)
    by_ids = ask(client, "/v1/completions", model="ending", prompt=ran, max_tokens=3, temperature=0)
    assert generated["completion"] == by_ids["choices"][0]["text"]


def test_a_beginning_that_is_spelt_comes_once(client: httpx.Client) -> None:
    plain = ask(client, "/tokenize", model_id="spaced", prompt=SENTENCE)
    assert plain["left_off"] == []
    spelt = ask(client, "/tokenize", model_id="spaced", prompt="<s>" + SENTENCE)
    assert (spelt["token_ids"][:2], spelt["left_off"]) == ([1, 1], [0])
    state = record(client, model_id="spaced", prompt="<s>" + SENTENCE)
    assert [token["id"] for token in state["tokens"]] == spelt["token_ids"][1:]
    answer = ask(client, "/v1/completions", model="spaced", prompt="<s>" + SENTENCE, max_tokens=1)
    assert answer["usage"]["prompt_tokens"] == spelt["count"] - 1
    # Ids are run as they are.
    state = record(client, model_id="spaced", token_ids=spelt["token_ids"])
    assert [token["id"] for token in state["tokens"]] == spelt["token_ids"]


# --- recordings -----------------------------------------------------------------------------------------


def test_a_recording_keeps_what_it_was_given(client: httpx.Client, text_dir: Path) -> None:
    text = "<s>漢字 🙂"
    assert record(client, model_id="spaced", prompt=text)["prompt"] == text
    messages = [{"role": "user", "content": "Hi 🙂"}]
    state = record(client, model_id="chatty", messages=messages)
    assert state["messages"] == messages
    assert state["prompt"] == f"<|im_start|>user\nHi 🙂{CONTROL}\n"
    ids = ask(client, "/tokenize", model_id="gpt2", prompt="ab👍")["token_ids"][:-1]
    state = record(client, model_id="gpt2", token_ids=ids)
    assert state["prompt"].startswith("ab\ufffd")
    assert state["messages"] is None
    handle: Model = gf.load(text_dir / "spaced", device="cpu")
    with httpx.Client(trust_env=False) as reader:
        url = httpx.URL(handle.trace(text).url)
        shown = reader.get(url.copy_with(path=f"/api/traces/{url.params['trace']}", query=None)).json()
    assert shown["prompt"] == text


# --- what evaluation harnesses reckon --------------------------------------------------------------------


def loglikelihood(client: httpx.Client, context: list[int], answer: list[int]) -> tuple[float, bool]:
    """As lm_eval's local-completions: the prompt echoed, one token more, which is cut off again."""
    told = ask(
        client,
        "/v1/completions",
        model="gpt2",
        prompt=[[*context, *answer]],
        temperature=0,
        max_tokens=1,
        logprobs=1,
        seed=1234,
        echo=True,
    )["choices"][0]["logprobs"]
    scores = told["token_logprobs"][len(context) : -1]
    best = told["top_logprobs"][len(context) : -1]
    is_greedy = all(
        told["tokens"][at] == max(top, key=top.__getitem__) for at, top in enumerate(best, start=len(context))
    )
    return sum(scores), is_greedy


def test_an_answer_before_an_end_is_scored_whole(client: httpx.Client, text_dir: Path) -> None:
    model = read_model(text_dir / "gpt2")
    ids, end_id = BEFORE_AN_END, model.generation_config.eos_token_id
    context, answer = ids[:5], ids[5:]
    with torch.no_grad():
        expected = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    right = sum(float(expected[at - 1, ids[at]]) for at in range(5, 8))
    found, is_greedy = loglikelihood(client, context, answer)
    assert is_greedy == (expected[4:7].argmax(-1).tolist() == answer)
    end = gf.load(text_dir / "gpt2", device="cpu").loaded.texts[end_id].text
    assert math.isclose(found, right, abs_tol=1e-4)
    told = ask(client, "/v1/completions", model="gpt2", prompt=ids, temperature=0, max_tokens=4, logprobs=1)[
        "choices"
    ][0]
    assert (told["text"], told["finish_reason"], told["logprobs"]["tokens"]) == ("", "stop", [end])
    assert math.isclose(told["logprobs"]["token_logprobs"][0], float(expected[-1, end_id]), abs_tol=1e-4)
    assert told["logprobs"]["text_offset"] == [0]
    streamed = client.post(
        "/v1/completions",
        json={
            "model": "gpt2",
            "prompt": ids,
            "temperature": 0,
            "max_tokens": 4,
            "logprobs": 1,
            "stream": True,
        },
    )
    events = [json.loads(line[6:]) for line in streamed.text.splitlines() if line.startswith("data: {")]
    tokens = [t for e in events for c in e["choices"] for t in (c["logprobs"] or {"tokens": []})["tokens"]]
    assert tokens == [end]


# --- tokens that only the tokenizer has ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/generate", {"prompt": f"a{CONTROL}b"}, "prompt"),
        ("/api/traces", {"messages": [{"role": "user", "content": "x"}]}, "messages"),
        ("/v1/completions", {"prompt": f"a{CONTROL}"}, "prompt"),
        ("/v1/completions", {"prompt": "a", "stop_token_ids": [375]}, "stop_token_ids"),
    ],
)
def test_a_token_that_the_model_lacks_is_named(
    client: httpx.Client, path: str, body: dict[str, Any], field: str
) -> None:
    shown = ask(client, "/tokenize", model_id="unresized", prompt=f"a{CONTROL}")
    assert shown["token_ids"][-1] == 375
    assert shown["tokens"][-1] == CONTROL
    named = "model" if path.startswith("/v1") else "model_id"
    answer = client.post(path, json={named: "unresized", **body})
    assert answer.status_code == (400 if path.startswith("/v1") else 422)
    assert field in answer.text
    assert f"The tokenizer has the token '{CONTROL}' (id 375), and the model has not" in answer.text
    ask(client, "/generate", model_id="unresized", prompt="a", max_new_tokens=1)


def test_a_longer_tokenizer_is_held_to_constraints(client: httpx.Client) -> None:
    """Only what the model has is drawn, and where a constraint wants a token that it has not, that is said."""
    body = {"model": "unresized", "prompt": "a", "max_tokens": 40}
    told = ask(client, "/v1/completions", **body, guided_regex="[abc]{3}")
    assert len(told["choices"][0]["text"]) == 3
    assert set(told["choices"][0]["text"]) <= set("abc")


# --- how a model is to be sampled ---------------------------------------------------------------------


def test_what_a_request_leaves_out_is_as_the_model_says(client: httpx.Client) -> None:
    """Its makers have the best token taken; what a request says goes before that, OpenAI's own default too."""
    body = {"model": "usual", "prompt": "the quick", "max_tokens": 12}

    def write(**options: Any) -> str:
        text: str = ask(client, "/v1/completions", **body, **options)["choices"][0]["text"]
        return text

    greedy = write(temperature=0)
    assert {write(seed=seed) for seed in range(4)} == {write(top_k=None, seed=9)} == {greedy}
    assert len({write(seed=seed, top_k=0, temperature=1) for seed in range(4)} - {greedy}) > 1
    chat = {"model": "usual", "messages": [{"role": "user", "content": "x"}]}
    assert client.post("/v1/chat/completions", json=chat).status_code == 400  # it has no template
