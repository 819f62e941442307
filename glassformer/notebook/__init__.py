"""The Python handle: `gf.load` a model, `trace` it, read any tensor by its address, explain it, show it, keep it.

The same objects as behind the server, with its rules of safety; torch comes in with the first model.
"""

from glassformer.notebook.handle import Trace
from glassformer.notebook.handle import open_recording as open  # noqa: A004
from glassformer.notebook.intervene import change
from glassformer.notebook.model import Model, load

__all__ = ["Model", "Trace", "change", "load", "open"]
