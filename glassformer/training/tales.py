"""The recipe of `tales`: a Llama-shaped model that follows who holds what in short stories."""

from collections.abc import Iterator

from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from glassformer.training.batch import Batch, Encoded, pack
from glassformer.training.corpus import held_out_documents, training_documents
from glassformer.training.document import Document
from glassformer.training.plot import APART_LEVEL
from glassformer.training.tokenizer import tales_tokenizer

CONTEXT = 256  # the longest document of the corpus stays below it
TOKENS = 2048  # in a batch, padding included
ROW = 128  # tokens of most rows: a story and its questions fit, and attention costs half of what it does at CONTEXT
LONG_EVERY = 8  # every so many steps the rows are CONTEXT long, and the longest documents get their turn
ANSWER_WEIGHTS = (16.0, 2.0)  # of an answer token against a story token: following comes first, then telling
WEIGHT_STEPS = (2000, 3500)  # the weight falls from the first to the second between these
TELLING_STEP = 4000  # from here on more of the documents are stories on request, and names weigh more
NAME_WEIGHT = 3.0  # of a person's name in a story: who is who is what a teller gets wrong
CURRICULUM_STEPS = (200, 1500)  # stories get longer, and their words more, between these
LATE_STEPS = (2000, 3000)  # stories whose people part come in between these
LEVEL = (
    APART_LEVEL  # of the stories in the end: several things are more than so few steps and weights can learn
)


def tokenizer(seed: int) -> PreTrainedTokenizerFast:
    return tales_tokenizer(seed=seed, context=CONTEXT)


def model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=256,
            num_hidden_layers=5,
            num_attention_heads=8,
            num_key_value_heads=4,
            max_position_embeddings=CONTEXT,
            rms_norm_eps=1e-5,
            tie_word_embeddings=True,
            initializer_range=0.05,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def encode(
    document: Document,
    tokenizer: PreTrainedTokenizerFast,
    *,
    answer_weight: float = 1.0,
    name_weight: float = 1.0,
) -> Encoded:
    """Ids with loss weights; a token belongs to an answer if it ends inside it."""
    encoding = tokenizer.backend_tokenizer.encode(document.text)
    names = {*document.people}
    weights = [
        name_weight if document.text[start:stop].strip() in names else 1.0 for start, stop in encoding.offsets
    ]
    for span in document_spans(document, encoding.offsets):
        for index in span:
            weights[index] = answer_weight
    return Encoded(encoding.ids, weights)


def document_spans(document: Document, offsets: list[tuple[int, int]]) -> Iterator[range]:
    """For each answer, the indices of its tokens."""
    for answer in document.answers:
        inside = [i for i, (_, stop) in enumerate(offsets) if answer.start < stop <= answer.stop]
        yield range(inside[0], inside[-1] + 1)


def _way(step: int, between: tuple[int, int]) -> float:
    """0 before, 1 after, linear in between."""
    first, last = between
    return min(1.0, max(0.0, (step - first) / (last - first)))


def level(step: int) -> float:
    """Of the stories: 0 to 1, then to LEVEL."""
    return _way(step, CURRICULUM_STEPS) + (LEVEL - 1) * _way(step, LATE_STEPS)


def answer_weight(step: int) -> float:
    first, last = ANSWER_WEIGHTS
    return first + (last - first) * _way(step, WEIGHT_STEPS)


def batch(seed: int, step: int, tokenizer: PreTrainedTokenizerFast, *, tokens: int = TOKENS) -> Batch:
    """The batch of one step: a pure function of its arguments."""
    length = CONTEXT if step % LONG_EVERY == LONG_EVERY - 1 else ROW
    is_telling = step >= TELLING_STEP
    stream = training_documents(seed, step, level=level(step), is_telling=is_telling)
    weights = {"answer_weight": answer_weight(step), "name_weight": NAME_WEIGHT if is_telling else 1.0}
    encoded = (encode(document, tokenizer, **weights) for document in stream)
    return pack(encoded, rows=tokens // length, length=length, pad=int(tokenizer.pad_token_id))


def held_out(seed: int, number: int, *, level: float = LEVEL) -> list[Document]:
    return held_out_documents(seed, number, level=level)
