"""From a model id to a folder of files that are safe to load.

An id is a bundled model's name, a folder or GGUF file under a configured root, or a repository of the model hub
(`owner/name`, or `owner/name@revision` for a branch, tag or commit), tried in that order. Where a root is a hub
cache, or a part of one, its models have their names of the hub. What it does not know: torch, loading, memory.
Fetching a hub model asks the hub; the rest only reads small local files.
"""

from __future__ import annotations

import dataclasses
import logging
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from glassformer.errors import BadValue, GlassformerError, UnknownModel
from glassformer.files import hub_cache, ollama
from glassformer.files.adapter import is_adapter, last_part, read_base
from glassformer.files.gguf_place import SUFFIX, find_ggufs, find_only, is_gguf, lies_inside
from glassformer.files.hub import Hub, OnHeaders, OnProgress
from glassformer.files.hub_adapter import fetch_adapter
from glassformer.files.model_id import HUB_ID, check_model_id, is_model_id
from glassformer.files.safety import refuse_link_out
from glassformer.files.store import find_hub_cache, find_stores

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from glassformer.settings import Settings

log = logging.getLogger(__name__)

# How far below a root the list of offered models looks; `owner/name` is the deepest usual habit.
LISTED_DEPTH = 2
# Folders that a sentence lists.
MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Where a model's files come from: `folder`, which may be the one file that it is.

    For one of the hub that is None, and `repo` and `revision` say which.

    An adapter's `folder` is its own; it computes with the weights of `base`.
    """

    model_id: str
    kind: Literal["bundled", "folder", "hub"]
    folder: Path | None
    root: Path | None = None
    title: str = ""
    description: str = ""
    prompts: tuple[str, ...] = ()
    repo: str = ""
    revision: str | None = None
    # The program that keeps it here, where that is another.
    store: str = ""
    base: ModelSource | None = None


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
        stores: Mapping[Path, str] = MappingProxyType({}),
        lists_hub: bool = False,
    ) -> None:
        """`stores` are roots that other programs keep, by name; `lists_hub` lists what the hub's cache has as well."""
        self.stores = stores
        self.lists_hub = lists_hub
        self.roots = [root.expanduser().resolve() for root in roots]
        self.roots += [root for root in stores if root not in self.roots]
        self.hub = Hub(endpoint=hub_endpoint, token=hub_token, cache=hub_cache, offline=offline)

    def list(self) -> list[ModelSource]:
        """Bundled models and folders, without asking the hub."""
        found = {source.model_id: source for source in bundled_sources()}
        for root in self.roots:
            for folder in find_model_folders(root):
                try:
                    source = (self.source_from_file if folder.is_file() else self.source_from_folder)(
                        folder, root
                    )
                except GlassformerError as exc:
                    log.debug("%s is not offered: %s", folder.name, exc.message)
                    continue
                if is_model_id(source.model_id):
                    found.setdefault(source.model_id, source)
        for source in self.list_cached() if self.lists_hub else ():
            found.setdefault(source.model_id, source)
        return list(found.values())

    def list_cached(self) -> Iterator[ModelSource]:
        """Models of the hub that are in its cache, by their names there."""
        cache = find_hub_cache(self.hub.cache)
        if cache is None or cache in self.roots:
            return
        for place in find_model_folders(cache, depth=1):
            name = hub_cache.name_snapshot(place)
            if is_gguf(place):
                yield dataclasses.replace(self.source_from_file(place, cache), store="hub cache")
            elif name is not None and HUB_ID.fullmatch(name):
                source = ModelSource(name, kind="hub", folder=None, title=name, repo=name, store="hub cache")
                yield self.place_cached(source)

    def find_cached_file(self, model_id: str) -> ModelSource | None:
        """A GGUF file in the hub's cache, named as its repository or after it; such files are not downloaded here."""
        cache = find_hub_cache(self.hub.cache)
        place = find_cached(model_id, cache) if cache is not None else None
        if cache is None or place is None:
            return None
        file = find_file(place, place.resolve(), cache)
        return None if file is None else self.source_from_file(file, cache)

    def find_here(self, source: ModelSource) -> Path | None:
        """Where a source's files lie on this machine, of an adapter its base's; None for one only on the hub."""
        if source.base is not None:
            return self.find_here(source.base)
        if source.folder is not None:
            return source.folder
        cache = find_hub_cache(self.hub.cache)
        return None if cache is None else find_cached(source.model_id, cache)

    def find(self, model_id: str) -> ModelSource:
        """The source of `model_id`. Does not ask the hub yet, so a hub id is only known to be well formed.

        Raises BadValue for a malformed id and UnknownModel for one that can be nothing.
        """
        check_model_id(model_id)
        for source in bundled_sources():
            if source.model_id == model_id:
                return source
        local = self.find_folder(model_id) or self.find_cached_file(model_id) or self.find_pair(model_id)
        if local is not None:
            return local
        found = HUB_ID.fullmatch(model_id)
        if found is None or ".." in model_id:
            # Not echoed: it looks like a path, and whether that exists is nobody's business.
            raise UnknownModel(model_id, "There is no such model here.")
        return self.place_cached(source_from_hub(model_id, found))

    def find_folder(self, model_id: str) -> ModelSource | None:
        """A folder inside a root, named relative to it, by the root's own name, or by a path that ends inside.

        In a hub cache also one that is named as on the hub. Raises UnknownModel, saying what is there instead.
        """
        for root in self.roots:
            for candidate in filter(None, (root / model_id, Path(model_id), find_cached(model_id, root))):
                try:
                    folder = candidate.resolve()
                    is_model = folder.is_dir() and is_offered(folder)
                except OSError:
                    continue
                file = find_file(candidate, folder, root)
                if file is not None:
                    return self.source_from_file(file, root)
                if is_model and folder.is_relative_to(root):
                    return self.source_from_folder(folder, root)
                if folder.is_dir() and folder != root and folder.is_relative_to(root) and any_files(folder):
                    raise UnknownModel(model_id, describe_lack(folder))
            if root.name == model_id and find_only(root) is not None:
                return self.source_from_file(find_ggufs(root)[0], root)
            if root.name == model_id and is_offered(root):
                return self.source_from_folder(root, root)
            store = ollama.find_store(root)
            manifest = ollama.list_manifests(store).get(model_id) if store is not None else None
            if manifest is not None:
                return self.source_from_file(manifest, root)
            if leads_out(model_id, root):
                raise UnknownModel(
                    model_id,
                    f"{model_id!r} is a link that leads out of its model directory; "
                    "name the directory that it leads to as a model directory of its own.",
                )
        return None

    def source_from_folder(self, folder: Path, root: Path) -> ModelSource:
        """The model in a folder; an adapter's is over the base that it names. Raises UnknownModel where that is not."""
        name = root.name if folder == root else folder.relative_to(root).as_posix()
        name = hub_cache.name_snapshot(folder) or name
        store = self.stores.get(root, "")
        source = ModelSource(model_id=name, kind="folder", folder=folder, root=root, title=name, store=store)
        return lay_over(self.find_base(source), source) if is_adapter(folder) else source

    def source_from_file(self, file: Path, root: Path) -> ModelSource:
        """A model in a file: called as its folder where that stands for it, and as Ollama calls its own."""
        if ollama.is_manifest(file):
            name = ollama.name_manifest(file)
        elif file.parent != root and find_only(file.parent) == file:
            return dataclasses.replace(self.source_from_folder(file.parent, root), folder=file)
        else:
            repo = hub_cache.name_snapshot(file.parent)
            name = f"{repo}/{file.name}" if repo else file.relative_to(root).as_posix()
        store = self.stores.get(root, "")
        return ModelSource(model_id=name, kind="folder", folder=file, root=root, title=name, store=store)

    def find_pair(self, model_id: str) -> ModelSource | None:
        """`base+adapter`, whatever base the adapter itself names; None where the id is none of that form."""
        for at in (at for at, letter in enumerate(model_id) if letter == "+"):
            name, over = model_id[:at], model_id[at + 1 :]
            adapter = self.find_adapter(over) if name and over else None
            found = HUB_ID.fullmatch(over)
            if adapter is None and found is not None and "/" in found["repo"]:
                adapter = source_from_hub(over, found)
            if adapter is not None:
                base = self.find(name)
                if base.base is not None:
                    raise BadValue("One adapter can be over a model at a time.", field="model_id")
                return lay_over(base, adapter)
        return None

    def find_adapter(self, name: str) -> ModelSource | None:
        """The folder of an adapter inside a root, by its name there."""
        for root in self.roots:
            try:
                folder = (root / name).resolve()
                is_there = folder.is_relative_to(root) and is_adapter(folder)
            except OSError:
                continue
            if is_there or (root.name == name and is_adapter(root)):
                place = folder if is_there else root
                return ModelSource(model_id=name, kind="folder", folder=place, root=root, title=name)
        return None

    def find_base(self, adapter: ModelSource) -> ModelSource:
        """The model that an adapter names: in a folder beside it or in a root, else of the hub.

        Raises UnknownModel where it is nowhere, ModelRefused where the adapter's config cannot be read.
        """
        assert adapter.folder is not None
        named = read_base(adapter.folder)
        told = named if HUB_ID.fullmatch(named) else last_part(named)
        if not named:
            raise UnknownModel(
                adapter.model_id,
                f"{adapter.model_id!r} is an adapter that does not name its base; ask for base+{adapter.model_id}.",
            )
        for folder, root in self.list_places(adapter, named):
            file = find_only(folder)
            if file is not None and lies_inside(file, root):
                return self.source_from_file(file, root)
            if folder != adapter.folder and (folder / "config.json").is_file() and not is_adapter(folder):
                return self.source_from_folder(folder, root)
        bundled = {source.model_id: source for source in bundled_sources()}
        if named in bundled:
            return bundled[named]
        if HUB_ID.fullmatch(named) and ".." not in named:
            return ModelSource(model_id=named, kind="hub", folder=None, title=named, repo=named)
        raise UnknownModel(
            adapter.model_id,
            f"{adapter.model_id!r} is an adapter for {told!r}, which is not here: put that model into a folder beside "
            f"it, or ask for base+{adapter.model_id} with the name of a base that is here.",
        )

    def complete(self, source: ModelSource) -> ModelSource:
        """`source` as the hub knows it: of an adapter there, with its files and its base; whole models as they are.

        Raises as `fetch`, and UnknownModel for a base that is nowhere or an adapter that is none.
        """
        if source.kind != "hub":
            return source
        folder = fetch_adapter(self.hub, source.repo, source.revision)
        if folder is not None:
            return self.put_over(source, folder)
        if source.base is not None:
            raise UnknownModel(
                source.model_id, f"{source.repo!r} is no adapter that is laid over another model."
            )
        return source

    def place_cached(self, source: ModelSource) -> ModelSource:
        """`source` of the hub as its cache knows it, without asking the hub."""
        place = self.find_here(source)
        if place is not None and is_adapter(place):
            with suppress(GlassformerError):  # whoever loads it hears of it
                return self.put_over(source, place)
        return source

    def put_over(self, source: ModelSource, folder: Path) -> ModelSource:
        """An adapter of the hub whose files are in `folder`, over the base named beside it, or that it names itself."""
        placed = dataclasses.replace(source, folder=folder)
        return placed if source.base is not None else dataclasses.replace(placed, base=self.find_base(placed))

    def list_places(self, adapter: ModelSource, named: str) -> Iterator[tuple[Path, Path]]:
        """Folders that may be the base of that name, nearest first, with the roots that they lie in."""
        assert adapter.folder is not None
        names = [name for name in dict.fromkeys((named, last_part(named))) if is_plain(name)]
        beside = [(adapter.folder.parent, adapter.root), *((root, root) for root in self.roots)]
        for parent, root in beside:
            for name in names:
                folder = (parent / name).resolve()
                if root is not None and folder.is_relative_to(root):
                    yield folder, root
        for root in self.roots:
            for folder in find_model_folders(root):
                name = hub_cache.name_snapshot(folder) or folder.name
                if name in names or last_part(name) in names:
                    yield folder, root

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
        """The file that says how the source is built: its config.json, or the one file that it is.

        An adapter's is its base's. Of a hub model only that file is downloaded. Raises as `fetch`.
        """
        source = self.complete(source)
        if source.base is not None:
            return self.fetch_config(source.base)
        if source.folder is not None:
            place = source.folder if source.folder.is_file() else source.folder / "config.json"
            if source.root is not None and not ollama.is_manifest(place):
                refuse_link_out(place, source.root)
            return place
        return self.hub.download_config(source.repo, source.revision)


def open_catalog(settings: Settings) -> Catalog:
    """The models that `settings` let a server or a command offer."""
    return Catalog(
        settings.model_dirs,
        offline=settings.offline,
        hub_endpoint=settings.hub_endpoint,
        hub_token=settings.hub_token.get_secret_value() if settings.hub_token else None,
        hub_cache=settings.hub_cache,
        stores=find_stores() if settings.local_models else {},
        lists_hub=settings.local_models,
    )


def source_from_hub(model_id: str, found: re.Match[str]) -> ModelSource:
    """A model of the hub, whose id matched `HUB_ID`."""
    repo, revision = found["repo"], found["revision"]
    return ModelSource(model_id, kind="hub", folder=None, title=model_id, repo=repo, revision=revision)


def any_files(folder: Path) -> bool:
    """Whether files lie in a folder itself; one that only holds folders stands for their owner."""
    try:
        return any(path.is_file() for path in folder.iterdir())
    except OSError:
        return False


def describe_lack(folder: Path) -> str:
    """Why a folder that is there is no model, in one sentence."""
    name = folder.name
    files = [path.name for path in find_ggufs(folder)]
    if files:
        return (
            f"The folder {name!r} holds {len(files)} GGUF models; name one: {', '.join(files[:MOST_NAMED])}."
        )
    if any(folder.glob("*.gguf")):
        return f"The folder {name!r} holds only a part of a GGUF model, or what goes with one."
    inside = [found.name for found in find_model_folders(folder.resolve(), depth=1)]
    if inside:
        # As Trainer leaves them: a run's folder with its checkpoints.
        return (
            f"The folder {name!r} is not a model itself; these in it are: {', '.join(inside[:MOST_NAMED])}."
        )
    return f"The folder {name!r} has no config.json, so it is not a model."


def find_file(candidate: Path, folder: Path, root: Path) -> Path | None:
    """The file that is a model and lies inside `root`: the one named, or the one that a folder stands for."""
    only = find_only(folder)
    # A link of a hub cache says what it is by its name, not by where it leads.
    file = only or candidate.parent.resolve() / candidate.name
    is_model = only is not None or is_gguf(file) or ollama.is_manifest(file)
    return file if is_model and file.is_relative_to(root) and lies_inside(file, root) else None


def find_cached(model_id: str, root: Path) -> Path | None:
    """The snapshot of a model that is named as on the hub, where a root is or holds the hub's cache, or is in one.

    Of one that has several GGUF files, the one that is named after it.
    """
    repo, _, file = model_id.rpartition("/") if model_id.lower().endswith(SUFFIX) else (model_id, "", "")
    found = HUB_ID.fullmatch(repo)
    if found is None or ".." in model_id:
        return None
    own = hub_cache.find_repo_folder(root)
    name = hub_cache.PREFIX + found["repo"].replace("/", "--")
    places = [own] if own is not None else [root / name, *root.glob(f"*/{name}")]
    for repo_folder in places:
        if hub_cache.read_repo(repo_folder) == found["repo"]:
            snapshot = hub_cache.find_snapshot(repo_folder, found["revision"])
            if snapshot is not None and snapshot.resolve().is_relative_to(root):
                return snapshot / file
    return None


def find_model_folder(folder: Path) -> Path:
    """`folder`, or the snapshot that is used where it is a repository of a hub cache."""
    repo_folder = hub_cache.find_repo_folder(folder)
    if repo_folder is None or (folder / "config.json").is_file():
        return folder
    return hub_cache.find_snapshot(repo_folder) or folder


def leads_out(model_id: str, root: Path) -> bool:
    """Whether a name under a root is that of a link to a folder elsewhere."""
    place = root / model_id
    if not place.parent.is_relative_to(root):
        return False
    try:
        is_inside = place.parent.resolve().is_relative_to(root)
        return (
            is_inside and place.is_symlink() and place.is_dir() and not place.resolve().is_relative_to(root)
        )
    except OSError:
        return False


def lay_over(base: ModelSource, adapter: ModelSource) -> ModelSource:
    """An adapter over a base: what it is called, and where both are."""
    name = f"{base.model_id}+{adapter.model_id}"
    return dataclasses.replace(adapter, model_id=name, title=f"{base.title} + {adapter.title}", base=base)


def is_plain(name: str) -> bool:
    """Whether a name may be looked for under a folder: no way up or elsewhere."""
    return bool(name) and not Path(name).is_absolute() and ".." not in Path(name).parts and name.isprintable()


def is_offered(folder: Path) -> bool:
    """Whether a folder is a model or an adapter for one."""
    return (folder / "config.json").is_file() or is_adapter(folder)


def find_model_folders(root: Path, depth: int = LISTED_DEPTH) -> list[Path]:
    """Models at most `depth` below `root` (a resolved path) that stay inside: folders that are offered, and files.

    Of a repository in a hub cache, the snapshot that is used.
    """
    if hub_cache.find_repo_folder(root) is not None:
        snapshot = find_model_folder(root)
        is_folder = is_offered(snapshot) and find_only(snapshot) is None
        return [*([snapshot] if is_folder else []), *find_ggufs(snapshot)]
    store = ollama.find_store(root)
    if store is not None:
        return list(ollama.list_manifests(store).values())
    ggufs = find_ggufs(root)
    try:
        if is_offered(root):
            return ggufs if find_only(root) else [root, *ggufs]
        children = sorted(root.iterdir()) if depth else []
        folders = [child for child in children if child.is_dir() and not child.name.startswith(".")]
    except OSError:
        return ggufs
    # A link beside the folder it leads to is the same model, one that leads out is none.
    inside = dict.fromkeys(folder.resolve() for folder in folders if folder.resolve().is_relative_to(root))
    return [*ggufs, *(found for folder in inside for found in find_model_folders(folder, depth - 1))]


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
