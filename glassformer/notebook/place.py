"""Where a notebook runs: how its browser reaches a port of the kernel's machine, and shows a page in a cell.

On this machine the port itself is reached. Elsewhere something stands between: Colab hands out frames of its own, a
JupyterHub has jupyter-server-proxy, and whatever else there is can be named by the setting `page_url`.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import webbrowser
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from glassformer.settings import Settings

# What a JupyterHub tells its servers, which hand it on to their kernels: the path of this one, as `/user/mia/`.
HUB_PREFIX = "JUPYTERHUB_SERVICE_PREFIX"
NO_WAY = (
    "The page of this recording is served on the kernel's machine, which your browser does not reach from a "
    "JupyterHub: install jupyter-server-proxy there, name its address in GLASSFORMER_PAGE_URL, or export the recording."
)


@dataclass(frozen=True, slots=True)
class Place:
    """How pages of this kernel are reached; `base` is what stands before `/llm`, empty where nothing reaches them."""

    base: str
    port: int

    def url(self, query: str) -> str:
        return f"{self.base}/llm?{query}"

    @property
    def host(self) -> str | None:
        """The name that requests will call the server by; None for its own, `*` where it is not known."""
        if self.base.startswith(f"http://127.0.0.1:{self.port}"):
            return None
        return urlsplit(self.base).hostname or "*"


def find_place(settings: Settings, port: int) -> Place:
    """How a page on `port` is reached from where this notebook is read."""
    if settings.page_url is not None:
        return Place(settings.page_url.replace("{port}", str(port)).rstrip("/"), port)
    prefix = os.environ.get(HUB_PREFIX)
    if prefix is None:
        return Place(f"http://127.0.0.1:{port}", port)
    if importlib.util.find_spec("jupyter_server_proxy") is None:
        return Place("", port)
    return Place(f"{prefix.rstrip('/')}/proxy/{port}", port)


def display_page(place: Place, query: str, *, height_px: int) -> None:
    """The page in a frame where this is a notebook, in the browser where it is not."""
    marimo = find_marimo()
    if marimo is not None:
        marimo.output.append(marimo.Html(frame(place.url(query), height_px)))
        return
    if get_shell() is None:
        webbrowser.open(place.url(query))
        return
    if "google.colab" in sys.modules:
        from google.colab import output  # type: ignore[import-not-found,import-untyped,unused-ignore]

        output.serve_kernel_port_as_iframe(place.port, path=f"/llm?{query}", height=str(height_px))
        return
    from IPython.display import IFrame, Markdown, display

    shown = IFrame(place.url(query), "100%", height_px) if place.base else Markdown(NO_WAY)  # type: ignore[no-untyped-call]
    display(shown)  # type: ignore[no-untyped-call]


def frame(url: str, height_px: int) -> str:
    return f'<iframe src="{url}" style="width: 100%; height: {height_px}px; border: 0"></iframe>'


def find_marimo() -> Any:
    """The library of marimo, if this runs in a notebook of its."""
    marimo = sys.modules.get("marimo")
    return marimo if marimo is not None and marimo.running_in_notebook() else None


def get_shell() -> Any:
    """The notebook's kernel, if this runs in one."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell if shell is not None and hasattr(shell, "kernel") else None
