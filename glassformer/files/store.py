"""Where other programs on this machine keep models: Ollama's store, LM Studio's folder, the hub library's cache."""

from __future__ import annotations

import os
from pathlib import Path

# LM Studio's folder has moved once. A service of Ollama's runs as a user of its own.
LM_STUDIO = ("~/.lmstudio/models", "~/.cache/lm-studio/models")
OLLAMA = ("~/.ollama/models", "/usr/share/ollama/.ollama/models")
OLLAMA_VARIABLE = "OLLAMA_MODELS"


def find_stores() -> dict[Path, str]:
    """Folders of models that are there, each with the name of the program that keeps it."""
    chosen = os.environ.get(OLLAMA_VARIABLE)
    named = [(place, "Ollama") for place in ([chosen] if chosen else OLLAMA)]
    named += [(place, "LM Studio") for place in LM_STUDIO]
    found: dict[Path, str] = {}
    for place, program in named:
        try:
            folder = Path(place).expanduser().resolve()
            if folder.is_dir() and os.access(folder, os.R_OK | os.X_OK):
                found.setdefault(folder, program)
        except (OSError, RuntimeError):
            continue
    return found


def find_hub_cache(chosen: Path | None) -> Path | None:
    """The folder of the hub library's cache, if it is there."""
    from huggingface_hub.constants import HF_HUB_CACHE

    folder = Path(chosen or HF_HUB_CACHE).expanduser().resolve()
    return folder if folder.is_dir() else None
