"""The recipe of `tales`: a Llama-shaped model that follows who holds what in short stories."""

from collections.abc import Iterator

from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from glassformer.training.batch import Batch, Encoded, pack
from glassformer.training.corpus import held_out_documents, training_documents
from glassformer.training.document import Document
from glassformer.training.tokenizer import tales_tokenizer

CONTEXT = 256  # the longest document of the corpus stays below it
VOCABULARY = 2048
TOKENS = 2048  # in a batch, padding included
ROW = 128  # tokens of most rows: a story and its questions fit, and attention costs half of what it does at CONTEXT
LONG_EVERY = 8  # every so many steps the rows are CONTEXT long, and the longest documents get their turn
ANSWER_WEIGHT = 16.0  # an answer token counts this much more than a story token: it is where the learning is
CURRICULUM_STEPS = (200, 1500)  # stories get longer, and their words more, between these


def tokenizer(seed: int) -> PreTrainedTokenizerFast:
    return tales_tokenizer(seed=seed, vocabulary=VOCABULARY, context=CONTEXT)


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


def encode(document: Document, tokenizer: PreTrainedTokenizerFast) -> Encoded:
    """Ids with loss weights; a token belongs to an answer if it ends inside it."""
    encoding = tokenizer.backend_tokenizer.encode(document.text)
    weights = [1.0] * len(encoding.ids)
    for span in document_spans(document, encoding.offsets):
        for index in span:
            weights[index] = ANSWER_WEIGHT
    return Encoded(encoding.ids, weights)


def document_spans(document: Document, offsets: list[tuple[int, int]]) -> Iterator[range]:
    """For each answer, the indices of its tokens."""
    for answer in document.answers:
        inside = [i for i, (_, stop) in enumerate(offsets) if answer.start < stop <= answer.stop]
        yield range(inside[0], inside[-1] + 1)


def level(step: int) -> float:
    first, last = CURRICULUM_STEPS
    return min(1.0, max(0.0, (step - first) / (last - first)))


def batch(seed: int, step: int, tokenizer: PreTrainedTokenizerFast, *, tokens: int = TOKENS) -> Batch:
    """The batch of one step: a pure function of its arguments."""
    length = CONTEXT if step % LONG_EVERY == LONG_EVERY - 1 else ROW
    stream = training_documents(seed, step, level=level(step))
    encoded = (encode(document, tokenizer) for document in stream)
    return pack(encoded, rows=tokens // length, length=length, pad=int(tokenizer.pad_token_id))


def held_out(seed: int, number: int, *, level: float = 1.0) -> list[Document]:
    return held_out_documents(seed, number, level=level)
