"""Models of the model hub: only the files that are safe and needed, into the hub library's own cache.

Everything that goes over the wire is the hub library's (`huggingface_hub`): redirects, tokens, retries that go on
where a transfer broke off. What is decided here is which files, whether they have room, and what an error is called.
"""

from __future__ import annotations

import errno
import importlib
import logging
import shutil
import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glassformer.errors import (
    GlassformerError,
    HubUnreachable,
    ModelFailed,
    ModelGated,
    ModelRefused,
    NoRoom,
    UnknownModel,
)
from glassformer.files.safety import check_config, refuse_own_code
from glassformer.files.size import StoredTensor, format_bytes
from glassformer.files.weight_files import describe_lack, find_weights, name_weights, refuse_lacking
from glassformer.importing import import_torch

if TYPE_CHECKING:
    from huggingface_hub import HfApi

log = logging.getLogger(__name__)

# Everything a causal model and its tokenizer read beside its weights; never *.bin, *.pt, *.py.
SMALL = ("*.json", "*.model", "*.jinja", "*.tiktoken", "merges.txt", "vocab.txt")

# A hub that does not answer in this time is looked for in the cache instead.
LOOK_UP_SECS = 10.0
# Files at a time: enough to fill a line, few enough that most are whole when it breaks.
FETCHING_THREADS = 4
# What the disk says where it is full, over a quota, or not to be written.
DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
NOT_WRITABLE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST})

OnProgress = Callable[[int, int], None]
"""Hears how many bytes are here, and of how many."""
OnHeaders = Callable[[Path, list[StoredTensor]], None]
"""Sees the config and what the weight files hold before they are downloaded; refuses the model by raising."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What a repository holds at one commit: file names with their sizes in bytes, folders left out."""

    commit: str
    sizes: dict[str, int]


@dataclass(frozen=True)
class Hub:
    """One model hub as this server may use it: its address, who we are there, and where its files are kept."""

    endpoint: str | None = None
    token: str | None = field(default=None, repr=False)
    cache: Path | None = None
    offline: bool = False

    def download(
        self,
        repo: str,
        revision: str | None = None,
        *,
        on_progress: OnProgress | None = None,
        on_headers: OnHeaders | None = None,
    ) -> Path:
        """The folder with the model's files, from the cache where it has them; unreachable hubs fall back to it.

        Raises UnknownModel, ModelRefused, ModelGated, HubUnreachable, NoRoom or ModelFailed, and what `on_headers`
        raises.
        """
        if self.offline:
            return self._find_cached(repo, revision)
        try:
            listing = self.read_listing(repo, revision)
        except HubUnreachable:
            log.warning("the model hub does not answer; looking in its cache for %s", repo)
            return self._find_cached(repo, revision)
        refuse_without_safetensors(listing.sizes, repo)
        # The named revision, so that the cache learns which commit it is; everything else comes from that commit.
        config = self.download_config(repo, revision)
        refuse_unknown(check_config(config))
        return _Download(self, repo, config.parent, listing, on_progress).run(on_headers)

    def download_config(self, repo: str, revision: str | None = None) -> Path:
        """The model's config.json alone. Raises as `download`."""
        return self.fetch_file(repo, "config.json", revision, local_files_only=self.offline)

    def fetch_file(self, repo: str, name: str, revision: str | None, **options: Any) -> Path:
        """One file, from the cache or the hub. Raises as `download`."""
        from huggingface_hub import hf_hub_download

        try:
            return Path(
                hf_hub_download(
                    repo,
                    name,
                    revision=revision,
                    endpoint=self.endpoint,
                    token=self.token,
                    cache_dir=self.cache,
                    **options,
                )
            )
        except Exception as exc:
            raise translate(repo, exc) from exc

    def read_headers(self, repo: str, names: Collection[str], commit: str) -> list[StoredTensor]:
        """The tensors that weight files on the hub hold, from a few kilobytes of each. Raises as `download`."""

        def read(name: str) -> list[StoredTensor]:
            found = self.api().parse_safetensors_file_metadata(repo, name, revision=commit)
            return [
                StoredTensor(key, str(tensor.dtype), tuple(tensor.shape))
                for key, tensor in found.tensors.items()
            ]

        try:
            with ThreadPoolExecutor(FETCHING_THREADS) as pool:
                return [tensor for tensors in pool.map(read, names) for tensor in tensors]
        except Exception as exc:
            raise translate(repo, exc) from exc

    def is_cached(self, repo: str, name: str, commit: str) -> bool:
        """Whether a file of a commit lies in the cache whole."""
        from huggingface_hub import try_to_load_from_cache

        return isinstance(try_to_load_from_cache(repo, name, cache_dir=self.cache, revision=commit), str)

    def free_bytes(self) -> int:
        """Bytes left on the disk of the cache."""
        from huggingface_hub.constants import HF_HUB_CACHE

        folder = Path(self.cache or HF_HUB_CACHE).expanduser()
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        return shutil.disk_usage(folder).free

    def api(self) -> HfApi:
        from huggingface_hub import HfApi

        return HfApi(endpoint=self.endpoint, token=self.token)

    def read_listing(self, repo: str, revision: str | None) -> Listing:
        """What a repository holds. Raises as `download`."""
        try:
            info = self.api().model_info(repo, revision=revision, files_metadata=True, timeout=LOOK_UP_SECS)
        except Exception as exc:
            raise translate(repo, exc) from exc
        if info.id not in (None, repo):
            log.info("the model hub calls %s %s now", repo, info.id)
        files = [file for file in info.siblings or [] if "/" not in file.rfilename]
        return Listing(str(info.sha), {file.rfilename: int(file.size or 0) for file in files})

    def _find_cached(self, repo: str, revision: str | None) -> Path:
        folder = self.fetch_file(repo, "config.json", revision, local_files_only=True).parent
        try:
            find_weights(folder)
        except ModelRefused as exc:
            raise ModelFailed(
                "The model is in the cache only in part, and the model hub cannot be asked for the rest now."
            ) from exc
        return folder


class _Download:
    """One model's files on their way into the cache."""

    def __init__(
        self, hub: Hub, repo: str, folder: Path, listing: Listing, on_progress: OnProgress | None
    ) -> None:
        self.hub = hub
        self.repo = repo
        self.folder = folder
        self.sizes = listing.sizes
        # In the cache a snapshot's folder is named after its commit.
        self.commit = folder.name
        self._on_progress = on_progress
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._done_bytes = 0
        self._total_bytes = 0

    def run(self, on_headers: OnHeaders | None) -> Path:
        small = [name for name in self.sizes if any(fnmatch(name, pattern) for pattern in SMALL)]
        self._fetch(small)
        weights = name_weights(self.folder, self.sizes)
        refuse_lacking(weights, self.sizes)
        missing = [name for name in weights if not self.hub.is_cached(self.repo, name, self.commit)]
        if missing:
            # Before gigabytes are fetched only to be refused.
            self._refuse_full_disk(missing)
            if on_headers:
                on_headers(
                    self.folder / "config.json", self.hub.read_headers(self.repo, weights, self.commit)
                )
        self._total_bytes = sum(self.sizes[name] for name in weights)
        self._add(sum(self.sizes[name] for name in weights if name not in missing))
        self._fetch(missing, tqdm_class=make_bar(self._add))
        return self.folder

    def _refuse_full_disk(self, names: Collection[str]) -> None:
        needed_bytes, free_bytes = sum(self.sizes[name] for name in names), self.hub.free_bytes()
        if needed_bytes > free_bytes:
            raise NoRoom(
                f"The model's files take {format_bytes(needed_bytes)}, "
                f"and the disk of the model cache has {format_bytes(free_bytes)} left.",
                field="model_id",
                retry_after_secs=600,
            )

    def _fetch(self, names: Collection[str], **options: Any) -> None:
        """Fetch files side by side. The first that fails ends the others at their next piece."""
        with ThreadPoolExecutor(FETCHING_THREADS) as pool:
            files = [
                pool.submit(self.hub.fetch_file, self.repo, name, self.commit, **options) for name in names
            ]
            over, _ = wait(files, return_when=FIRST_EXCEPTION)
            failed = [exc for file in over if (exc := file.exception()) is not None]
            if failed:
                self._stopped.set()
                for file in files:
                    file.cancel()
                raise failed[0]

    def _add(self, count: int) -> None:
        """Count bytes that have come, or (negative) that must come again. Called from any thread."""
        if self._stopped.is_set():
            raise HubUnreachable("Another file of the model could not be downloaded.", field="model_id")
        with self._lock:
            self._done_bytes += count
            if self._on_progress:
                self._on_progress(self._done_bytes, self._total_bytes)


def refuse_unknown(raw: Mapping[str, Any]) -> None:
    """Raise ModelRefused, before anything large is downloaded, for a model that only its own code can read."""
    if raw.get("auto_map"):
        import_torch()
        from glassformer.files.kind import is_known

        if not is_known(raw["model_type"]):
            refuse_own_code("config.json")


def refuse_without_safetensors(names: Collection[str], repo: str) -> None:
    """Raise ModelRefused, before anything large is downloaded, where a repository has nothing safe to load."""
    has_weights = any(name.endswith(".safetensors") for name in names)
    packed = sorted(name for name in names if name.lower().endswith(".gguf"))
    if packed and not has_weights:
        raise ModelRefused(
            f"The model is on the hub as GGUF alone ({len(packed)} files). Fetch one and open that: "
            f"hf download {repo} {packed[0]} --local-dir model"
        )
    if "config.json" not in names:
        raise ModelRefused("The model has no config.json.")
    if not has_weights:
        raise ModelRefused(describe_lack(names, repo=repo))


def translate(repo: str, exc: Exception) -> GlassformerError:
    """Our error for one of the hub library's."""
    from huggingface_hub import errors as hub

    if isinstance(exc, GlassformerError):
        return exc
    if isinstance(exc, hub.GatedRepoError):
        return ModelGated(
            "The model is gated: accept its terms on the model hub, and give this server a token of that account "
            "(hub_token)."
        )
    if isinstance(exc, hub.DisabledRepoError):
        return ModelRefused("The model hub has disabled the model.")
    if isinstance(exc, hub.RevisionNotFoundError):
        return UnknownModel(repo, f"The model {repo!r} has no such revision.")
    if isinstance(exc, hub.RepositoryNotFoundError | hub.HFValidationError):
        return UnknownModel(
            repo,
            f"There is no model {repo!r}: not bundled, not in a model directory, not on the hub "
            "(or private there, and this server has no token for it).",
        )
    if isinstance(exc, hub.LocalEntryNotFoundError):
        return UnknownModel(repo, f"There is no model {repo!r} here, and the model hub cannot be asked now.")
    if isinstance(exc, hub.EntryNotFoundError):
        return ModelRefused("The model has no config.json.")
    if isinstance(exc, hub.SafetensorsParsingError):
        return ModelRefused("The model's weight files are damaged or cut off.")
    if isinstance(exc, hub.HfHubHTTPError) and exc.response is not None:
        return translate_status(exc.response.status_code)
    number = getattr(exc, "errno", None)
    if number in DISK_FULL:
        return NoRoom("The disk of the model cache is full.", field="model_id", retry_after_secs=600)
    if number in NOT_WRITABLE:
        return ModelFailed("The model cache cannot be written, so the model cannot be downloaded.")
    log.warning("the model hub could not be asked for %s: %s", repo, type(exc).__name__)
    return HubUnreachable("The model hub does not answer.", field="model_id", retry_after_secs=30)


def translate_status(status: int) -> GlassformerError:
    """Our error for an answer of the hub that says no more than its status."""
    if status == 401:
        return ModelRefused("The model hub does not accept this server's token (hub_token).")
    if status == 403:
        return ModelGated("This server's token may not read the model (hub_token).")
    if status == 429:
        return HubUnreachable("The model hub asks for patience.", field="model_id", retry_after_secs=60)
    return HubUnreachable("The model hub fails at the moment.", field="model_id", retry_after_secs=30)


def make_bar(add: Callable[[int], None]) -> type[Any]:
    """A progress bar's class, as the hub library wants one for each file, that draws nothing and calls `add`."""
    base: Any = importlib.import_module("tqdm").tqdm

    class CountingBar(base):  # type: ignore[misc]  # tqdm is published without types
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)
            super().__init__(*args, **{**kwargs, "disable": True})
            if kwargs.get("initial"):
                add(int(kwargs["initial"]))

        def update(self, n: float | None = 1) -> bool | None:
            add(int(n or 0))
            return None

    return CountingBar
