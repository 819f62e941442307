"""Shapes by their ids: the bundled ones, and those of every model that is offered here, without loading it.

No torch until the first shape is drawn. Shapes are kept, a few kilobytes each, as long as their config stays as it is.
"""

from __future__ import annotations

import copy
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from glassformer.bundled.shape import SHAPES
from glassformer.errors import ModelRefused, UnknownModel, UnknownShape
from glassformer.files.catalog import Catalog
from glassformer.files.model_id import check_model_id
from glassformer.importing import import_torch
from glassformer.protocol.shape import ModelShape, ShapeList, ShapeSummary
from glassformer.vetting.vet import vet_config

Source = Literal["bundled", "model", "file"]
T = TypeVar("T")

# How many shapes are kept.
MOST_KEPT = 64
# How long the same config is not tried again after it was refused.
REFUSED_SECS = 60.0
# How many stand side by side on the page: more would each be too small to read.
MOST_BESIDE = 3


def list_shapes() -> ShapeList:
    """The shapes that ship with the program."""
    return ShapeList(
        shapes=[
            ShapeSummary(
                shape_id=shape.name,
                title=shape.title,
                description=shape.description,
                parameters=shape.parameters,
            )
            for shape in SHAPES.values()
        ],
        most_beside=MOST_BESIDE,
    )


@dataclass(frozen=True, slots=True)
class Wanted:
    """A shape that is asked for, and the config it is drawn from as that file is now."""

    shape_id: str
    config: Path
    source: Source
    title: str
    changed_ns: int


class ShapeShelf:
    """Draws shapes on demand, one at a time, and keeps them; for a while also why one was refused. Any thread."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._lock = threading.Lock()
        # Held while one is drawn, which may take as long as `shape/skeleton.py` lets it.
        self._drawing = threading.Lock()
        self._kept: OrderedDict[Wanted, ModelShape] = OrderedDict()
        self._refused: OrderedDict[Wanted, tuple[float, ModelRefused]] = OrderedDict()

    def find(self, shape_id: str) -> ModelShape:
        """The shape of that id, drawn if it is not kept. Raises as `locate` and `draw`."""
        return self.draw(self.locate(shape_id))

    def locate(self, shape_id: str) -> Wanted:
        """What a shape is drawn from: a folder of this server, a bundled one, or a model of the hub, in this order.

        Raises UnknownShape, BadValue, ModelRefused or Unavailable.
        """
        config, source, title = self._locate(shape_id)
        return Wanted(shape_id, config, source, title, config.stat().st_mtime_ns if config.is_file() else 0)

    def find_kept(self, wanted: Wanted) -> ModelShape | None:
        """A shape that was drawn before; at once. Raises ModelRefused for one that was refused just now."""
        with self._lock:
            found = self._kept.get(wanted)
            if found is not None:
                self._kept.move_to_end(wanted)
                return found
            until_secs, refusal = self._refused.get(wanted, (0.0, None))
            if refusal is not None and time.monotonic() < until_secs:
                raise copy.copy(refusal)
        return None

    def draw(self, wanted: Wanted) -> ModelShape:
        """The shape, once those asked for before have been drawn. Raises ModelRefused, ModelFailed or Unavailable."""
        with self._drawing:
            found = self.find_kept(wanted)
            if found is not None:
                return found
            import_torch()
            from glassformer.shape.shape import describe_shape

            try:
                found = describe_shape(
                    wanted.config, wanted.shape_id, title=wanted.title, source=wanted.source
                )
            except ModelRefused as exc:
                self._keep(self._refused, wanted, (time.monotonic() + REFUSED_SECS, copy.copy(exc)))
                raise
            self._keep(self._kept, wanted, found)
            return found

    def _keep(self, shelf: OrderedDict[Wanted, T], wanted: Wanted, found: T) -> None:
        with self._lock:
            shelf[wanted] = found
            shelf.move_to_end(wanted)
            while len(shelf) > MOST_KEPT:
                shelf.popitem(last=False)

    def _locate(self, shape_id: str) -> tuple[Path, Source, str]:
        check_model_id(shape_id)
        local = self._catalog.find_folder(shape_id)
        if local is not None:
            return self._config_of(shape_id), "model", local.title
        bundled = SHAPES.get(shape_id)
        if bundled is not None:
            return bundled.config, "bundled", bundled.title
        try:
            source = self._catalog.find(shape_id)
            if source.kind == "hub" and "/" not in shape_id:
                raise UnknownShape(
                    shape_id,
                    f"There is no shape {shape_id!r}. There are {', '.join(SHAPES)}, and one of each model that is "
                    "offered here, under its id.",
                )
            return self._config_of(shape_id), "model", source.title
        except UnknownModel as exc:
            raise UnknownShape(shape_id, exc.message) from exc

    def _config_of(self, model_id: str) -> Path:
        """The config of a model that is offered here; of one of the hub that file alone is fetched."""
        source = self._catalog.find(model_id)
        config = self._catalog.fetch_config(source)
        if source.root is not None and not config.resolve().is_relative_to(source.root.resolve()):
            raise ModelRefused("The model's folder links to files outside its model directory.")
        if source.kind != "bundled":
            vet_config(config)
        return config
