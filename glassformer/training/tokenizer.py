"""The tokenizers of the bundled models, made with the `tokenizers` library and saved like any hub tokenizer."""

from collections.abc import Iterator

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from glassformer.training import lexicon
from glassformer.training.corpus import training_documents
from glassformer.training.document import ASSISTANT, BOS, EOS, PAD, SPECIAL_TOKENS, USER

SAMPLE_DOCUMENTS = 40_000  # enough that every word of the lexicon occurs some dozens of times

CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}" + ASSISTANT + "{{ message['content'] }}{{ eos_token }}"
    "{% else %}" + USER + "{{ message['content'] }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}" + ASSISTANT + "{% endif %}"
)


def tales_tokenizer(
    *, seed: int, vocabulary: int, context: int, documents: int = SAMPLE_DOCUMENTS
) -> PreTrainedTokenizerFast:
    """Byte-level BPE: any text round-trips exactly, and common words of the tales are one token each."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_plain_texts(seed, documents), trainer)
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


def _plain_texts(seed: int, number: int) -> Iterator[str]:
    """Training text without special tokens, which must never become merges.

    Names are added on their own, as they stand at the start of a story or of an answer, so that they are one token
    there too.
    """
    for name in (*lexicon.WOMEN, *lexicon.MEN, "Nobody", "Because"):
        yield from [name] * (number // 100)
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
