"""Token ids and back in the form of other servers, beside the classic one at the same address."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from serving import Running, serving
from talking import TALKER, TURNS, make_talker
from transformers import AutoTokenizer

from glassformer.errors import BadValue
from glassformer.server.openai.tokenizing import choose_model
from glassformer.server.services import Services
from glassformer.settings import Settings

TEXT = "the quick brown fox"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    root = make_talker(tmp_path_factory.mktemp("tokenizing"))
    with serving(root, rate_limit="", default_model=TALKER) as server:
        yield server


@pytest.fixture
def client(running: Running) -> Iterator[httpx.Client]:
    with running.client() as found:
        yield found


@pytest.fixture(scope="module")
def tokenizer(running: Running) -> Any:
    return AutoTokenizer.from_pretrained(running.services.settings.model_dirs[0] / TALKER)


def ask(client: httpx.Client, path: str, **body: Any) -> Any:
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("path", ["/tokenize", "/v1/tokenize"])
def test_ids_of_a_text(client: httpx.Client, tokenizer: Any, path: str) -> None:
    """With the model named or, as by evaluation harnesses, not."""
    for named in ({"model": TALKER}, {}):
        found = ask(client, path, prompt=TEXT, add_special_tokens=False, **named)
        ids = tokenizer(TEXT, add_special_tokens=False)["input_ids"]
        assert found == {"count": len(ids), "max_model_len": 4096, "tokens": ids, "token_strs": None}
    told = ask(client, path, prompt=TEXT, model=TALKER, return_token_strs=True)
    assert told["token_strs"] == tokenizer.convert_ids_to_tokens(told["tokens"])


@pytest.mark.parametrize("path", ["/tokenize", "/v1/tokenize"])
def test_ids_of_a_conversation(client: httpx.Client, tokenizer: Any, path: str) -> None:
    for prompts in (True, False):
        text = tokenizer.apply_chat_template(TURNS, tokenize=False, add_generation_prompt=prompts)
        found = ask(client, path, messages=TURNS, add_generation_prompt=prompts)
        assert found["tokens"] == tokenizer(text, add_special_tokens=False)["input_ids"]


def test_the_classic_form_is_as_it_was(client: httpx.Client, tokenizer: Any) -> None:
    """Whatever else is sent along: old front ends send their generation fields everywhere."""
    found = ask(client, "/tokenize", model_id=TALKER, prompt=TEXT, model="x", add_special_tokens=False)
    assert found["token_ids"] == tokenizer(TEXT)["input_ids"]
    assert "".join(found["tokens"]) == TEXT
    for body in ({"prompt": TEXT}, {"prompt": TEXT, "max_new_tokens": 3}, {}):
        refused = client.post("/tokenize", json=body)
        assert refused.status_code == 422
        assert refused.json() == {"error": "model_id is missing.", "field": "model_id"}


def test_back_to_text(client: httpx.Client, tokenizer: Any) -> None:
    ids = [tokenizer.bos_token_id, *tokenizer(TEXT)["input_ids"], tokenizer.eos_token_id]
    for path in ("/detokenize", "/v1/detokenize"):
        assert ask(client, path, tokens=ids) == {"prompt": f"<s>{TEXT}</s>"}
        assert ask(client, path, tokens=[], model=TALKER) == {"prompt": ""}


@pytest.mark.parametrize("path", ["/tokenizer_info", "/v1/tokenizer_info"])
def test_what_the_tokenizer_is(client: httpx.Client, tokenizer: Any, path: str) -> None:
    told = client.get(path).json()
    assert (told["bos_token"], told["eos_token"], told["unk_token"]) == ("<s>", "</s>", None)
    assert told["chat_template"] == tokenizer.chat_template
    assert client.get(path, params={"model": "tales"}).json()["model"] == "tales"
    assert "/" not in told["tokenizer_class"]


def test_what_the_model_would_read(client: httpx.Client, tokenizer: Any) -> None:
    chat = ask(client, "/v1/chat/completions/render", model=TALKER, messages=TURNS)
    text = tokenizer.apply_chat_template(TURNS, tokenize=False, add_generation_prompt=True)
    assert chat["prompt"] == text
    assert chat["token_ids"] == tokenizer(text, add_special_tokens=False)["input_ids"]
    told = ask(client, "/v1/completions/render", model=TALKER, prompt=[TEXT, [5, 6]])
    assert [one["token_ids"] for one in told["prompts"]] == [tokenizer(TEXT)["input_ids"], [5, 6]]
    assert told["prompts"][0]["prompt"] == TEXT


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/tokenize", {"model": TALKER}, "prompt"),
        ("/v1/tokenize", {}, "prompt"),
        ("/v1/tokenize", {"prompt": 5}, "prompt"),
        ("/v1/tokenize", {"messages": [{"role": "user"}]}, "messages.0.content"),
        ("/v1/tokenize", {"messages": TURNS, "add_special_tokens": True}, "add_special_tokens"),
        ("/detokenize", {"tokens": "x"}, "tokens"),
        ("/v1/detokenize", {"tokens": [10**6]}, "tokens"),
        ("/v1/chat/completions/render", {"model": TALKER, "messages": []}, "messages"),
    ],
)
def test_what_is_refused_is_named(client: httpx.Client, path: str, body: Any, field: str) -> None:
    answer = client.post(path, json=body)
    told = answer.json()
    if path.startswith("/v1"):
        assert answer.status_code == 400
        assert told["error"]["param"] == field
    else:
        assert answer.status_code == 422
        assert told["field"] == field


def test_no_such_model_and_no_body(client: httpx.Client) -> None:
    assert client.post("/tokenize", json={"model": "nope", "prompt": "x"}).status_code == 404
    assert client.get("/tokenizer_info?model=nope").status_code == 404
    for path in ("/tokenize", "/v1/tokenize"):
        for raw in (b"", b"{", b"[]", b"null"):
            answer = client.post(path, content=raw, headers={"content-type": "application/json"})
            assert answer.status_code in (400, 422)


def test_no_model_is_guessed() -> None:
    """A harness would score any model with the tokenizer that it finds; so it finds none that nobody chose."""
    settings = Settings(port=0)
    assert "default_model" not in settings.model_fields_set
    services = Services(settings)
    with pytest.raises(BadValue, match="default_model"):
        choose_model("", services)
    assert choose_model("sorter", services) == "sorter"
