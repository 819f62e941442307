"""What a run may come to take, in bytes, and whether there is room for it: said before it starts, in numbers."""

from __future__ import annotations

import math

from glassformer.errors import BadValue, NoRoom
from glassformer.files.size import format_bytes
from glassformer.loading.loaded import LoadedModel
from glassformer.protocol.anatomy import list_sites

FLOAT32_BYTES = 4
# When a place may be free: a run takes some seconds, or minutes.
RETRY_SECS = 10.0


def estimate_recording(loaded: LoadedModel, positions: int) -> int:
    """Bytes of the residuals of so many positions."""
    width = int(loaded.structure.arch.d_model)
    return (len(loaded.structure.blocks) + 1) * positions * width * FLOAT32_BYTES


def estimate_key_values(loaded: LoadedModel, positions: int) -> int:
    """Bytes of what attention remembers of so many positions: k and v as the anatomy has them, else two residuals.

    Twice, for its buffers double when they are full.
    """
    anatomy, item_bytes = loaded.anatomy, loaded.dtype.itemsize
    sites = [] if anatomy is None else list_sites(anatomy).values()
    cells = sum(
        math.prod(size for size in site.shape if size is not None)
        for site in sites
        if site.point in ("k", "v")
    )
    if not cells:
        cells = 2 * len(loaded.structure.blocks) * int(loaded.structure.arch.d_model)
    return 2 * cells * positions * item_bytes


def estimate_run(loaded: LoadedModel, positions: int) -> int:
    """Bytes of a run while it goes on: its residuals, and its keys and values."""
    return estimate_recording(loaded, positions) + estimate_key_values(loaded, positions)


def admit(
    needed_bytes: int,
    positions: int,
    *,
    limit_bytes: int,
    running_bytes: int,
    prompt_positions: int,
    prompt_field: str,
) -> None:
    """Refuse a run that cannot fit beside what is running. Raises BadValue, or NoRoom where it may fit later."""
    needed = f"A recording of up to {positions:,} positions takes up to {format_bytes(needed_bytes)}"
    limit = f"the {format_bytes(limit_bytes)} that recordings may take here (trace_bytes)"
    if needed_bytes > limit_bytes:
        is_prompt = needed_bytes * prompt_positions > limit_bytes * positions
        raise BadValue(
            f"{needed}, more than {limit}; "
            + ("give it a shorter prompt." if is_prompt else "let it write fewer tokens."),
            field=prompt_field if is_prompt else "max_new_tokens",
        )
    if needed_bytes + running_bytes > limit_bytes:
        raise NoRoom(
            f"{needed}, and runs under way hold {format_bytes(running_bytes)} of {limit}; "
            "ask again when one has ended.",
            retry_after_secs=RETRY_SECS,
        )
