"""Held-out scores. Answers are scored as greedy decoding would give them, without decoding.

If the most likely token at every position of an answer, given the true text before it, is the true token, then greedy
decoding writes exactly that answer; and if one is not, it does not. So one forward pass scores every answer.
"""

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from glassformer.training import tales
from glassformer.training.batch import Encoded, pack
from glassformer.training.document import Document
from glassformer.training.question import STATE_KINDS

ROWS = 16


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


def sorter_score(model: PreTrainedModel, sequences: Tensor) -> tuple[int, int]:
    """(exactly sorted, all); sequences Int["batch 12"]: six letters, then the same six sorted."""
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        guess = model(input_ids=sequences[:, :-1].to(model.device), use_cache=False).logits[:, 5:].argmax(-1)
    model.train(was_training)
    return int((guess.cpu() == sequences[:, 6:]).all(-1).sum()), len(sequences)
