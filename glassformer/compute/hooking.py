"""Hooks on a model's modules that hear the forwards of one thread alone: that of whoever put them there.

Modules are shared. A hook of PyTorch's own hears every thread that runs its module, and one that keeps or changes
tensors would mix what two of them compute. This is the only place that registers hooks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle

Hearing = Callable[..., Any]


def hook_input(module: nn.Module, hook: Hearing, *, prepend: bool = False) -> RemovableHandle:
    """Call `hook(module, args, kwargs)` before `module` runs in this thread; what it returns replaces args and kwargs.

    `prepend` puts it before the hooks that are there already.
    """
    return module.register_forward_pre_hook(in_own_thread(hook), with_kwargs=True, prepend=prepend)


def hook_output(module: nn.Module, hook: Hearing) -> RemovableHandle:
    """Call `hook(module, args, output)` after `module` has run in this thread; what it returns replaces the output."""
    return module.register_forward_hook(in_own_thread(hook))


def in_own_thread(hook: Hearing) -> Hearing:
    """`hook`, deaf in every thread but the one that asks for it."""
    thread = threading.get_ident()

    def hear(*given: Any) -> Any:
        return hook(*given) if threading.get_ident() == thread else None

    return hear
