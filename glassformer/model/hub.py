"""Models of the model hub: only the files that are safe and needed, into the hub library's own cache."""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from glassformer.errors import GlassformerError, HubUnreachable, ModelRefused, UnknownModel
from glassformer.model.safety import check_config

log = logging.getLogger(__name__)

# Everything a causal model and its tokenizer read; never *.bin, *.pt, *.py.
WANTED = ["*.json", "*.safetensors", "*.model", "*.jinja", "*.tiktoken", "merges.txt", "vocab.txt"]
UNWANTED = ["*/*"]

# A hub that does not answer in this time is looked for in the cache instead.
LOOK_UP_SECS = 10.0

Progress = Callable[[float, str], None]


def download_model(repo: str, *, endpoint: str | None, offline: bool, on_progress: Progress | None) -> Path:
    """The folder with the model's files, from the cache where it has them; unreachable hubs fall back to it.

    Raises UnknownModel, ModelRefused or HubUnreachable.
    """
    from huggingface_hub import HfApi, snapshot_download

    revision = None
    if not offline:
        try:
            info = HfApi(endpoint=endpoint).model_info(repo, timeout=LOOK_UP_SECS)
            revision = info.sha
            refuse_without_safetensors([sibling.rfilename for sibling in info.siblings or []])
        except Exception as exc:
            error = translate(repo, exc)
            if not isinstance(error, HubUnreachable):
                raise error from exc
            log.warning("the model hub does not answer; looking in its cache for %s", repo)
            offline = True
    # Before gigabytes are fetched only to be refused.
    check_config(download_config(repo, endpoint=endpoint, offline=offline))
    try:
        folder = snapshot_download(
            repo,
            revision=revision,
            endpoint=endpoint,
            local_files_only=offline,
            allow_patterns=WANTED,
            ignore_patterns=UNWANTED,
            tqdm_class=progress_bar(on_progress),
        )
    except Exception as exc:
        raise translate(repo, exc) from exc
    return Path(folder)


def download_config(repo: str, *, endpoint: str | None, offline: bool) -> Path:
    """The model's config.json alone. Raises as `download_model`."""
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(repo, "config.json", endpoint=endpoint, local_files_only=offline))
    except Exception as exc:
        raise translate(repo, exc) from exc


def refuse_without_safetensors(names: list[str]) -> None:
    """Raise ModelRefused, before anything large is downloaded, where a repository has nothing safe to load."""
    if "config.json" not in names:
        raise ModelRefused("The model has no config.json.")
    if not any(name.endswith(".safetensors") and "/" not in name for name in names):
        raise ModelRefused(
            "The model has no safetensors weights; other formats can carry code and are not loaded."
        )


def translate(repo: str, exc: Exception) -> GlassformerError:
    """Our error for one of the hub library's."""
    from huggingface_hub import errors as hub

    if isinstance(exc, GlassformerError):
        return exc
    if isinstance(exc, hub.GatedRepoError):
        return ModelRefused(
            "The model asks for its licence to be accepted on the hub, and for HF_TOKEN to be set."
        )
    if isinstance(exc, hub.RepositoryNotFoundError | hub.RevisionNotFoundError | hub.HFValidationError):
        return UnknownModel(
            repo, f"There is no model {repo!r}: not bundled, not in a model directory, not on the hub."
        )
    if isinstance(exc, hub.LocalEntryNotFoundError):
        return UnknownModel(repo, f"There is no model {repo!r} here, and the model hub cannot be asked now.")
    if isinstance(exc, hub.EntryNotFoundError):
        return ModelRefused("The model has no config.json.")
    log.warning("the model hub could not be asked for %s: %s", repo, type(exc).__name__)
    return HubUnreachable("The model hub does not answer.", field="model_id", retry_after_secs=30)


def progress_bar(on_progress: Progress | None) -> type[Any]:
    """A tqdm class that draws nothing and reports the share of all bytes instead."""
    base: Any = importlib.import_module("tqdm").tqdm

    class ReportingBar(base):  # type: ignore[misc]  # tqdm is published without types
        lock = threading.Lock()

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)
            self.counts_bytes = kwargs.get("unit") == "B"
            super().__init__(*args, **{**kwargs, "disable": True})
            self.total = kwargs.get("total") or 0
            self.done = 0.0

        def update(self, n: float | None = 1) -> bool | None:
            with self.lock:
                self.done += n or 0
                if on_progress and self.counts_bytes and self.total:
                    megabytes = f"{self.done / 1e6:.0f} of {self.total / 1e6:.0f} MB"
                    on_progress(min(1.0, self.done / self.total), megabytes)
            return None

    return ReportingBar
