"""Numbers that a checkpoint keeps in a few bits each, several in one word, made the floats that they stand for.

In float32, where a whole number of at most 8 bits times a scale of 16 bits is not rounded. Each function is one
format's published layout and knows nothing of files; sizes are checked by who calls (`loading/packed.py`).
"""

from __future__ import annotations

import torch
from torch import Tensor

# The sixteen numbers of FP4 (E2M1), by their code: OCP Microscaling Formats 1.0, section 5.3.3.
FP4 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0)
# The exponent that MXFP4's scales (E8M0) are stored above.
SCALE_BIAS = 127
# Which column of eight AWQ's kernels keep in each half byte of a word, from the lowest.
AWQ_COLUMNS = (0, 2, 4, 6, 1, 3, 5, 7)
WORD_BITS = 32


def split_words(words: Tensor, bits: int) -> Tensor:
    """The whole numbers [..., 32 / bits] in each word of `words` [...], from its lowest bits up."""
    shifts = torch.arange(0, WORD_BITS, bits, dtype=torch.int32, device=words.device)
    found: Tensor = (words.view(torch.int32).unsqueeze(-1) >> shifts) & (2**bits - 1)
    return found


def unpack_gptq(
    qweight: Tensor, qzeros: Tensor, scales: Tensor, groups: Tensor, *, bits: int, is_zero_less_one: bool
) -> Tensor:
    """A matrix [d_out, d_in] in float32 from AutoGPTQ's packing.

    `qweight` [d_in * bits / 32, d_out] holds numbers along the input, `qzeros` [group, d_out * bits / 32] along the
    output, `scales` is [group, d_out], and `groups` [d_in] says the group of each input. The first version of the
    format keeps zeros less one (`is_zero_less_one`), counted around.
    """
    d_out = scales.shape[1]
    numbers = split_words(qweight, bits).transpose(1, 2).reshape(-1, d_out)
    zeros = split_words(qzeros, bits).reshape(len(scales), -1)
    if is_zero_less_one:
        zeros = (zeros + 1) & (2**bits - 1)
    chosen = groups.to(torch.int64)
    return ((numbers - zeros[chosen]).float() * scales.float()[chosen]).T.contiguous()


def unpack_awq(qweight: Tensor, qzeros: Tensor, scales: Tensor) -> Tensor:
    """A matrix [d_out, d_in] in float32 from AutoAWQ's `gemm` packing of 4 bits.

    `qweight` [d_in, d_out / 8] and `qzeros` [group, d_out / 8] hold eight columns in a word, in the order
    `AWQ_COLUMNS`; `scales` is [group, d_out]; groups are as long as another.
    """
    columns = torch.tensor(AWQ_COLUMNS, device=qweight.device).argsort()
    numbers, zeros = (split_words(words, 4)[..., columns].flatten(1) for words in (qweight, qzeros))
    length = len(numbers) // len(scales)
    zeros, whole = (part.repeat_interleave(length, 0) for part in (zeros, scales.float()))
    return ((numbers - zeros).float() * whole).T.contiguous()


def unpack_affine(words: Tensor, scales: Tensor, biases: Tensor, *, bits: int) -> Tensor:
    """A matrix [..., d_out, d_in] in float32 from MLX's affine packing: scale times number plus bias.

    `words` [..., d_out, d_in * bits / 32]; `scales` and `biases` [..., d_out, group]; groups are as long as another.
    """
    numbers = split_words(words, bits).flatten(-2)
    length = numbers.shape[-1] // scales.shape[-1]
    wide, low = (part.float().repeat_interleave(length, -1) for part in (scales, biases))
    return numbers.float() * wide + low


def unpack_mxfp4(blocks: Tensor, scales: Tensor) -> Tensor:
    """Matrices [expert, d_in, d_out] from gpt-oss' packing of MXFP4, in bfloat16, which holds them exactly.

    `blocks` [expert, d_out, group, 16] holds 32 numbers in two to a byte, the lower half first; `scales`
    [expert, d_out, group] are exponents of two. One expert at a time: in between each number takes some bytes.
    """
    experts, d_out, groups, size = blocks.shape
    whole = torch.empty(experts, groups * size * 2, d_out, dtype=torch.bfloat16, device=blocks.device)
    table = torch.tensor(FP4, device=blocks.device)
    for expert in range(experts):
        halves = torch.stack([blocks[expert] & 0xF, blocks[expert] >> 4], -1).flatten(-2)
        exponents = scales[expert].to(torch.int32).unsqueeze(-1) - SCALE_BIAS
        whole[expert] = torch.ldexp(table[halves.to(torch.int32)], exponents).flatten(1).T
    return whole
