"""One generation, a token at a time, in the caller's own thread: for scripts, notebooks and tests.

The same forwards as in the engine, so the tokens are the same.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

from torch import Tensor

from glassformer.compute.key_value import KeyValueStore
from glassformer.engine.forward import PackedForward, Part, SoloForward
from glassformer.engine.generation_request import DecodedToken, GenerationRequest
from glassformer.engine.sequence import TokenSequence, Watcher
from glassformer.loading.loaded import LoadedModel


def decode(
    loaded: LoadedModel,
    request: GenerationRequest,
    *,
    cancelled: threading.Event | None = None,
    watcher: Watcher | None = None,
) -> Iterator[DecodedToken]:
    """Yield generated tokens until an end token, a stop string, `max_new_tokens` or the context's end.

    Does nothing before the first `next`. Ends without a last token where `cancelled` is set. With a watcher every
    position the context holds is computed, the last token's too, and `max_new_tokens` may be 0. Raises BadValue
    and TooLong at the first `next` and ModelFailed where the model's output is unusable.
    """
    sequence = TokenSequence(loaded, request, watcher=watcher, cancelled=cancelled)
    solo = SoloForward(loaded, sequence) if loaded.packing_fault is not None else None
    packed, stores = PackedForward(loaded), {sequence: KeyValueStore()}
    while not sequence.is_over:
        logits: Tensor | Exception | None
        if solo is not None:
            logits = solo.run()
        else:
            (logits,) = packed.run([Part(sequence, sequence.pending)], stores)
        if isinstance(logits, Exception):
            raise logits
        if logits is not None:
            yield sequence.draw(logits)
