"""From a model id to a folder of files that are safe to load.

An id is a bundled model's name, a folder under a configured root, or a repository of the model hub (`owner/name`,
or `owner/name@revision` for a branch, tag or commit), tried in that order. What it does not know: torch, loading,
memory. Fetching a hub model asks the hub; the rest only reads small local files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from glassformer.errors import BadValue, UnknownModel
from glassformer.files.hub import Hub, OnHeaders, OnProgress

if TYPE_CHECKING:
    from collections.abc import Iterable

    from glassformer.settings import Settings

# Hub ids have at most 2 x 96 characters; folders may lie deeper. Longer ids are never honest.
LONGEST_ID = 512
HUB_ID = re.compile(
    r"(?P<repo>[A-Za-z0-9_][\w.-]{0,95}(/[A-Za-z0-9_][\w.-]{0,95})?)(@(?P<revision>[A-Za-z0-9_][\w./-]{0,99}))?",
    re.ASCII,
)
# How far below a root the list of offered models looks; `owner/name` is the deepest usual habit.
LISTED_DEPTH = 2


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Where a model's files come from. For one of the hub `folder` is None, and `repo` and `revision` say which."""

    model_id: str
    kind: Literal["bundled", "folder", "hub"]
    folder: Path | None
    root: Path | None = None
    title: str = ""
    description: str = ""
    prompts: tuple[str, ...] = ()
    repo: str = ""
    revision: str | None = None


class Catalog:
    """The models a server can offer: bundled ones, those under `roots`, and the hub's."""

    def __init__(
        self,
        roots: Iterable[Path] = (),
        *,
        offline: bool = False,
        hub_endpoint: str | None = None,
        hub_token: str | None = None,
        hub_cache: Path | None = None,
    ) -> None:
        self.roots = [root.expanduser().resolve() for root in roots]
        self.hub = Hub(endpoint=hub_endpoint, token=hub_token, cache=hub_cache, offline=offline)

    def list(self) -> list[ModelSource]:
        """Bundled models and folders, without asking the hub."""
        found = {source.model_id: source for source in bundled_sources()}
        for root in self.roots:
            for folder in find_model_folders(root):
                source = self.source_from_folder(folder, root)
                found.setdefault(source.model_id, source)
        return list(found.values())

    def find(self, model_id: str) -> ModelSource:
        """The source of `model_id`. Does not ask the hub yet, so a hub id is only known to be well formed.

        Raises BadValue for a malformed id and UnknownModel for one that can be nothing.
        """
        check_model_id(model_id)
        for source in bundled_sources():
            if source.model_id == model_id:
                return source
        local = self.find_folder(model_id)
        if local is not None:
            return local
        found = HUB_ID.fullmatch(model_id)
        if found is None or ".." in model_id:
            # Not echoed: it looks like a path, and whether that exists is nobody's business.
            raise UnknownModel(model_id, "There is no such model here.")
        return ModelSource(
            model_id=model_id,
            kind="hub",
            folder=None,
            title=model_id,
            repo=found["repo"],
            revision=found["revision"],
        )

    def find_folder(self, model_id: str) -> ModelSource | None:
        """A folder inside a root, named relative to it, by the root's own name, or by a path that ends inside."""
        for root in self.roots:
            for candidate in (root / model_id, Path(model_id)):
                try:
                    folder = candidate.resolve()
                    is_model = folder.is_dir() and (folder / "config.json").is_file()
                except OSError:
                    continue
                if is_model and folder.is_relative_to(root):
                    return self.source_from_folder(folder, root)
                if folder.is_dir() and folder != root and folder.is_relative_to(root) and any_files(folder):
                    raise UnknownModel(model_id, describe_lack(folder))
            if root.name == model_id and (root / "config.json").is_file():
                return self.source_from_folder(root, root)
        return None

    def source_from_folder(self, folder: Path, root: Path) -> ModelSource:
        name = root.name if folder == root else folder.relative_to(root).as_posix()
        return ModelSource(model_id=name, kind="folder", folder=folder, root=root, title=name)

    def fetch(
        self,
        source: ModelSource,
        *,
        on_progress: OnProgress | None = None,
        on_headers: OnHeaders | None = None,
    ) -> Path:
        """The folder with all of the source's files, downloaded if need be.

        `on_progress` and `on_headers` as in `Hub.download`. Raises UnknownModel, ModelRefused, ModelGated,
        HubUnreachable, NoRoom or ModelFailed.
        """
        if source.folder is not None:
            return source.folder
        return self.hub.download(source.repo, source.revision, on_progress=on_progress, on_headers=on_headers)

    def fetch_config(self, source: ModelSource) -> Path:
        """The source's config.json; of a hub model only that file is downloaded. Raises as `fetch`."""
        if source.folder is not None:
            return source.folder / "config.json"
        return self.hub.download_config(source.repo, source.revision)


def open_catalog(settings: Settings) -> Catalog:
    """The models that `settings` let a server or a command offer."""
    return Catalog(
        settings.model_dirs,
        offline=settings.offline,
        hub_endpoint=settings.hub_endpoint,
        hub_token=settings.hub_token.get_secret_value() if settings.hub_token else None,
        hub_cache=settings.hub_cache,
    )


def check_model_id(model_id: str) -> None:
    """Raise BadValue where `model_id` cannot be an honest id: too long, control characters, `..`, a scheme."""
    if not model_id or len(model_id) > LONGEST_ID:
        raise BadValue(f"model_id has 1 to {LONGEST_ID} characters.", field="model_id")
    if not model_id.isprintable():
        raise BadValue("model_id holds characters that cannot be printed.", field="model_id")
    if "\\" in model_id or ".." in model_id.split("/") or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", model_id):
        raise BadValue(
            "model_id is a bundled model's name, a folder under a model directory, or a hub id.",
            field="model_id",
        )


def any_files(folder: Path) -> bool:
    """Whether files lie in a folder itself; one that only holds folders stands for their owner."""
    try:
        return any(path.is_file() for path in folder.iterdir())
    except OSError:
        return False


def describe_lack(folder: Path) -> str:
    """Why a folder that is there is no model, in one sentence."""
    name = folder.name
    if (folder / "adapter_config.json").is_file():
        return (
            f"The folder {name!r} holds an adapter for another model, not a whole model; merge the two first."
        )
    if any(folder.glob("*.gguf")):
        return f"The folder {name!r} holds a GGUF file, which is not read here, and no config.json."
    return f"The folder {name!r} has no config.json, so it is not a model."


def find_model_folders(root: Path, depth: int = LISTED_DEPTH) -> list[Path]:
    """Folders at most `depth` below `root` (a resolved path) that hold a config.json and stay inside, by name."""
    try:
        if (root / "config.json").is_file():
            return [root]
        children = sorted(root.iterdir()) if depth else []
        folders = [child for child in children if child.is_dir() and not child.name.startswith(".")]
    except OSError:
        return []
    # A link beside the folder it leads to is the same model, one that leads out is none.
    inside = dict.fromkeys(folder.resolve() for folder in folders if folder.resolve().is_relative_to(root))
    return [found for folder in inside for found in find_model_folders(folder, depth - 1)]


def bundled_sources() -> list[ModelSource]:
    """The models this package ships."""
    from glassformer.bundled import MODELS

    return [
        ModelSource(
            model_id=name,
            kind="bundled",
            folder=model.folder,
            root=model.folder,
            title=name,
            description=model.description,
            prompts=model.prompts,
        )
        for name, model in MODELS.items()
        if (model.folder / "config.json").is_file()
    ]
