"""From a parsed request to generations under way: everything that can be refused is refused here.

All choices of a request are queued before the first is answered, so that they are written at the same time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, TypeVar

from glassformer.engine.generation_request import DecodedToken, GenerationRequest
from glassformer.engine.text_pieces import Detokenizer
from glassformer.errors import BadValue
from glassformer.server.openai.answer import Choice, Writing
from glassformer.server.openai.chat_plan import ChatPlan, plan_chat
from glassformer.server.openai.logprob import Alignment, Scored
from glassformer.server.openai.openai_request import CompletionRequest, TalkRequest
from glassformer.server.openai.tool_choice import ToolUse
from glassformer.server.services import Services
from glassformer.server.stream import follow

if TYPE_CHECKING:
    from glassformer.loading.loaded import LoadedModel

T = TypeVar("T")
Request = TalkRequest | CompletionRequest

# Log probabilities in one answer: some megabytes of it.
MOST_TOLD = 100_000


async def start(body: Request, services: Services, stack: AsyncExitStack) -> Writing:
    """Load, tokenize and queue; leaving `stack` ends all of it within one step. Raises whatever is refused."""
    limit = find_limit(body, services)
    loaded = await services.load(body.model)
    from glassformer.server.generation import check_request, generate

    plans = await services.quick(plan, body, loaded)
    prompts = [one.ids for one in plans]
    for ids in prompts:
        check_request(services, loaded, ids, field=body.prompt_field)
    check_ids(body, loaded)
    check_told(body, prompts)
    texts = None if body.wanted_logprobs is None else await services.quick(lambda: loaded.texts)
    choices: list[Choice] = []
    streams: list[AsyncIterator[DecodedToken]] = []
    for number, ids in enumerate(prompts):
        echoed, echoed_tokens = await read_echo(body, services, loaded, number, ids)
        for index in range(body.n):
            alignment = align(body, loaded, ids, len(echoed))
            choices.append(
                Choice(
                    len(choices),
                    texts,
                    alignment,
                    echoed,
                    echoed_tokens,
                    reader=plans[number].make_reader(),
                    name_control=partial(name_control, loaded),
                )
            )
            if limit:
                request = make_request(body, loaded, plans[number], index, limit)
                with naming_constraint(body):
                    streams.append(await stack.enter_async_context(generate(services, loaded, request)))
    return Writing(
        model_id=loaded.model_id,
        fingerprint=make_fingerprint(loaded),
        choices=choices,
        steps=merge(streams),
        prompt_count=sum(map(len, prompts)),
        usual_sampling=loaded.usual_sampling,
    )


def find_limit(body: Request, services: Services) -> int:
    """The most tokens to generate for each choice. Raises BadValue."""
    name, wanted = body.limit
    most = services.settings.max_new_tokens
    if wanted is not None and wanted > most:
        raise BadValue(f"{name} is at most {most} here.", field=name)
    return most if wanted is None else wanted


def plan(body: Request, loaded: LoadedModel) -> list[ChatPlan]:
    """What each prompt comes to; of one that is no chat nothing is taken apart. Raises BadValue. For a thread."""
    if isinstance(body, TalkRequest):
        with naming_constraint(body), naming_messages(body):
            return [plan_chat(loaded, body.conversation(), body.tool_use(), body.constraint())]
    constraint = body.constraint()
    prompts = [
        loaded.encode(prompt, control_tokens=body.control_tokens)
        if isinstance(prompt, str)
        else loaded.check_ids(prompt, field="prompt")
        for prompt in body.prompt
    ]
    return [ChatPlan(ids, constraint=constraint) for ids in prompts]


def name_control(loaded: LoadedModel, token_id: int) -> str | None:
    """The name of a control token that has no text, unless it only ends one."""
    if token_id not in loaded.special_ids or token_id in loaded.eos_ids:
        return None
    return loaded.token(token_id).text


def check_ids(body: Request, loaded: LoadedModel) -> None:
    """Refuse token ids that the model has not. Raises BadValue."""
    for name, ids in (("logit_bias", list(body.logit_bias)), ("stop_token_ids", body.stop_token_ids)):
        if ids:
            loaded.check_ids(ids, field=name)


def check_told(body: Request, prompts: Sequence[Sequence[int]]) -> None:
    """Refuse an answer of more log probabilities than can be told in one piece. Raises BadValue."""
    if body.wanted_logprobs is None:
        return
    echoed = sum(map(len, prompts)) if isinstance(body, CompletionRequest) and body.echo else 0
    written = 0 if body.stream else (body.limit[1] or 0) * len(prompts)
    numbers = body.n * (echoed + written) * (1 + body.wanted_logprobs)
    if numbers > MOST_TOLD:
        raise BadValue(
            f"The answer would hold {numbers} log probabilities; at most {MOST_TOLD} are told. "
            "Send fewer prompts at once, or ask for fewer beside each token.",
            field="logprobs",
        )


@contextmanager
def naming_constraint(body: Request) -> Iterator[None]:
    """A constraint that cannot be used is told by the name of the parameter that asked for it."""
    try:
        yield
    except BadValue as error:
        if error.field != "constraint":
            raise
        if isinstance(body, TalkRequest) and body.tool_use().offered:
            raise name_tool(body.tool_use(), error) from error
        raise BadValue(error.message, field=next(iter(body.constraints()))) from error


@contextmanager
def naming_messages(body: TalkRequest) -> Iterator[None]:
    """What is wrong with the conversation is told by the name under which it was sent."""
    try:
        yield
    except BadValue as error:
        if error.field != "messages" or body.prompt_field == "messages":
            raise
        raise type(error)(error.message, field=body.prompt_field) from error


def name_tool(use: ToolUse, error: BadValue) -> BadValue:
    """The error of a grammar with tools, told of the tool whose schema cannot be held."""
    from glassformer.engine.schema_fault import find_schema_fault

    for tool in use.offered:
        fault = find_schema_fault(tool.parameters)
        if fault is not None:
            where = ".".join([use.fields[tool.name], *fault.path])
            return BadValue(f"{where[:200]} cannot be held: {fault.reason}.", field=where[:200])
    return BadValue(error.message, field="tools")


async def read_echo(
    body: Request, services: Services, loaded: LoadedModel, number: int, ids: list[int]
) -> tuple[str, list[Scored]]:
    """The text of prompt `number` that is to be repeated, with its tokens where log probabilities are wanted."""
    if isinstance(body, TalkRequest) or not body.echo:
        return "", []
    given = body.prompt[number]
    text = given if isinstance(given, str) else await services.quick(loaded.decode, ids)
    if body.logprobs is None:
        return text, []
    return text, await score_prompt(services, loaded, ids, body.logprobs)


async def score_prompt(services: Services, loaded: LoadedModel, ids: list[int], top: int) -> list[Scored]:
    """The prompt's own tokens with their log probabilities; takes its turns like any generation."""
    from glassformer.engine.prompt_score import Scoring
    from glassformer.server.generation import generate

    scoring = Scoring(ids, top)
    async with generate(services, loaded, GenerationRequest(ids, max_new_tokens=0), watcher=scoring) as read:
        async for _ in read:
            pass

    def read_scores() -> list[Scored]:
        scores = scoring.read()
        detokenizer = Detokenizer(loaded.decode)
        found, offset = [], 0
        for pos, token_id in enumerate(ids):
            score = scores[pos - 1] if pos else None
            top = score.top if score else ()
            found.append(Scored(token_id, offset, score.logprob if score else None, top))
            offset += len(detokenizer.add(token_id))
        return found

    return await services.quick(read_scores)


def align(body: Request, loaded: LoadedModel, ids: list[int], shown: int) -> Alignment | None:
    if body.wanted_logprobs is None:
        return None
    end_ids = loaded.eos_ids | frozenset(body.stop_token_ids)
    # Whoever scores an answer takes the last entry for the token that was written, and there is always one.
    return Alignment(
        Detokenizer(loaded.decode, ids), end_ids, shown, tells_end=isinstance(body, CompletionRequest)
    )


def make_request(
    body: Request, loaded: LoadedModel, plan: ChatPlan, index: int, limit: int
) -> GenerationRequest:
    return GenerationRequest(
        plan.ids,
        body.sampling(index, plan.constraint, loaded.usual_sampling),
        max_new_tokens=limit,
        stop=tuple(body.stop),
        stop_token_ids=frozenset(body.stop_token_ids),
        top_logprobs=body.wanted_logprobs or 0,
    )


def make_fingerprint(loaded: LoadedModel) -> str:
    """What a seed's result may depend on beside the request: the program, the number format, the kind of device."""
    try:
        program = version("glassformer")
    except PackageNotFoundError:
        program = "0"
    return f"glassformer-{program}-{str(loaded.dtype).removeprefix('torch.')}-{loaded.device.type}"


async def merge(streams: Sequence[AsyncIterator[T]]) -> AsyncIterator[tuple[int, T]]:
    """What the streams give, as it comes, with the number of the stream it comes from."""
    coming = {asyncio.ensure_future(follow(stream)): number for number, stream in enumerate(streams)}
    try:
        while coming:
            done, _ = await asyncio.wait(coming, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                number = coming.pop(task)
                try:
                    item = task.result()
                except StopAsyncIteration:
                    continue
                coming[asyncio.ensure_future(follow(streams[number]))] = number
                yield number, item
    finally:
        for task in coming:
            task.cancel()
        await asyncio.gather(*coming, return_exceptions=True)
