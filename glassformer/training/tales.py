"""The recipe of `tales`: a Llama-shaped model that follows who holds what in short stories."""

from collections.abc import Iterable, Iterator

from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from glassformer.training.batch import Batch, Encoded, pack
from glassformer.training.corpus import held_out_documents, training_documents
from glassformer.training.document import Document
from glassformer.training.tokenizer import tales_tokenizer

CONTEXT = 256  # the longest document of the corpus stays below it
VOCABULARY = 2048
ROWS = 8  # of CONTEXT tokens in a batch
ANSWER_WEIGHT = 4.0  # an answer token counts this much more than a story token: it is where the learning is
CURRICULUM_STEPS = 2000  # until stories have their full length


def tokenizer(seed: int) -> PreTrainedTokenizerFast:
    return tales_tokenizer(seed=seed, vocabulary=VOCABULARY, context=CONTEXT)


def model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=320,
            num_hidden_layers=6,
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
    return min(1.0, step / CURRICULUM_STEPS)


def batch(seed: int, step: int, tokenizer: PreTrainedTokenizerFast, *, rows: int = ROWS) -> Batch:
    """The batch of one step: a pure function of its arguments."""
    stream = training_documents(seed, step, level=level(step))
    return packed((encode(document, tokenizer) for document in stream), tokenizer, rows=rows)


def packed(documents: Iterable[Encoded], tokenizer: PreTrainedTokenizerFast, *, rows: int) -> Batch:
    return pack(documents, rows=rows, length=CONTEXT, pad=int(tokenizer.pad_token_id))


def held_out(seed: int, number: int) -> list[Document]:
    return held_out_documents(seed, number)
