"""The logit lens: what the model would write if it stopped after each block.

A residual is put through the model's own final norm, head and whatever it does to its logits (nostalgebraist 2020,
"interpreting GPT: the logit lens"); after the last block that is the model's own prediction, to the bit. Nothing is run
for it but the head: memory is `LENS_CELLS` logits at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from glassformer.capture.rerun import rerun_tail
from glassformer.compute.overflow import advise
from glassformer.errors import BadValue, ModelFailed, UnknownAddress
from glassformer.protocol.anatomy import Site
from glassformer.protocol.messages import Lens, LensCandidate, LensRow

if TYPE_CHECKING:
    from glassformer.run.run import Run

LENS_POINTS = ("resid_pre", "resid_post")
# Logits formed at once: 64 MiB of float32.
LENS_CELLS = 2**24
# Candidates of one message: 6 MB of JSON.
MOST_CANDIDATES = 50_000


@dataclass(frozen=True, slots=True)
class LensTable:
    """The best tokens of each site and position, best first.

    Shapes: `token_ids`, `logits` and `probabilities` [block, pos, rank], `entropy_bits` [block, pos]; `blocks` counts
    the blocks that have written to each of `addresses`.
    """

    addresses: list[str]
    blocks: list[int]
    token_ids: Tensor
    logits: Tensor
    probabilities: Tensor
    entropy_bits: Tensor


def list_lens_addresses(run: Run) -> list[str]:
    """What every block reads, and what the last one leaves: all recorded, so that nothing is run for them."""
    last = len(run.loaded.structure.blocks) - 1
    wanted = [*(f"resid_pre.{block}" for block in range(last + 1)), f"resid_post.{last}"]
    return [address for address in wanted if is_served(run.find_site(address))]


def is_served(site: Site | None) -> bool:
    return site is not None and site.check.status != "refused"


def count_blocks(run: Run, address: str) -> int:
    """How many blocks have written to a residual. Raises UnknownAddress for any other site, and for a refused one."""
    site = run.require_site(address)
    if site.point not in LENS_POINTS or site.block is None:
        raise UnknownAddress(address, "The logit lens reads residuals: resid_pre.B and resid_post.B.")
    return site.block + (site.point == "resid_post")


def read_lens(run: Run, address: str, rows: slice) -> Tensor:
    """The logits of a residual's rows, Float[Tensor, "pos vocab"], in the model's own precision."""
    count_blocks(run, address)
    residual = torch.from_numpy(run.read(address, (rows, slice(0, run.loaded.structure.arch.d_model))).copy())
    with run.loaded.lock:
        return rerun_tail(run.loaded.structure, residual.to(run.loaded.device))


def read_lens_table(
    run: Run,
    addresses: Sequence[str] | None = None,
    *,
    start: int = 0,
    stop: int | None = None,
    top: int = 5,
) -> LensTable:
    """The `top` tokens (at most the vocabulary) at positions `start` to `stop`.

    Raises BadValue for what is not there.
    """
    chosen = list_lens_addresses(run) if addresses is None else list(addresses)
    blocks = [count_blocks(run, address) for address in chosen]
    last = run.positions if stop is None else stop
    if not chosen:
        raise BadValue("The logit lens needs at least one residual.", field="address")
    if not 0 <= start < last <= run.positions:
        raise BadValue(
            f"pos must be from 0 to {run.positions - 1}, the positions recorded so far.", field="pos"
        )
    if top < 1:
        raise BadValue("top must be at least 1.", field="top")
    top = min(top, run.loaded.vocab)
    found = [summarise_site(run, address, start, last, top) for address in chosen]
    ids, logits, probabilities, entropy = (torch.stack(parts) for parts in zip(*found, strict=True))
    return LensTable(chosen, blocks, ids, logits, probabilities, entropy)


def summarise_site(run: Run, address: str, start: int, stop: int, top: int) -> tuple[Tensor, ...]:
    """Token ids, logits and probabilities [pos, rank], and entropies [pos], on the host."""
    parts = []
    for rows in split_rows(start, stop, run.loaded.vocab):
        logits = read_lens(run, address, rows).float()
        if not torch.isfinite(logits.amax(-1)).all():
            raise ModelFailed(f"The logits after {address} are not numbers: {advise(run.loaded.dtype)}.")
        logprobs = logits.log_softmax(-1)
        shares = logprobs.exp()
        entropy = -(shares * logprobs.clamp_min(torch.finfo(torch.float32).min)).sum(-1) / torch.log(
            torch.tensor(2.0)
        )
        # Stable: equal logits keep the order of their ids.
        order = logits.sort(dim=-1, descending=True, stable=True).indices[:, :top]
        parts.append((order, logits.gather(-1, order), shares.gather(-1, order), entropy))
    return tuple(torch.cat(column).cpu() for column in zip(*parts, strict=True))


def split_rows(start: int, stop: int, vocab: int) -> Iterator[slice]:
    size = max(1, LENS_CELLS // vocab)
    for first in range(start, stop, size):
        yield slice(first, min(first + size, stop))


def describe_lens(run: Run, addresses: Sequence[str] | None, pos: int, count: int, top: int) -> Lens:
    """The table as a message, for `count` positions from `pos` (fewer where the recording ends).

    Raises BadValue for what is not there, and for more than `MOST_CANDIDATES`.
    """
    stop = max(pos + 1, min(pos + count, run.positions))
    top = min(top, run.loaded.vocab)
    chosen = list_lens_addresses(run) if addresses is None else addresses
    if (stop - pos) * len(chosen) * top > MOST_CANDIDATES:
        raise BadValue(
            f"{stop - pos} positions x {len(chosen)} residuals x {top} candidates are more than {MOST_CANDIDATES:,}; "
            "ask for fewer positions at a time.",
            field="count",
        )
    table = read_lens_table(run, chosen, start=pos, stop=stop, top=top)
    lowest = torch.finfo(torch.float32).min
    return Lens(
        rows=[
            LensRow(
                address=address,
                block=table.blocks[at],
                pos=pos + offset,
                entropy_bits=abs(float(table.entropy_bits[at, offset])),
                candidates=[
                    LensCandidate(
                        token=run.loaded.token(int(token_id)),
                        logit=max(float(logit), lowest),
                        probability=float(probability),
                    )
                    for token_id, logit, probability in zip(
                        table.token_ids[at, offset],
                        table.logits[at, offset],
                        table.probabilities[at, offset],
                        strict=True,
                    )
                ],
            )
            for at, address in enumerate(table.addresses)
            for offset in range(stop - pos)
        ]
    )
