"""The shelf of shapes: what was drawn is kept, and what was refused is not tried again for a while."""

import json
import os
from pathlib import Path

import pytest

from glassformer.bundled.shape import SHAPES
from glassformer.errors import ModelRefused
from glassformer.files.catalog import Catalog
from glassformer.registry.opening import open_registry
from glassformer.settings import Settings
from glassformer.shape import shelf, skeleton
from glassformer.shape.shelf import ShapeShelf


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    (tmp_path / "mine").mkdir()
    config = json.loads(SHAPES["llama3-8b"].config.read_text()) | {"num_hidden_layers": 2}
    (tmp_path / "mine" / "config.json").write_text(json.dumps(config))
    return open_registry(Settings(model_dirs=[tmp_path], offline=True)).catalog


def test_a_shape_is_drawn_once_until_its_config_changes(catalog: Catalog, tmp_path: Path) -> None:
    shapes = ShapeShelf(catalog)
    wanted = shapes.locate("mine")
    assert shapes.find_kept(wanted) is None
    drawn = shapes.draw(wanted)
    assert shapes.find_kept(shapes.locate("mine")) is drawn
    assert shapes.draw(wanted) is drawn
    os.utime(tmp_path / "mine" / "config.json", ns=(0, 1))
    assert shapes.find_kept(shapes.locate("mine")) is None


def test_what_was_refused_is_not_tried_again_for_a_while(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = ShapeShelf(catalog)
    wanted = shapes.locate("mine")
    with monkeypatch.context() as slow:
        slow.setattr(skeleton, "MOST_SECS", 0.0)
        with pytest.raises(ModelRefused, match="takes longer than") as first:
            shapes.draw(wanted)
    # It could be drawn now.
    for ask in (shapes.find_kept, shapes.draw):
        with pytest.raises(ModelRefused, match="takes longer than") as again:
            ask(wanted)
        assert again.value is not first.value
        assert (again.value.message, again.value.field) == (first.value.message, first.value.field)
    monkeypatch.setattr(shelf, "REFUSED_SECS", 0.0)
    other = ShapeShelf(catalog)
    with monkeypatch.context() as slow:
        slow.setattr(skeleton, "MOST_SECS", 0.0)
        with pytest.raises(ModelRefused, match="takes longer than"):
            other.draw(wanted)
    assert other.draw(wanted).anatomy.refused is None
