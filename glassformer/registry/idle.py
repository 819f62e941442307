"""Which models nobody uses, and which go together: a model stays while an adapter over it is needed, else both may go.

All of these look at a registry's entries, with its lock held.
"""

from __future__ import annotations

from collections.abc import Collection

from glassformer.errors import InUse
from glassformer.registry.entry import Entry


def list_over(entries: dict[str, Entry], base: Entry) -> list[Entry]:
    """The adapters that are over a model, in memory or on their way there."""
    base_id = base.source.model_id
    return [
        entry
        for entry in entries.values()
        if entry.source.base is not None and entry.source.base.model_id == base_id and entry.error is None
    ]


def is_used(entries: dict[str, Entry], entry: Entry, *, pinned: Collection[str] = ()) -> bool:
    """Whether somebody needs a model that is there: itself, or an adapter over it.

    That is needed while it is used, being loaded or one of `pinned`.
    """
    over = list_over(entries, entry)
    return entry.leases > 0 or any(
        not each.loaded or each.leases or each.source.model_id in pinned for each in over
    )


def take_out(entries: dict[str, Entry], entry: Entry) -> list[Entry]:
    """Take a model that is not used out of the list, with the adapters over it: those first, as they hold it."""
    going = [*list_over(entries, entry), entry]
    for each in going:
        del entries[each.source.model_id]
    return going


def refuse_to_unload(
    entries: dict[str, Entry], entry: Entry, *, trials: Collection[str], pinned: Collection[str]
) -> None:
    """Raise InUse for a model that must stay, or over which an adapter must."""
    for each in (*list_over(entries, entry), entry):
        name = "The model" if each is entry else f"The adapter {each.source.model_id!r} over the model"
        if not each.future.done() or each.source.model_id in trials:
            raise InUse(f"{name} is being loaded.", field="model_id")
        if is_used(entries, each):
            raise InUse(f"Something that is running uses {name[:1].lower() + name[1:]}.", field="model_id")
        if each.source.model_id in pinned:
            raise InUse(f"{name} is pinned; unpin it before unloading it.", field="model_id")


def take_idle(entries: dict[str, Entry], kind: str, *, kept: Collection[str]) -> list[Entry]:
    """Take out the model on a kind of device that is longest unused, if one may go; those of the ids `kept` may not.

    One that somebody looks at goes after all others. One with adapters over it was used when they were.
    """

    def may_go(entry: Entry) -> bool:
        is_kept = entry.source.model_id in kept or is_used(entries, entry, pinned=kept)
        return bool(entry.loaded) and entry.kind == kind and not is_kept

    def rank(entry: Entry) -> tuple[bool, float]:
        together = (entry, *list_over(entries, entry))
        return any(each.lookers for each in together), max(each.used_at_secs for each in together)

    victim = min(filter(may_go, entries.values()), key=rank, default=None)
    return [] if victim is None else take_out(entries, victim)
