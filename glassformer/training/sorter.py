"""The recipe of `sorter`: a GPT-2-shaped model that writes six letters again in order. Small enough to see whole."""

import itertools

import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from glassformer.training.batch import Batch
from glassformer.training.tokenizer import sorter_tokenizer

LETTERS = 3
LENGTH = 6  # letters to sort
CONTEXT = 2 * LENGTH - 1  # the last sorted letter is never fed back
HELD_OUT = 129  # of the 729 inputs; the other 600 are the training set
BATCH = 300


def tokenizer() -> PreTrainedTokenizerFast:
    return sorter_tokenizer(context=CONTEXT)


def model() -> GPT2LMHeadModel:
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=LETTERS,
            n_positions=CONTEXT,
            n_embd=48,
            n_layer=3,
            n_head=3,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=None,
            eos_token_id=None,
        )
    )


def sequences(seed: int) -> tuple[Tensor, Tensor]:
    """(training, held out), Int["input 12"]: each six letters and then the same six sorted."""
    inputs = torch.tensor(list(itertools.product(range(LETTERS), repeat=LENGTH)))
    inputs = inputs[torch.randperm(len(inputs), generator=torch.Generator().manual_seed(seed))]
    both = torch.cat([inputs, inputs.sort(-1).values], dim=-1)
    return both[HELD_OUT:], both[:HELD_OUT]


def batch(seed: int, step: int) -> Batch:
    """The batch of one step; only the sorted half is learned."""
    train, _ = sequences(seed)
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
    ids = train[torch.randint(len(train), (BATCH,), generator=generator)][:, :-1]
    full = ids.new_zeros((BATCH, CONTEXT + 1))
    full[:, :LENGTH] = ids[:, :LENGTH]
    full[:, LENGTH:] = ids[:, :LENGTH].sort(-1).values
    weights = torch.zeros(full.shape)
    weights[:, LENGTH:] = 1.0
    size = full.size(1)
    mask = torch.ones((size, size), dtype=torch.bool).tril().expand(BATCH, 1, size, size)
    return Batch(full, torch.arange(size).expand(BATCH, size), mask, weights)
