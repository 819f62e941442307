"""The hub library's cache as it lies on a disk, which people name as a directory of models. Asks nobody.

`models--owner--name` holds `refs` (which commit a branch is), `snapshots` (a folder for each commit) and `blobs`: the
files themselves, which those folders link to. The layout is huggingface_hub's documented one.
"""

from __future__ import annotations

import re
from pathlib import Path

PREFIX = "models--"
DEFAULT_BRANCH = "main"
# Of a model, and of an adapter.
CONFIGS = ("config.json", "adapter_config.json")
# The hub's are of 40 hexadecimal digits.
COMMIT = re.compile(r"[0-9A-Za-z]{1,64}")


def read_repo(folder: Path) -> str | None:
    """The hub's name of the repository that a folder of a cache holds: `owner/name`; None for any other folder."""
    if not folder.name.startswith(PREFIX):
        return None
    return folder.name.removeprefix(PREFIX).replace("--", "/", 1) or None


def find_repo_folder(folder: Path) -> Path | None:
    """The repository's folder that `folder` is, or is a snapshot of, or holds the snapshots of."""
    for candidate in (folder, *folder.parents[:2]):
        inside = folder.relative_to(candidate).parts
        if read_repo(candidate) is not None and inside[:1] in ((), ("snapshots",)):
            return candidate
    return None


def find_snapshot(repo_folder: Path, revision: str | None = None) -> Path | None:
    """The files of a revision, of the default branch where none is named; None where they are not here.

    A cache that was copied without its `refs` has its newest commit for the default branch.
    """
    snapshots = repo_folder / "snapshots"
    wanted = revision or DEFAULT_BRANCH
    try:
        commit = (repo_folder / "refs" / wanted).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        commit = wanted
    if COMMIT.fullmatch(commit) and is_model(snapshots / commit):
        return snapshots / commit
    if revision is not None:
        return None
    try:
        found = [folder for folder in snapshots.iterdir() if is_model(folder)]
        return max(found, key=lambda folder: (folder.stat().st_mtime, folder.name), default=None)
    except OSError:
        return None


def name_snapshot(folder: Path) -> str | None:
    """How the hub calls the model in a snapshot's folder, with its commit unless it is the one that is used."""
    repo_folder = find_repo_folder(folder)
    repo = read_repo(repo_folder) if repo_folder and repo_folder == folder.parent.parent else None
    if repo is None or repo_folder is None:
        return None
    return repo if find_snapshot(repo_folder) == folder else f"{repo}@{folder.name}"


def find_blobs(folder: Path) -> Path | None:
    """Where the files of a snapshot's folder lie, if it is one; no link that leads elsewhere."""
    repo_folder = find_repo_folder(folder)
    blobs = repo_folder / "blobs" if repo_folder and repo_folder == folder.parent.parent else None
    return blobs if blobs is not None and blobs.is_dir() and not blobs.is_symlink() else None


def is_model(folder: Path) -> bool:
    """Whether a snapshot is more than a config that was once looked at."""
    has_config = any((folder / name).is_file() for name in CONFIGS)
    return (has_config and any(folder.glob("*.safetensors"))) or any(folder.glob("*.gguf"))
