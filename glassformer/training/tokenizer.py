"""The tokenizers of the bundled models, made with the `tokenizers` library and saved like any hub tokenizer."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from glassformer.training import lexicon
from glassformer.training.corpus import training_documents
from glassformer.training.document import ASSISTANT, BOS, EOS, PAD, SPECIAL_TOKENS, USER

SAMPLE_DOCUMENTS = 40_000  # enough that every word of the grammar occurs, wherever it can stand
MERGES = 256  # at least, learned for text that the grammar does not write
MULTIPLE = 64  # of which the size of the vocabulary is one, so that matrices are of even shapes

CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}" + ASSISTANT + "{{ message['content'] }}{{ eos_token }}"
    "{% else %}" + USER + "{{ message['content'] }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}" + ASSISTANT + "{% endif %}"
)


def tales_tokenizer(*, seed: int, context: int, documents: int = SAMPLE_DOCUMENTS) -> PreTrainedTokenizerFast:
    """Byte-level BPE: any text round-trips exactly, and every word that the grammar writes is one token.

    `ignore_merges` takes a word that is in the vocabulary whole, without asking the merges for it.
    """
    split = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    texts = list(_plain_texts(seed, documents))
    counts = Counter(word for text in texts for word, _ in split.pre_tokenize_str(text))
    words = sorted(counts, key=lambda word: (-counts[word], word))
    vocabulary, merges = _vocabulary(texts, words, split)
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=True))
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.ByteLevel()
    bos = tokenizer.token_to_id(BOS)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, bos)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        additional_special_tokens=[USER, ASSISTANT],
        chat_template=CHAT_TEMPLATE,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )


def _vocabulary(
    texts: Sequence[str], words: Sequence[str], split: pre_tokenizers.PreTokenizer
) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """(token -> id, merges): special tokens, bytes, what the merges make, then the words that those do not make."""
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = split
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    base = [*SPECIAL_TOKENS, *alphabet]
    trainer = trainers.BpeTrainer(
        vocab_size=len(base) + 4 * MERGES,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=alphabet,
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer)
    merges: list[tuple[str, str]] = []
    tokens = dict.fromkeys([*base, *words])
    for left, right in json.loads(learner.to_str())["model"]["merges"]:
        if len(merges) >= MERGES and len(tokens) % MULTIPLE == 0:
            break
        merges.append((left, right))
        tokens[left + right] = None
    made = [left + right for left, right in merges]
    return {token: index for index, token in enumerate(dict.fromkeys([*base, *made, *words]))}, merges


def _plain_texts(seed: int, number: int) -> Iterator[str]:
    """What the grammar writes, without special tokens, and every word of its lists as it stands in a sentence."""
    names = (*lexicon.WOMEN, *lexicon.MEN)
    yield from names
    for group in (names, lexicon.OBJECTS, lexicon.ADJECTIVES, lexicon.ROLES, lexicon.ANIMALS):
        yield from (f" {word}" for word in group)
    stream = training_documents(seed, -1)
    for _ in range(number):
        text = next(stream).text
        for token in SPECIAL_TOKENS:
            text = text.replace(token, "\n")
        yield from (line for line in text.split("\n") if line)


def sorter_tokenizer(*, context: int) -> PreTrainedTokenizerFast:
    """One token a letter; lower case is raised and everything but the three letters is left out."""
    tokenizer = Tokenizer(models.BPE(vocab={"A": 0, "B": 1, "C": 2}, merges=[]))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Replace(low, low.upper()) for low in "abc"] + [normalizers.Replace(Regex("[^ABC]"), "")]
    )
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )
