"""Whether a computation failed for lack of memory, which says nothing about what was computed."""

from __future__ import annotations

import torch

# What PyTorch says where a processor, or Apple's GPU, has no memory left: a plain RuntimeError.
WORDS = ("DefaultCPUAllocator", "out of memory")


def is_shortage(error: BaseException) -> bool:
    """Whether an exception tells that there is no memory for it now."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in WORDS)
