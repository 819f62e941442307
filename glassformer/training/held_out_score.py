"""Held-out scores: answers to questions, and stories told freely.

Answers are scored as greedy decoding would give them, without decoding.

If the most likely token at every position of an answer, given the true text before it, is the true token, then greedy
decoding writes exactly that answer; and if one is not, it does not. So one forward pass scores every answer.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from glassformer.training import corpus, reader, tales
from glassformer.training.batch import Encoded, pack
from glassformer.training.document import ASSISTANT, EOS, PAD, USER, Document
from glassformer.training.question import STATE_KINDS

ROWS = 16
TEMPERATURE = 0.7  # of stories told freely
STORY_TOKENS = 160  # more than any story of the grammar has


@torch.inference_mode()
def answered(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, documents: Sequence[Document]
) -> list[list[bool]]:
    """For each document, for each of its answers: would greedy decoding write it exactly?

    Raises ValueError for a document longer than the context.
    """
    results: list[list[bool]] = []
    waiting = list(documents)
    while waiting:
        taken = _fit(waiting, tokenizer)
        if taken == 0:
            raise ValueError(f"a document of {len(waiting[0].text)} characters is longer than the context")
        encoded = [tales.encode(document, tokenizer) for document in waiting[:taken]]
        batch = pack(encoded, rows=ROWS, length=tales.CONTEXT, pad=int(tokenizer.pad_token_id)).to(
            model.device
        )
        logits = model(
            input_ids=batch.ids, attention_mask=batch.mask, position_ids=batch.positions, use_cache=False
        ).logits
        right = torch.zeros_like(batch.ids, dtype=torch.bool)
        right[:, 1:] = logits[:, :-1].argmax(-1) == batch.ids[:, 1:]
        for (row, start), document in zip(_starts(encoded), waiting[:taken], strict=True):
            offsets = tokenizer.backend_tokenizer.encode(document.text).offsets
            spans = tales.document_spans(document, offsets)
            results.append([bool(right[row, start + s.start : start + s.stop].all()) for s in spans])
        waiting = waiting[taken:]
    return results


def _starts(encoded: Sequence[Encoded]) -> list[tuple[int, int]]:
    """Where `pack` puts each document: first fit, in order."""
    used = [0] * ROWS
    places = []
    for document in encoded:
        size = len(document.ids)
        row = next(row for row in range(ROWS) if used[row] + size <= tales.CONTEXT)
        places.append((row, used[row]))
        used[row] += size
    return places


def _fit(documents: Sequence[Document], tokenizer: PreTrainedTokenizerFast) -> int:
    used = [0] * ROWS
    for number, document in enumerate(documents):
        size = len(tokenizer.backend_tokenizer.encode(document.text).ids)
        row = next((row for row in range(ROWS) if used[row] + size <= tales.CONTEXT), None)
        if row is None:
            return number
        used[row] += size
    return len(documents)


def tales_scores(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, documents: Sequence[Document]
) -> dict[str, tuple[int, int]]:
    """Question kind -> (right, asked), and `state` for the four kinds together."""
    was_training = model.training
    model.eval()
    documents = [d for d in documents if len(tales.encode(d, tokenizer).ids) <= tales.CONTEXT]
    tally: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for document, results in zip(documents, answered(model, tokenizer, documents), strict=True):
        for answer, is_right in zip(document.answers, results, strict=True):
            names = [answer.question.kind]
            if answer.question.kind in STATE_KINDS:
                names.append("state")
            for name in names:
                tally[name][0] += is_right
                tally[name][1] += 1
    model.train(was_training)
    return {name: (right, asked) for name, (right, asked) in sorted(tally.items())}


@torch.inference_mode()
def tell(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, requests: Sequence[str], *, seed: int
) -> list[str]:
    """One sampled story for each request, special tokens included."""
    prompts = [tokenizer.encode(f"{USER}{request}{ASSISTANT}") for request in requests]
    length = max(map(len, prompts))
    pad = int(tokenizer.pad_token_id)
    ids = torch.tensor([[pad] * (length - len(prompt)) + prompt for prompt in prompts], device=model.device)
    generate: Any = model.generate
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        out = generate(
            input_ids=ids,
            attention_mask=(ids != pad).long(),
            max_new_tokens=STORY_TOKENS,
            do_sample=True,
            temperature=TEMPERATURE,
            top_k=0,
            pad_token_id=pad,
        )
    return [str(tokenizer.decode(row[length:])).replace(PAD, "") for row in out]


def told(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, *, seed: int, number: int
) -> dict[str, int]:
    """Of `number` stories told on held-out requests: how many are `whole`, and how many slip in which way.

    A slip is one of reader.KINDS, or `end` (cut off), or `wish` (somebody or something asked for is missing). A story
    can slip in several ways.
    """
    was_training = model.training
    model.eval()
    requests = corpus.requests(seed, number, level=tales.LEVEL)
    stories = tell(model, tokenizer, [request for request, _ in requests], seed=seed)
    model.train(was_training)
    tally = dict.fromkeys(("whole", *reader.KINDS, "end", "wish"), 0)
    for story, (_, wanted) in zip(stories, requests, strict=True):
        kinds = {kind for kind, _ in reader.slips(story.removesuffix(EOS))}
        if not story.endswith(EOS):
            kinds.add("end")
        if not set(wanted) <= set(re.findall(r"\w+", story)):
            kinds.add("wish")
        for kind in kinds or {"whole"}:
            tally[kind] += 1
    return tally


def sorter_score(model: PreTrainedModel, sequences: Tensor) -> tuple[int, int]:
    """(exactly sorted, all); sequences Int["batch 12"]: six letters, then the same six sorted."""
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        guess = model(input_ids=sequences[:, :-1].to(model.device), use_cache=False).logits[:, 5:].argmax(-1)
    model.train(was_training)
    return int((guess.cpu() == sequences[:, 6:]).all(-1).sum()), len(sequences)
