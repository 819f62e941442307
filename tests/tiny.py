"""Tiny random models in folders, as a user's own would lie there: config, safetensors, a byte-level BPE tokenizer."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors, trainers
from tokenizers import models as tokenizer_models
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from glassformer.loading.reading import BUILDING

# Tiny matrices gain nothing from a second thread, and lose much where the cores are busy.
torch.set_num_threads(1)

TEXTS = [
    "the quick brown fox jumps over the lazy dog. Mia gives the ball to Tom.\n\nWho has the ball? Tom has it.\n",
    "漢字かな交じり文 naïve café 🎉🙂 привет\r\n  indented\ttabs",
] * 20
SHAPES: dict[str, dict[str, Any]] = {
    "llama": {
        "hidden_size": 32,
        "intermediate_size": 56,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
    },
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
}


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Every byte has a token, so that a random model writes any text: half characters, newlines, emoji."""
    tokenizer = Tokenizer(tokenizer_models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    fast: Any = PreTrainedTokenizerFast
    return fast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


def make_spaced_tokenizer(*, ends: bool = False) -> PreTrainedTokenizerFast:
    """As Llama 2's: a space is part of the word after it, and decoding strips the first one of any text.

    What has no piece is spelt in bytes. With `ends` an end token is put after every text.
    """
    words = [
        "▁Mia",
        "▁has",
        "▁a",
        "▁ball",
        "▁",
        ".",
        *"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ,!?",
    ]
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *words]
    scored = [(piece, -float(at % 9)) for at, piece in enumerate(pieces)]
    tokenizer = Tokenizer(tokenizer_models.Unigram(scored, unk_id=0, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    template = "<s> $A </s>" if ends else "<s> $A"
    tokenizer.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    fast: Any = PreTrainedTokenizerFast
    return fast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def make_model(
    folder: Path, family: str, *, tokenizer: PreTrainedTokenizerFast | None = None, **changes: Any
) -> Path:
    """Write a random model of `family` into `folder`."""
    tokenizer = tokenizer or make_tokenizer()
    shape = {**SHAPES.get(family, {}), "vocab_size": len(tokenizer), "bos_token_id": tokenizer.bos_token_id}
    shape |= {"eos_token_id": tokenizer.eos_token_id, **changes}
    torch.manual_seed(7)
    auto: Any = AutoModelForCausalLM
    with BUILDING:
        model = auto.from_config(AutoConfig.for_model(family, **shape))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(3.0)  # random models barely prefer one token to another
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_models(root: Path) -> Path:
    """A model directory with a Llama and a GPT-2."""
    for family in SHAPES:
        make_model(root / family, family)
    return root


def read_model(folder: Path, **options: Any) -> Any:
    """A folder's model as transformers alone reads it, ready to be asked.

    Meanwhile it switches off the tying of weights in the whole process, so a server beside us must not load one.
    """
    auto: Any = AutoModelForCausalLM
    with BUILDING:
        return auto.from_pretrained(folder, **options).eval()
