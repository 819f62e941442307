"""The group `reading` of a store, opened by zarr-python and xarray: over HTTP, from a saved folder, in an export."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
import zarr
from serving import serving

import glassformer as gf
from glassformer.errors import BadValue
from glassformer.export.answers import write_answers
from glassformer.export.exportable import Exportable
from glassformer.protocol.reading import Reading
from glassformer.reading.group import find_group, read_group_key
from glassformer.registry.opening import open_registry
from glassformer.settings import Settings

PROMPT = "Mia gives the ball to Tom. Who has the ball?"


@pytest.fixture(scope="module")
def trace() -> gf.Trace:
    return gf.load("tales").trace(PROMPT, max_new_tokens=1, temperature=0)


def check_group(found: xarray.Dataset, reading: Reading) -> None:
    assert found.parts.values.tolist() == [part.value for part in reading.parts]
    kinds = found.part_kind.attrs["kinds"]
    assert [kinds[kind] for kind in found.part_kind.values] == [part.kind for part in reading.parts]
    numbers = [part.head if part.kind == "head" else part.expert for part in reading.parts]
    assert None in numbers
    assert found.part_number.values.tolist() == [-1 if number is None else number for number in numbers]
    assert float(found.parts.sum()) + found.attrs["remainder"] == pytest.approx(found.attrs["logit"])
    assert found.lens_token[-1, 0] == reading.lens[-1].tokens[0].id
    assert found.lens.shape == (len(reading.lens), 5)
    head = reading.attention[-1]
    assert (found.attention_block[-1], found.attention_head[-1]) == (head.block, head.head)
    np.testing.assert_allclose(found.attention_carried[-1], head.carried, rtol=1e-6)
    assert found.attention_position[-1].values.tolist() == head.positions
    np.testing.assert_allclose(found.stream[2], reading.stream[2].rms, rtol=1e-6)
    assert Reading.model_validate_json(found.message.values.tobytes()) == reading


def test_a_saved_recording_keeps_its_reading(trace: gf.Trace, tmp_path: Path) -> None:
    own = trace.reading()
    folder = trace.save(tmp_path / "tom.zarr", addresses=["resid_post.4"])
    kept = gf.open(folder)
    assert kept.reading() == own
    assert kept.reading().title == own.title
    with pytest.raises(BadValue, match="needs the model"):
        kept.reading(2)
    bare = Reading.model_validate(own.model_dump(exclude={"words"}))
    check_group(xarray.open_zarr(folder, group="reading"), bare)
    assert set(zarr.open_group(folder, mode="r")) == {"resid_post.4", "reading"}
    (folder / "reading" / "message" / "c" / "0").unlink()
    with pytest.raises(BadValue, match="damaged"):
        gf.open(folder).reading()


def test_the_keys_of_a_group_are_those_of_one(trace: gf.Trace) -> None:
    run = trace.live
    assert run is not None
    with run.looking():
        group = find_group(run)
        assert read_group_key(run, "message/c/0").body == group.find("message/c/0")
        assert find_group(run) is group
        ids = run.token_ids
        try:
            # A word more: another decision.
            run.token_ids = [*ids, 7]
            assert find_group(run).attributes["token_id"] == 7
        finally:
            run.token_ids = ids
        assert find_group(run) is group


def test_the_group_over_http(tmp_path: Path) -> None:
    with serving(tmp_path, rate_limit="") as server, server.client() as client:
        body = {"model_id": "tales", "prompt": PROMPT}
        path = f"/api/traces/{client.post('/api/traces', json=body).json()['id']}"
        client.get(f"{path}/events")
        reading = Reading.model_validate(client.get(f"{path}/reading").json())
        url = f"{client.base_url}{path}/zarr/reading"
        check_group(xarray.open_zarr(url), reading)
        assert client.get(f"{path}/zarr/reading/parts/c/1").status_code == 404
        assert client.get(f"{path}/zarr/reading/nothing/zarr.json").status_code == 404


def test_an_export_holds_readings_of_what_was_written(trace: gf.Trace, tmp_path: Path) -> None:
    assert trace.live is not None
    registry: Any = open_registry(Settings())
    write_answers(Exportable(trace.live, registry.summary("tales")), tmp_path)
    names = sorted(int(file.stem) for file in (tmp_path / "readings").iterdir())
    assert names == [trace.prompt_count - 1, trace.prompt_count]
    found = json.loads((tmp_path / "readings" / f"{names[0]}.json").read_text(encoding="utf-8"))
    assert (found["token"]["text"], found["versus"]) == (" Tom", "mean")
    tested = json.loads((tmp_path / "effects" / f"{names[0]}.json").read_text(encoding="utf-8"))
    assert {part["kind"] for part in tested["parts"]} >= {"token", "head", "mlp"}
