"""Adapters that lie on the hub: which they are, and their files, fetched whole before their base can be known.

They have a few megabytes, so nothing is gained by telling how far that is.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path

from glassformer.errors import GlassformerError, HubUnreachable
from glassformer.files.adapter import (
    CONFIG,
    WEIGHTS,
    are_whole,
    check_adapter,
    is_adapter,
    refuse_other_kinds,
)
from glassformer.files.hub import SMALL, Hub
from glassformer.files.safety import read_json_object


def fetch_adapter(hub: Hub, repo: str, revision: str | None) -> Path | None:
    """The folder with the files of an adapter, from the cache where it has them; None for a whole model, or no model.

    Raises as `Hub.download`.
    """
    here = find_folder(hub, repo, revision)
    known = here if here is not None and is_adapter(here) else None
    if hub.offline or (here is not None and known is None):
        return known
    try:
        names = hub.read_listing(repo, revision).sizes
    except HubUnreachable:
        return known
    if not are_adapter(names):
        return None
    # The named revision, so that the cache learns which commit it is.
    folder = hub.fetch_file(repo, CONFIG, revision).parent
    refuse_other_kinds(read_json_object(folder / CONFIG, CONFIG))
    for name in names:
        if name == WEIGHTS or any(fnmatch(name, pattern) for pattern in SMALL):
            hub.fetch_file(repo, name, folder.name)
    check_adapter(folder)
    return folder


def are_adapter(names: Collection[str]) -> bool:
    """Whether files of these names are an adapter's and no whole model's."""
    return CONFIG in names and not are_whole(names)


def find_folder(hub: Hub, repo: str, revision: str | None) -> Path | None:
    """Where the cache has something of a repository."""
    for name in ("config.json", CONFIG):
        with suppress(GlassformerError):
            return hub.fetch_file(repo, name, revision, local_files_only=True).parent
    return None
