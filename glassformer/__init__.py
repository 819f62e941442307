"""A transformer made of glass: a model server, and a page that shows any causal language model at work.

`import glassformer as gf` is light; what the names below need is imported when they are first used.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glassformer.notebook import Model, Trace, change, load, open  # noqa: A004

# While they are imported these tell, with paths, of kernels for other processors that are left out, on every machine.
for _name in ("torchao", "torch.utils._pytree"):
    logging.getLogger(_name).setLevel(logging.ERROR)

__all__ = ["Model", "Trace", "change", "load", "open"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'glassformer' has no attribute {name!r}")
    from glassformer import notebook

    return getattr(notebook, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
