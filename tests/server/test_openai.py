"""Surface B with the official client: what it gives is what transformers computes."""

import json
import math
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from openai import AsyncOpenAI, BadRequestError, DefaultAsyncHttpxClient, OpenAI
from pydantic import BaseModel
from serving import Running, serving
from talking import TALKER, TURNS, connect, make_talker
from tiny import read_model
from transformers import AutoTokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode

PROMPT = "the quick brown fox"


@dataclass
class Reference:
    """The same model in transformers' hands."""

    tokenizer: Any
    model: Any

    def continue_ids(self, ids: list[int], count: int) -> list[int]:
        out = self.model.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=count)
        return out[0, len(ids) :].tolist()

    def encode_turns(self, turns: list[Any]) -> list[int]:
        text = self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True)

    def logits(self, ids: list[int]) -> torch.Tensor:
        """Float[Tensor, "pos vocab"]."""
        with torch.no_grad():
            return self.model(torch.tensor([ids])).logits[0]

    def logprobs(self, ids: list[int]) -> torch.Tensor:
        """Float[Tensor, "pos vocab"]."""
        return self.logits(ids).log_softmax(-1)

    def find(self, raw: bytes) -> int:
        """The token of those bytes; a byte-level vocabulary has one at most."""
        alphabet = bytes_to_unicode()
        return self.tokenizer.convert_tokens_to_ids("".join(alphabet[byte] for byte in raw))

    def find_token(self, token: Any) -> int:
        """The token that a chat's log probabilities tell of."""
        if token.bytes is None:
            return self.tokenizer.convert_tokens_to_ids(token.token)
        return self.find(bytes(token.bytes))

    def find_spelled(self, token: str) -> int:
        """The token that a completion's log probabilities tell of."""
        if token in self.tokenizer.all_special_tokens:
            return self.tokenizer.convert_tokens_to_ids(token)
        if token.startswith("bytes:"):
            return self.find(bytes.fromhex(token.removeprefix("bytes:").replace("\\x", "")))
        return self.find(token.encode())


@pytest.fixture(scope="module")
def talker_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_talker(tmp_path_factory.mktemp("talker"))


@pytest.fixture(scope="module")
def talking(talker_dir: Path) -> Iterator[Running]:
    with serving(talker_dir, rate_limit="", default_model=TALKER) as running:
        yield running


@pytest.fixture
def official(talking: Running) -> Iterator[OpenAI]:
    with connect(talking) as client:
        yield client


@pytest.fixture(scope="module")
def reference(talking: Running, talker_dir: Path) -> Reference:
    folder = talker_dir / TALKER
    # transformers builds one model at a time; two threads that do leave its functions patched.
    for model_id in (TALKER, "tales", "sorter"):
        talking.services.registry.load(model_id).result(timeout=30)
    model = read_model(folder)
    return Reference(AutoTokenizer.from_pretrained(folder), model)


def ask(client: OpenAI, **options: Any) -> Any:
    return client.chat.completions.create(
        **{"model": TALKER, "messages": TURNS, "temperature": 0, "max_tokens": 24, **options}
    )


def complete(client: OpenAI, **options: Any) -> Any:
    return client.completions.create(
        **{"model": TALKER, "prompt": PROMPT, "temperature": 0, "max_tokens": 24, **options}
    )


# --- models ---------------------------------------------------------------------------------------


def test_models(official: OpenAI) -> None:
    models = {model.id: model for model in official.models.list()}
    assert {"tales", "sorter", TALKER} <= set(models)
    assert models["tales"].owned_by == "glassformer"
    assert all(model.object == "model" and model.created > 0 for model in models.values())
    assert official.models.retrieve(TALKER) == models[TALKER]


# --- chats ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("turns", [
    TURNS,
    [{"role": "user", "content": "hi 漢字 🎉"}],
    [*TURNS, {"role": "assistant", "content": "Tom."}, {"role": "user", "content": "Why?"}],
])  # fmt: skip
def test_a_greedy_chat_is_transformers(official: OpenAI, reference: Reference, turns: list[Any]) -> None:
    ids = reference.encode_turns(turns)
    new = reference.continue_ids(ids, 24)
    answer = ask(official, messages=turns)
    assert answer.choices[0].message.content == reference.decode(new)
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (len(ids), len(new))
    assert answer.usage.total_tokens == len(ids) + len(new)
    assert answer.model == TALKER
    assert answer.object == "chat.completion"


def test_a_chat_with_the_bundled_model(official: OpenAI) -> None:
    """It ends its turn by itself."""
    turns = [{"role": "user", "content": "Mia has a ball. Who has the ball?"}]
    answer = ask(official, model="tales", messages=turns, max_tokens=60)
    assert "Mia" in answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert "<|" not in answer.choices[0].message.content


def test_other_ways_to_say_the_same(official: OpenAI) -> None:
    """Text parts are lines, a developer is a system, and what says nothing is no matter."""
    plain = [{"role": "system", "content": "Be\nbrief."}, {"role": "user", "content": "Who?"}]
    parts = [
        {
            "role": "developer",
            "content": [{"type": "text", "text": "Be"}, {"type": "text", "text": "brief."}],
        },
        {"role": "user", "content": "Who?", "name": "mia"},
    ]
    extras = {
        "user": "me",
        "metadata": {"a": "b"},
        "store": True,
        "max_completion_tokens": 24,
        "max_tokens": None,
        "tools": [],
        "tool_choice": "none",
        "response_format": {"type": "text"},
        "modalities": ["text"],
        "reasoning_effort": "low",
        "parallel_tool_calls": False,
    }
    first, second = ask(official, messages=plain), ask(official, messages=parts, **extras)
    assert first.choices[0].message.content == second.choices[0].message.content


def test_a_limit_and_no_limit(official: OpenAI) -> None:
    short = ask(official, max_tokens=None, max_completion_tokens=3)
    assert short.usage.completion_tokens == 3
    assert short.choices[0].finish_reason == "length"
    # Left out, a chat may go on for as long as there is room: here until the sorter's context is full.
    full = official.completions.create(model="sorter", prompt="CBABBC", temperature=0, max_tokens=500)
    assert full.choices[0].text == "ABBBCC"


@pytest.mark.parametrize("seed", range(3))
def test_a_stream_is_the_whole(official: OpenAI, seed: int) -> None:
    """Random models write every byte: half characters, newlines, odd spaces."""
    options = {"seed": seed, "temperature": 1.3, "max_tokens": 60, "logprobs": True, "top_logprobs": 2}
    whole = ask(official, **options)
    chunks = list(ask(official, stream=True, stream_options={"include_usage": True}, **options))
    assert len({chunk.id for chunk in chunks}) == 1
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert chunks[0].choices[0].delta.role == "assistant"
    *pieces, end, usage = chunks
    assert usage.choices == []
    assert usage.usage == whole.usage
    assert all(chunk.usage is None for chunk in (*pieces, end))
    assert "".join(chunk.choices[0].delta.content for chunk in pieces) == whole.choices[0].message.content
    assert end.choices[0].finish_reason == whole.choices[0].finish_reason
    assert all(chunk.choices[0].finish_reason is None for chunk in pieces)
    told = [chunk.choices[0].logprobs for chunk in pieces if chunk.choices[0].logprobs]
    check_same([token for part in told for token in part.content], whole.choices[0].logprobs.content)


def test_the_lines_of_a_stream(talking: Running) -> None:
    """Nothing but `data:` lines and comments, one line an event, and the word of the end."""
    body = {"model": TALKER, "messages": TURNS, "max_tokens": 30, "stream": True, "seed": 1}
    for path, change in (("chat/completions", {}), ("completions", {"prompt": "x", "messages": None})):
        with (
            talking.client() as client,
            client.stream("POST", f"/v1/{path}", json={**body, **change}) as answer,
        ):
            assert answer.headers["content-type"].startswith("text/event-stream")
            raw = "".join(answer.iter_text())
        assert raw.endswith("\n\ndata: [DONE]\n\n")
        events = raw.split("\n\n")[:-1]
        assert all(event.startswith(("data: ", ": ")) and "\n" not in event for event in events)
        assert all("usage" not in json.loads(event[6:]) for event in events[:-1])


def test_several_choices(official: OpenAI) -> None:
    """Each is what its own seed gives alone, in any order of arrival."""
    options = {"temperature": 1, "max_tokens": 20}
    three = ask(official, n=3, seed=5, **options)
    assert [choice.index for choice in three.choices] == [0, 1, 2]
    texts = [choice.message.content for choice in three.choices]
    assert len(set(texts)) == 3
    alone = [ask(official, seed=5 + index, **options) for index in range(3)]
    assert [answer.choices[0].message.content for answer in alone] == texts
    assert three.usage.completion_tokens == sum(answer.usage.completion_tokens for answer in alone)
    assert three.usage.prompt_tokens == alone[0].usage.prompt_tokens
    streamed = {0: "", 1: "", 2: ""}
    ends = set()
    for chunk in ask(official, n=3, seed=5, stream=True, **options):
        choice = chunk.choices[0]
        streamed[choice.index] += choice.delta.content or ""
        if choice.finish_reason:
            ends.add(choice.index)
    assert list(streamed.values()) == texts
    assert ends == {0, 1, 2}


def test_seeds(official: OpenAI) -> None:
    def write(seed: int | None) -> str:
        return ask(official, seed=seed, temperature=1.0).choices[0].message.content

    assert write(7) == write(7) != write(8)
    assert write(-7) == write(-7)
    assert write(None) != write(None)


def test_defaults_are_the_surfaces_own(official: OpenAI) -> None:
    left_out = official.chat.completions.create(model=TALKER, messages=TURNS, seed=3, max_tokens=20)
    explicit = ask(official, seed=3, max_tokens=20, temperature=1, top_p=1, n=1, presence_penalty=0)
    assert left_out.choices == explicit.choices
    assert official.completions.create(model=TALKER, prompt="the").usage.completion_tokens <= 16


def test_a_small_top_p_is_greedy(official: OpenAI) -> None:
    greedy = ask(official).choices
    assert ask(official, temperature=1, top_p=0).choices == greedy
    assert ask(official, temperature=1, extra_body={"top_k": 1}).choices == greedy


def test_stops(official: OpenAI) -> None:
    options = {"max_tokens": 60, "seed": 2, "temperature": 1, "logprobs": True}
    whole = ask(official, **options).choices[0].message.content
    for start, length in ((8, 2), (15, 5), (30, 1)):
        stop = whole[start : start + length]
        found = ask(official, stop=[stop, "never written"], **options).choices[0]
        assert found.message.content == whole[: whole.index(stop)]
        assert found.finish_reason == "stop"
        chunks = list(ask(official, stop=stop, stream=True, **options))
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == found.message.content
        # No token tells what the stop string took away, but for the one it begins inside of.
        tokens = found.logprobs.content
        assert join(tokens).decode(errors="replace").startswith(found.message.content)
        assert found.message.content.startswith(join(tokens[:-1]).decode(errors="replace").rstrip("\ufffd"))
        streamed = [chunk.choices[0].logprobs.content for chunk in chunks if chunk.choices[0].logprobs]
        check_same([token for content in streamed for token in content], tokens)


# --- how tokens are drawn --------------------------------------------------------------------------


@pytest.mark.parametrize(("presence", "frequency"), [(1.5, 0.0), (0.0, 0.7), (-0.5, 2.0)])
def test_penalties(official: OpenAI, reference: Reference, presence: float, frequency: float) -> None:
    """Greedily, by hand: what was written counts against itself, the prompt does not."""
    ids = reference.tokenizer(PROMPT)["input_ids"]
    new: list[int] = []
    for _ in range(20):
        row = reference.logits([*ids, *new])[-1]
        for token_id in set(new):
            row[token_id] -= presence + frequency * new.count(token_id)
        new.append(int(row.argmax()))
    options = {"presence_penalty": presence, "frequency_penalty": frequency, "max_tokens": 20}
    assert complete(official, **options).choices[0].text == reference.decode(new)


def test_logit_bias(official: OpenAI, reference: Reference) -> None:
    usual, wanted = (reference.find(text.encode()) for text in (" the", "z"))
    forced = complete(official, logit_bias={str(wanted): 100}, max_tokens=5).choices[0]
    assert forced.text == "zzzzz"
    first = complete(official, logprobs=0, max_tokens=1).choices[0].logprobs.tokens[0]
    banned = {str(reference.find_spelled(first)): -100, str(usual): -100}
    others = complete(official, logit_bias=banned, logprobs=0).choices[0].logprobs.tokens
    assert not {first, " the"} & set(others)


class Holder(BaseModel):
    name: Literal["Mia", "Tom"]
    has_ball: bool


def test_answers_that_fit_a_schema(official: OpenAI) -> None:
    """A random model would write noise; held to the schema it cannot."""
    for seed in range(3):
        answer = official.chat.completions.parse(
            model=TALKER, messages=TURNS, response_format=Holder, seed=seed, max_tokens=200
        )
        assert isinstance(answer.choices[0].message.parsed, Holder)
    any_object = ask(
        official,
        model="tales",
        temperature=1,
        seed=1,
        max_tokens=150,
        response_format={"type": "json_object"},
    ).choices[0]
    assert any_object.message.content.lstrip().startswith("{")
    if any_object.finish_reason == "stop":
        assert isinstance(json.loads(any_object.message.content), dict)


def test_answers_that_fit_a_pattern(official: OpenAI) -> None:
    for seed in range(3):
        options: dict[str, Any] = {"temperature": 1, "seed": seed, "max_tokens": 50}
        choice = ask(official, extra_body={"guided_choice": ["Mia", "Tom"]}, **options).choices[0]
        assert choice.message.content in ("Mia", "Tom")
        assert choice.finish_reason == "stop"
        number = complete(official, extra_body={"guided_regex": "[1-9][0-9]{2}"}, **options).choices[0].text
        assert re.fullmatch("[1-9][0-9]{2}", number)


# --- log probabilities ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{"temperature": 0}, {"temperature": 1.2, "top_p": 0.8, "seed": 4}], ids=str
)
def test_logprobs_are_the_models_own(official: OpenAI, reference: Reference, options: dict[str, Any]) -> None:
    answer = ask(official, logprobs=True, top_logprobs=20, max_tokens=40, **options)
    tokens = answer.choices[0].logprobs.content
    prompt = reference.encode_turns(TURNS)
    new = [reference.find_token(token) for token in tokens]
    assert reference.decode(new) == answer.choices[0].message.content
    assert answer.usage.completion_tokens - len(new) == (answer.choices[0].finish_reason == "stop")
    rows = reference.logprobs([*prompt, *new])[len(prompt) - 1 :]
    for token, row, token_id in zip(tokens, rows, new, strict=False):
        assert math.isclose(token.logprob, row[token_id], abs_tol=1e-4)
        assert len(token.top_logprobs) == 20
        best = row.topk(20)
        told = [top.logprob for top in token.top_logprobs]
        assert torch.allclose(torch.tensor(told), best.values, atol=1e-4)
        assert told == sorted(told, reverse=True)
    assert ask(official, logprobs=True).choices[0].logprobs.content[0].top_logprobs == []
    assert ask(official).choices[0].logprobs is None


def test_the_bytes_of_tokens(official: OpenAI, reference: Reference) -> None:
    """Joined, the bytes are the text, however the characters are cut."""
    for seed in range(4):
        answer = ask(official, temperature=1.5, seed=seed, logprobs=True, max_tokens=80)
        tokens = answer.choices[0].logprobs.content
        assert join(tokens).decode(errors="replace") == answer.choices[0].message.content
        for token in tokens:
            if token.bytes is None:  # a control token, which has no text
                assert token.token in reference.tokenizer.all_special_tokens
            else:
                assert token.token == bytes(token.bytes).decode(errors="replace")


def check_same(tokens: list[Any], others: list[Any]) -> None:
    """The same tokens; what was in the cache or in the same forward decides on the last bits of their numbers."""
    assert [token.bytes for token in tokens] == [token.bytes for token in others]
    assert [token.logprob for token in tokens] == pytest.approx([token.logprob for token in others])


def join(tokens: list[Any]) -> bytes:
    return b"".join(bytes(token.bytes or []) for token in tokens)


# --- completions ----------------------------------------------------------------------------------


def test_a_greedy_completion_is_transformers(official: OpenAI, reference: Reference) -> None:
    ids = reference.tokenizer(PROMPT)["input_ids"]
    new = reference.continue_ids(ids, 24)
    answer = complete(official)
    assert answer.object == "text_completion"
    assert answer.choices[0].text == reference.decode(new)
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (len(ids), len(new))
    chunks = list(complete(official, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == answer.choices[0].text
    assert chunks[-1].choices[0].finish_reason == answer.choices[0].finish_reason


def test_the_four_forms_of_a_prompt(official: OpenAI, reference: Reference) -> None:
    texts = ["the quick", "Mia gives", "漢字"]
    ids = [reference.tokenizer(text)["input_ids"] for text in texts]
    alone = [complete(official, prompt=text).choices[0].text for text in texts]
    assert [choice.text for choice in complete(official, prompt=texts).choices] == alone
    assert [choice.text for choice in complete(official, prompt=ids).choices] == alone
    assert complete(official, prompt=ids[1]).choices[0].text == alone[1]
    several = complete(official, prompt=texts, n=2, temperature=1, seed=1)
    assert [choice.index for choice in several.choices] == list(range(6))
    assert several.usage.prompt_tokens == sum(map(len, ids))
    last = complete(official, prompt=texts[2], temperature=1, seed=2).choices[0].text
    assert several.choices[5].text == last


def test_more_log_probabilities_than_an_answer_holds_are_refused_in_numbers(official: OpenAI) -> None:
    """A body of 0.7 MB asked for 112 MB, which held everybody up for half a minute while it was built."""
    asked = {"prompt": [[5] * 100] * 60, "echo": True, "max_tokens": 0}
    with pytest.raises(BadRequestError, match=r"126000 log probabilities; at most 100000") as refused:
        complete(official, **asked, logprobs=20)
    assert refused.value.param == "logprobs"
    told = complete(official, **asked, logprobs=5).choices
    assert [len(choice.logprobs.tokens) for choice in told] == [100] * 60


def test_echo(official: OpenAI) -> None:
    plain = complete(official).choices[0].text
    assert complete(official, echo=True).choices[0].text == PROMPT + plain
    chunks = complete(official, echo=True, stream=True)
    assert "".join(chunk.choices[0].text for chunk in chunks) == PROMPT + plain
    only = complete(official, echo=True, max_tokens=0)
    assert (only.choices[0].text, only.choices[0].finish_reason) == (PROMPT, "length")
    assert only.usage.completion_tokens == 0


@pytest.mark.parametrize("prompt", [PROMPT, "Who has the 🎉? naïve café " * 30])
def test_the_logprobs_of_a_prompt(official: OpenAI, reference: Reference, prompt: str) -> None:
    """As evaluation programs ask for them."""
    ids = reference.tokenizer(prompt)["input_ids"]
    told = complete(official, prompt=prompt, echo=True, max_tokens=0, logprobs=3).choices[0].logprobs
    rows = reference.logprobs(ids)
    assert told.token_logprobs[0] is told.top_logprobs[0] is None
    expected = rows[:-1].gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
    assert torch.allclose(torch.tensor(told.token_logprobs[1:]), expected, atol=1e-4)
    for top, row in zip(told.top_logprobs[1:], rows[:-1], strict=True):
        best = torch.tensor(sorted(top.values(), reverse=True)[:3])
        assert torch.allclose(best, row.topk(3).values, atol=1e-4)


def test_the_logprobs_of_a_completion(official: OpenAI, reference: Reference) -> None:
    answer = complete(official, logprobs=2, temperature=1, seed=3, max_tokens=30, echo=True)
    text, told = answer.choices[0].text, answer.choices[0].logprobs
    assert len(told.tokens) == len(told.token_logprobs) == len(told.top_logprobs) == len(told.text_offset)
    new = [reference.find_spelled(token) for token in told.tokens]
    assert new[: answer.usage.prompt_tokens] == reference.tokenizer(PROMPT)["input_ids"]
    rows = reference.logprobs(new)
    for pos in range(1, len(new)):
        assert math.isclose(told.token_logprobs[pos], rows[pos - 1, new[pos]], abs_tol=1e-4)
        assert told.tokens[pos] in told.top_logprobs[pos]
    # After half a character the offset is that of the character.
    for before, token, offset in zip(["", *told.tokens], told.tokens, told.text_offset, strict=False):
        if not token.startswith("bytes:"):
            assert text[offset:].startswith(token) or before.startswith("bytes:")
    chunks = list(
        complete(official, logprobs=2, temperature=1, seed=3, max_tokens=30, echo=True, stream=True)
    )
    streamed = [chunk.choices[0].logprobs for chunk in chunks if chunk.choices[0].logprobs]
    assert [offset for part in streamed for offset in part.text_offset] == told.text_offset


# --- the other clients ----------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_async_client(talking: Running, official: OpenAI) -> None:
    async with AsyncOpenAI(
        base_url=f"{talking.url}/v1", api_key="none", http_client=DefaultAsyncHttpxClient(trust_env=False)
    ) as client:
        whole = ask(official, seed=1, temperature=1)
        answer = await client.chat.completions.create(
            model=TALKER, messages=TURNS, seed=1, temperature=1, max_tokens=24
        )
        assert answer.choices == whole.choices
        stream = await client.chat.completions.create(
            model=TALKER, messages=TURNS, seed=1, temperature=1, max_tokens=24, stream=True
        )
        pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
        assert "".join(pieces) == whole.choices[0].message.content
        assert TALKER in [model.id async for model in client.models.list()]


def test_the_clients_own_accumulator(official: OpenAI) -> None:
    """The client's helper rebuilds a whole answer from chunks and is strict about their order."""
    turns: list[Any] = [{"role": "user", "content": "Mia has a ball. Who has the ball?"}]
    with official.chat.completions.stream(
        model="tales", messages=turns, temperature=0, stream_options={"include_usage": True}
    ) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    whole = ask(official, model="tales", messages=turns, max_tokens=None)
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert final.choices[0].message.content == whole.choices[0].message.content
    assert final.usage == whole.usage


def test_the_first_request_loads_the_model(talker_dir: Path) -> None:
    """However many there are, streaming or not: they wait for it."""
    with (
        serving(talker_dir, default_model="sorter") as running,
        connect(running) as client,
        ThreadPoolExecutor(4) as pool,
    ):
        whole = [pool.submit(ask, client, max_tokens=2) for _ in range(2)]
        streams = [pool.submit(lambda: list(ask(client, stream=True, max_tokens=2))) for _ in range(2)]
        assert all(answer.result().usage.completion_tokens <= 2 for answer in whole)
        assert all(chunks.result()[-1].choices[0].finish_reason for chunks in streams)
