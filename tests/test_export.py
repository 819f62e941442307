"""A folder that needs no server: what is in it, read by zarr-python and xarray, held against transformers."""

import base64
import io
import json
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
import zarr
from tiny import make_model, make_models, read_model
from transformers import AutoTokenizer
from typer.testing import CliRunner

import glassformer as gf
import glassformer.export.folder as exporting
from glassformer.cli import app
from glassformer.errors import BadValue

PROMPT = "Mia gives the ball to Tom."


@pytest.fixture(autouse=True)
def quiet_readers() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page as the build leaves it, in little; the real one is opened by the browser tests."""
    folder = tmp_path / "page"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text('<head><script src="/llm/assets/a.js"></script></head><body></body>')
    (folder / "index.html.br").write_bytes(b"")
    (folder / ".source-sha256").write_text("")
    (folder / "assets" / "a.js").write_text("1")
    (folder / "one.html").write_text("<head></head><body></body>")
    monkeypatch.setattr(exporting, "PAGE", folder)
    return folder


def run(model_dir: Path, out: Path, *options: str) -> Any:
    arguments = ["export", "llama", PROMPT, "--out", str(out), "--model-dir", str(model_dir), *options]
    return CliRunner().invoke(app, arguments, env={"GLASSFORMER_DEVICE": "cpu", "GLASSFORMER_OFFLINE": "1"})


@pytest.fixture
def exported(model_dir: Path, page: Path, tmp_path: Path) -> Path:
    out = tmp_path / "story"
    outcome = run(model_dir, out, "--max-new-tokens", "5")
    assert outcome.exit_code == 0, outcome.output
    return out


@pytest.fixture
def truth(model_dir: Path) -> Any:
    model = read_model(model_dir / "llama", attn_implementation="eager")
    ids = AutoTokenizer.from_pretrained(model_dir / "llama")(PROMPT, return_tensors="pt").input_ids
    written = model.generate(ids, max_new_tokens=5, do_sample=False)
    with torch.no_grad():
        return written[0].tolist(), model(written, output_attentions=True), model.state_dict()


def test_the_store_holds_what_transformers_computes(exported: Path, truth: Any) -> None:
    ids, out, weights = truth
    with xr.open_datatree(exported / "data" / "recording.zarr", engine="zarr") as tree:
        assert tree.attrs["token_ids"] == ids
        np.testing.assert_allclose(tree["attn_probs.1"]["0"].values, out.attentions[1][0].numpy(), atol=1e-5)
        np.testing.assert_allclose(tree["lm_head"]["0"].values, out.logits[0].numpy(), atol=1e-4)
    with xr.open_zarr(exported / "data" / "recording.zarr", group="lm_head") as opened:
        assert opened["0"].dims == ("pos", "vocab")
    group = zarr.open_group(exported / "data" / "weights.zarr", mode="r")
    for name, weight in weights.items():
        if f"{name}/0" in group:
            np.testing.assert_array_equal(np.asarray(group[f"{name}/0"]), weight.numpy())
    assert "model.layers.0.self_attn.q_proj.weight/0" in group


def test_the_folder_answers_what_the_page_asks(exported: Path, truth: Any) -> None:
    ids, out, _ = truth
    document = json.loads((exported / "data" / "recording.json").read_text())
    assert [token["id"] for token in document["recording"]["tokens"]] == ids
    assert document["prompt"] == PROMPT
    assert document["weights"] == "full"
    assert [step["token"]["id"] for step in document["steps"]] == ids[-5:]
    assert document["steps"][0]["model_probability"] == pytest.approx(
        float(out.logits[0, -6].softmax(-1)[ids[-5]]), abs=1e-5
    )
    for pos in range(document["recording"]["positions"]):
        found = json.loads((exported / "data" / "distributions" / f"{pos}.json").read_text())
        best = found["candidates"][0]
        assert best["token"]["id"] == int(out.logits[0, pos].argmax())
        assert best["probability"] == pytest.approx(float(out.logits[0, pos].softmax(-1).max()), abs=1e-5)
    assert json.loads((exported / "data" / "anatomy.json").read_text())["model_id"] == "llama"


def test_the_folder_tells_of_all_heads_as_a_server_does(exported: Path, truth: Any) -> None:
    _, out, _ = truth
    assert json.loads((exported / "data" / "recording.json").read_text())["heads"]
    found = json.loads((exported / "data" / "heads.json").read_text())
    assert [each["block"] for each in found["blocks"]] == [0, 1]
    assert [len(each["heads"]) for each in found["blocks"]] == [4, 4]
    for each in found["blocks"]:
        attention = out.attentions[each["block"]][0]
        stop = found["stop"]
        previous = attention[:, :stop, :stop].diagonal(-1, dim1=1, dim2=2).mean(-1)
        told = [head["previous"] for head in each["heads"]]
        assert told == pytest.approx(previous.tolist(), abs=1e-5)


def test_the_page_finds_its_files_from_any_address(exported: Path) -> None:
    index = (exported / "index.html").read_text()
    assert 'src="./assets/a.js"' in index
    assert "/llm/" not in index
    assert 'id="glassformer-export"' in index
    names = {file.name for file in exported.iterdir()}
    assert names == {"index.html", "assets", "data"}


def test_weights_can_be_left_out_or_coarse(model_dir: Path, page: Path, tmp_path: Path) -> None:
    assert run(model_dir, tmp_path / "none", "--weights", "none", "--max-new-tokens", "0").exit_code == 0
    assert not (tmp_path / "none" / "data" / "weights.zarr").exists()
    assert run(model_dir, tmp_path / "coarse", "--weights", "coarse", "--max-new-tokens", "0").exit_code == 0
    group = zarr.open_group(tmp_path / "coarse" / "data" / "weights.zarr", mode="r")
    # 400 x 32: 128 cells a side are two halvings away.
    embedding = group["model.embed_tokens.weight"]
    assert embedding.attrs["first_level"] == 2
    assert sorted(name for name, _ in embedding.arrays()) == ["2", "2_mean", "3", "3_mean"]  # type: ignore[union-attr]
    assert "model.norm.weight/0" in group


def unpack(file: Path) -> zipfile.ZipFile:
    inside = re.search(r'id="glassformer-data">([^<]*)</script>', file.read_text())
    assert inside is not None
    return zipfile.ZipFile(io.BytesIO(base64.b64decode(inside[1])))


def test_one_file_holds_what_a_folder_does(exported: Path, model_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "story.html"
    outcome = run(model_dir, file, "--max-new-tokens", "5")
    assert outcome.exit_code == 0, outcome.output
    assert 'id="glassformer-export"' in file.read_text()
    archive = unpack(file)
    folder = exported / "data"
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert set(archive.namelist()) == names
    made_at = ("created", "id")
    for name in names - {"recording.json"}:
        found, expected = archive.read(name), (folder / name).read_bytes()
        if name.endswith("zarr.json"):
            found, expected = json.loads(found), json.loads(expected)
            for document in (found, expected):
                for fact in made_at:
                    document["attributes"].pop(fact, None)
        assert found == expected, name


def test_a_small_file_holds_pictures_of_what_does_not_fit(
    page: Path, model_dir: Path, tmp_path: Path
) -> None:
    file = tmp_path / "story.html"
    long = "Mia gives the ball to Tom. " * 30
    arguments = ["export", "llama", long, "--out", str(file), "--model-dir", str(model_dir)]
    environment = {"GLASSFORMER_DEVICE": "cpu", "GLASSFORMER_OFFLINE": "1"}
    outcome = CliRunner().invoke(
        app, [*arguments, "--max-mb", "9", "--point", "resid_post", "--max-new-tokens", "0"], env=environment
    )
    assert outcome.exit_code == 0, outcome.output
    assert file.stat().st_size <= 9e6
    unpack(file).extractall(tmp_path / "data")
    group = zarr.open_group(tmp_path / "data" / "recording.zarr", mode="r")
    levels = {name: int(each.attrs["first_level"]) for name, each in group.groups() if "." in name}  # type: ignore[arg-type]
    assert {levels["resid_post.0"], levels["resid_post.1"]} == {0}
    assert max(levels.values()) > 0
    model = read_model(model_dir / "llama", attn_implementation="eager")
    with torch.no_grad():
        stream = model(torch.tensor([group.attrs["token_ids"]]), output_hidden_states=True).hidden_states[1]
    np.testing.assert_allclose(np.asarray(group["resid_post.0/0"]), stream[0].numpy(), atol=1e-5)
    refused = CliRunner().invoke(app, [*arguments, "--max-mb", "1", "--overwrite"], env=environment)
    assert refused.exit_code == 1
    assert "more than is allowed" in refused.output
    assert "MB" in refused.output


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--point", "nowhere"], "no point 'nowhere'"),
        (["--weights", "full"], "A file takes weights along"),
    ],
)
def test_wrong_wishes_for_a_file_are_told(
    page: Path, model_dir: Path, tmp_path: Path, options: list[str], sentence: str
) -> None:
    outcome = run(model_dir, tmp_path / "x.html", "--max-new-tokens", "0", *options)
    assert outcome.exit_code == 1
    assert sentence in " ".join(outcome.output.split())
    assert not (tmp_path / "x.html").exists()


def test_a_file_that_is_no_export_stays(page: Path, model_dir: Path, tmp_path: Path) -> None:
    mine = tmp_path / "diary.html"
    mine.write_text("dear diary")
    outcome = run(model_dir, mine, "--overwrite")
    assert "not an export" in outcome.output
    assert mine.read_text() == "dear diary"


def test_nothing_is_replaced_unless_it_is_an_export(exported: Path, model_dir: Path, tmp_path: Path) -> None:
    again = run(model_dir, exported)
    assert (again.exit_code, "overwrite" in again.output) == (1, True)
    assert run(model_dir, exported, "--overwrite", "--max-new-tokens", "0").exit_code == 0
    assert not (exported / "data" / "distributions" / "30.json").exists()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "diary.txt").write_text("dear diary")
    refused = run(model_dir, mine, "--overwrite")
    assert refused.exit_code == 1
    assert "not an export" in refused.output
    assert (mine / "diary.txt").read_text() == "dear diary"
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--weights", "some"], "weights is auto, none, coarse or full."),
        (["--max-mb", "1", "--max-new-tokens", "300"], "more than the 1 MB allowed"),
    ],
)
def test_wrong_wishes_are_told(
    model_dir: Path, page: Path, tmp_path: Path, options: list[str], sentence: str
) -> None:
    outcome = run(model_dir, tmp_path / "out", *options)
    assert outcome.exit_code == 1
    assert sentence in outcome.output
    assert not (tmp_path / "out").exists()


def test_an_empty_prompt_is_refused(model_dir: Path, page: Path, tmp_path: Path) -> None:
    arguments = ["export", "llama", "", "--out", str(tmp_path / "out"), "--model-dir", str(model_dir)]
    outcome = CliRunner().invoke(
        app, arguments, env={"GLASSFORMER_DEVICE": "cpu", "GLASSFORMER_OFFLINE": "1"}
    )
    assert (outcome.exit_code, "prompt must not be empty." in outcome.output) == (1, True)
    assert not (tmp_path / "out").exists()


def test_a_page_that_is_not_built_is_told(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "PAGE", tmp_path / "nothing")
    assert "has not been built" in run(model_dir, tmp_path / "out").output


def test_a_recording_of_a_notebook_is_saved_as_one_file(page: Path, tmp_path: Path) -> None:
    # A name of its own: models of one process are told apart by theirs.
    folder = make_model(tmp_path / "kept", "llama")
    model = gf.load(folder, device="cpu", dtype="float32")
    trace = model.trace(PROMPT, max_new_tokens=3, temperature=0)
    file = trace.save(tmp_path / "story.html")
    archive = unpack(file)
    archive.extractall(tmp_path / "data")
    group = zarr.open_group(tmp_path / "data" / "recording.zarr", mode="r")
    assert group.attrs["token_ids"] == trace.token_ids
    with torch.no_grad():
        plain = read_model(folder, attn_implementation="eager")
        stream = plain(torch.tensor([trace.token_ids]), output_hidden_states=True).hidden_states[1]
    cells = np.asarray(group["resid_post.0/0"])
    np.testing.assert_allclose(cells, stream[0, : len(cells)].numpy(), atol=1e-5)
    assert any(name.startswith("reading") for name in archive.namelist())
    with pytest.raises(BadValue, match="exists already"):
        trace.save(file)
    assert trace.save(file, overwrite=True) == file
    with pytest.raises(BadValue, match="addresses are for a folder"):
        trace.save(tmp_path / "other.html", addresses=["attn_probs.0"])
