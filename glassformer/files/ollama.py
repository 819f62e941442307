"""Ollama's store of models: manifests, small JSON files that name the blobs a model is made of.

`manifests/HOST/OWNER/MODEL/TAG` lists layers by their SHA-256; `blobs/sha256-...` holds each. The weights are a GGUF.
Its template is written in Go's language and is not read; a GGUF brings one of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glassformer.errors import GlassformerError, ModelRefused
from glassformer.files.safety import read_json_object

# How ids of models in a store begin.
PREFIX = "ollama"
HOST, OWNER = "registry.ollama.ai", "library"
MEDIA = "application/vnd.ollama.image."
DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")
# How deep manifests lie: host, owner, model, tag.
DEPTH = 4
MOST_MODELS = 1000


@dataclass(frozen=True, slots=True)
class OllamaModel:
    """What a manifest names: the GGUF, what an adapter or the like is laid over it, and settings for writing."""

    weights: Path
    has_adapter: bool
    has_projector: bool
    has_template: bool
    settings: dict[str, Any]


def find_store(folder: Path) -> Path | None:
    """The store that `folder` is, or holds as Ollama's own folder does."""
    for candidate in (folder, folder / "models"):
        if (candidate / "manifests").is_dir() and (candidate / "blobs").is_dir():
            return candidate
    return None


def list_manifests(store: Path) -> dict[str, Path]:
    """Where each model of a store is described, by its id here: `ollama/` and Ollama's name of it."""
    try:
        found = sorted(store.glob("manifests/" + "/".join("*" * DEPTH)))[:MOST_MODELS]
    except OSError:
        return {}
    return {name_manifest(path): path for path in found if path.is_file() and not path.name.startswith(".")}


def name_manifest(path: Path) -> str:
    """`ollama/smollm2:135m`: the host and the owner that everything has are left out, as Ollama does."""
    host, owner, model, tag = path.parts[-DEPTH:]
    shown = [part for part, usual in ((host, HOST), (owner, OWNER)) if part != usual]
    return "/".join([PREFIX, *shown, f"{model}:{tag}"])


def is_manifest(place: Path) -> bool:
    """Whether a file is one of a store's manifests, by where it lies."""
    return len(place.parts) > DEPTH and place.parts[-DEPTH - 1] == "manifests" and place.is_file()


def read_manifest(place: Path) -> OllamaModel:
    """What a manifest names. Raises ModelRefused where it cannot be read or a blob is lacking."""
    layers = read_json_object(place, "manifest").get("layers")
    if not isinstance(layers, list):
        raise ModelRefused("The manifest of the Ollama model lists no layers.")
    blobs = place.parents[DEPTH] / "blobs"
    found: dict[str, list[Path]] = {}
    for layer in layers:
        digest = DIGEST.fullmatch(str(layer.get("digest"))) if isinstance(layer, dict) else None
        kind = str(layer.get("mediaType")) if isinstance(layer, dict) else ""
        if digest is not None and kind.startswith(MEDIA):
            found.setdefault(kind.removeprefix(MEDIA), []).append(find_blob(blobs, digest[1]))
    weights = found.get("model", [])
    if len(weights) != 1:
        raise ModelRefused(f"The Ollama model is made of {len(weights)} files of weights; one is read.")
    return OllamaModel(
        weights=weights[0],
        has_adapter="adapter" in found,
        has_projector="projector" in found,
        has_template="template" in found,
        settings=read_settings(found.get("params", [])),
    )


def find_blob(blobs: Path, digest: str) -> Path:
    for name in (f"sha256-{digest}", f"sha256:{digest}"):
        if (blobs / name).is_file():
            return blobs / name
    raise ModelRefused("The Ollama model lacks one of its blobs; pull it again.")


def read_settings(files: list[Path]) -> dict[str, Any]:
    """Temperature, stops and the like; nothing where they cannot be read."""
    try:
        return read_json_object(files[0], "params") if files else {}
    except GlassformerError:
        return {}
