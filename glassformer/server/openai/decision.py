"""`POST /v1/decisions`: how probable each of some answers is, without writing anything.

An answer of several tokens is scored whole: the sum of its tokens' log probabilities, each after those before it.
Probabilities are normed over the answers given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from glassformer.conversation.conversation import Conversation
from glassformer.errors import BadValue, ModelFailed
from glassformer.protocol.messages import TraceRequest
from glassformer.server.openai.chat_plan import plan_chat
from glassformer.server.openai.decision_request import (
    AnswersRequest,
    DecisionRequest,
    Predicate,
    ScoreQuestion,
)
from glassformer.server.openai.logprob import bound
from glassformer.server.openai.response_item import read_turns
from glassformer.server.openai.tool_choice import ToolUse
from glassformer.server.openai.turn_message import TurnMessage, read_messages
from glassformer.server.services import Services

if TYPE_CHECKING:
    from glassformer.engine.answer_score import AnswerScoring
    from glassformer.loading.loaded import LoadedModel


@dataclass(frozen=True)
class ScoredAnswer:
    """One answer's tokens with their log probabilities; `probability` is among all answers."""

    text: str
    token_ids: list[int]
    token_logprobs: list[float]
    probability: float

    @property
    def logprob(self) -> float:
        return sum(self.token_logprobs)

    def describe(self, loaded: LoadedModel) -> dict[str, Any]:
        return {
            "answer": self.text,
            "probability": self.probability,
            "logprob": bound(self.logprob),
            "token_ids": self.token_ids,
            "tokens": [token.text for token in loaded.tokens(self.token_ids)],
            "token_logprobs": [bound(one) for one in self.token_logprobs],
        }


async def decide(body: DecisionRequest, services: Services) -> dict[str, Any]:
    """OpenAI's form: the answers to all questions, in their order."""
    loaded = await services.load(body.model)
    answers: list[dict[str, Any]] = []
    count = 0
    for question in body.questions:
        asked = question.ask()
        ids, space = await services.quick(encode_question, loaded, body, asked.words)
        texts = [space + one for one in asked.answers]
        token_ids = await services.quick(encode_answers, loaded, texts)
        found = await score_answers(services, loaded, ids, asked.answers, token_ids, "input")
        count += len(ids)
        told: dict[str, Any] = {"type": question.type, "name": question.name}
        best = max(found, key=lambda one: one.logprob)
        if isinstance(question, Predicate):
            told["probability"] = found[0].probability
        elif isinstance(question, ScoreQuestion):
            told["score"] = sum(level * one.probability for level, one in enumerate(found))
        else:
            told["choice"] = asked.values[found.index(best)]
        if not isinstance(question, Predicate):
            told["confidence"] = best.probability
        probabilities = [
            {"value": value, "label": one.text, **one.describe(loaded)}
            for value, one in zip(asked.values, found, strict=True)
        ]
        told["probabilities"] = probabilities
        if body.record:
            told |= await record(services, loaded, ids, found)
        answers.append(told)
    details = {"input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0}}
    usage = {"input_tokens": count, **details, "output_tokens": 0, "total_tokens": count}
    return {
        "object": "decision",
        "model": loaded.model_id,
        "answers": answers,
        "usage": {**usage, "output_tokens_details": {"reasoning_tokens": 0}},
    }


async def weigh(body: AnswersRequest, services: Services) -> dict[str, Any]:
    """Our own form: the answers as they were sent, each with its probability."""
    loaded = await services.load(body.model)
    field = "prompt" if body.prompt is not None else "messages"

    def encode() -> tuple[list[int], list[list[int]]]:
        if body.prompt is not None:
            ids = loaded.encode(body.prompt)
            return ids, [encode_after(loaded, body.prompt, ids, one) for one in body.answers]
        plan = plan_chat(loaded, Conversation(read_messages(body.messages or [])), ToolUse(), None)
        return plan.ids, [encode_answer(loaded, one) for one in body.answers]

    ids, token_ids = await services.quick(encode)
    found = await score_answers(services, loaded, ids, body.answers, token_ids, field)
    told: dict[str, Any] = {
        "object": "decision",
        "model": loaded.model_id,
        "answers": [one.describe(loaded) for one in found],
        "choice": max(found, key=lambda one: one.logprob).text,
        "usage": {"prompt_tokens": len(ids), "total_tokens": len(ids) + sum(map(len, token_ids))},
    }
    if body.record:
        told |= await record(services, loaded, ids, found)
    return told


def encode_question(loaded: LoadedModel, body: DecisionRequest, words: str) -> tuple[list[int], str]:
    """The prompt of a question, and what stands between it and an answer. Raises BadValue."""
    turns = read_turns(body.input, None)
    if not loaded.chats:
        text = "\n\n".join([*(turn.content for turn in turns), words])
        return loaded.encode(f"{text}\nAnswer:"), " "
    if turns and turns[-1].role == "user":
        turns[-1] = turns[-1].model_copy(update={"content": f"{turns[-1].content}\n\n{words}"})
    else:
        turns.append(TurnMessage(role="user", content=words))
    conversation = Conversation(read_messages(turns), variables={"enable_thinking": False})
    try:
        plan = plan_chat(loaded, conversation, ToolUse(), None)
    except BadValue as error:
        raise BadValue(error.message, field="input") from error
    if plan.is_reasoning:
        raise BadValue(
            "This model's chat template opens its reasoning before each answer, so none can begin it.",
            field="model",
        )
    return plan.ids, ""


def encode_answer(loaded: LoadedModel, answer: str) -> list[int]:
    return loaded.check_ids(loaded.tokenize(answer, adds_special=False), field="answers")


def encode_answers(loaded: LoadedModel, answers: list[str]) -> list[list[int]]:
    return [encode_answer(loaded, answer) for answer in answers]


def encode_after(loaded: LoadedModel, prompt: str, ids: list[int], answer: str) -> list[int]:
    """The answer's ids as they are after the prompt, where the two do not grow together."""
    whole = loaded.encode(prompt + answer)
    if whole[: len(ids)] == ids and len(whole) > len(ids):
        return whole[len(ids) :]
    return encode_answer(loaded, answer)


async def score_answers(
    services: Services,
    loaded: LoadedModel,
    ids: list[int],
    texts: list[str],
    answers: list[list[int]],
    field: str,
) -> list[ScoredAnswer]:
    """All answers scored; what they share of the prompt is read once."""
    from glassformer.engine.answer_score import AnswerScoring
    from glassformer.server.generation import check_request

    last = len(ids) - 1
    for answer in answers:
        check_request(services, loaded, [*ids, *answer], field=field)
    # Kept until the end: who comes next goes on from what they have read.
    read = [AnswerScoring({last: [answer[0] for answer in answers]})]
    await run_scoring(services, loaded, ids, read[0])
    logprobs: list[list[float]] = []
    for answer in answers:
        found = [read[0].found[last, answer[0]]]
        if len(answer) > 1:
            scoring = AnswerScoring({last + place: [one] for place, one in enumerate(answer) if place})
            read.append(scoring)
            await run_scoring(services, loaded, [*ids, *answer[:-1]], scoring)
            found += [scoring.found[last + place, one] for place, one in enumerate(answer) if place]
        logprobs.append(found)
    totals = [sum(one) for one in logprobs]
    if any(math.isnan(total) for total in totals):
        raise ModelFailed("The model's own output is not a number.")
    most = max(totals)
    weights = [math.exp(total - most) if math.isfinite(most) else 1.0 for total in totals]
    return [
        ScoredAnswer(text, answer, found, weight / sum(weights))
        for text, answer, found, weight in zip(texts, answers, logprobs, weights, strict=True)
    ]


async def run_scoring(
    services: Services, loaded: LoadedModel, ids: list[int], scoring: AnswerScoring
) -> None:
    """Takes its turns like any generation."""
    from glassformer.engine.generation_request import GenerationRequest
    from glassformer.server.generation import generate

    async with generate(services, loaded, GenerationRequest(ids, max_new_tokens=0), watcher=scoring) as steps:
        async for _ in steps:
            pass


async def record(
    services: Services, loaded: LoadedModel, ids: list[int], found: list[ScoredAnswer]
) -> dict[str, str]:
    """Record the prompt with its likeliest answer, and where to read why it is above the next."""
    ranked = sorted(found, key=lambda one: one.logprob, reverse=True)
    body = TraceRequest(model_id=loaded.model_id, token_ids=[*ids, *ranked[0].token_ids])
    await services.read(loaded.read_anatomy)
    feed = await services.start_run(loaded, body, lambda ids, field: None)
    first, other = (one.token_ids[0] for one in ranked[:2])
    versus = "" if first == other else f"&versus={other}"
    run_id = feed.run.id
    reading = f"/api/traces/{run_id}/reading?pos={len(ids) - 1}&token={first}{versus}"
    return {"trace_id": run_id, "reading": reading}
