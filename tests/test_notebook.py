"""The Python handle, against transformers loaded by itself from the same folder."""

import gc
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
import xarray
import zarr
from tiny import make_models, read_model
from transformers import AutoTokenizer

import glassformer as gf
from glassformer.errors import BadValue, TooLong, UnknownModel
from glassformer.notebook import labelled, page_server
from glassformer.notebook.session import SESSION
from glassformer.protocol.anatomy import Check

PROMPT = "the quick brown fox"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_models(tmp_path_factory.mktemp("models")) / "llama"


@pytest.fixture(scope="module")
def model(folder: Path) -> gf.Model:
    return gf.load(folder, device="cpu")


@pytest.fixture(scope="module")
def trace(model: gf.Model) -> gf.Trace:
    return model.trace(PROMPT, max_new_tokens=6, temperature=0)


@pytest.fixture(scope="module")
def reference(folder: Path) -> Any:
    return read_model(folder, attn_implementation="eager")


@pytest.fixture(scope="module")
def expected(reference: Any, trace: gf.Trace) -> Any:
    with torch.no_grad():
        return reference(torch.tensor([trace.token_ids]), output_hidden_states=True, output_attentions=True)


def close(actual: Any, expected: torch.Tensor) -> None:
    np.testing.assert_allclose(np.asarray(actual), expected.float().numpy(), rtol=1e-4, atol=2e-5)


# --- the page ----------------------------------------------------------------------------------------


def test_the_page_shows_what_the_handle_says_it_was_drawn_with(
    model: gf.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A server's own pinned models are none of the page's: they would be loaded beside the notebook's.
    pinned = SESSION.settings.model_copy(update={"pinned_models": ["sorter"]})
    monkeypatch.setitem(SESSION.__dict__, "settings", pinned)
    monkeypatch.setattr(page_server, "_server", None)
    drawn = model.trace(
        PROMPT,
        max_new_tokens=3,
        temperature=1.3,
        top_p=1.0,
        top_k=7,
        logit_bias={40: 2.0},
        forced_token_ids=[60],
        constraint={"regex": "[^0-9]{1,60}"},
        seed=1,
    )
    base, _, query = drawn.url.partition("/llm?trace=")
    with httpx.Client(base_url=base, trust_env=False, timeout=30) as client:
        found = client.get(f"/api/traces/{query}/distribution", params={"pos": drawn.prompt_count - 1}).json()
        models = {one["model_id"]: one["status"] for one in client.get("/api/models").json()["models"]}
    assert [stage["filter"] for stage in found["stages"]] == [
        "logit_bias",
        "constraint",
        "temperature",
        "top_k",
    ]
    assert found["forced"]
    mine = drawn.distribution(drawn.prompt_count - 1, top=50)
    assert [one["filtered_probability"] for one in found["candidates"]] == pytest.approx(
        mine["filtered_probability"].tolist()
    )
    assert models["sorter"] == "available"


# --- loading -----------------------------------------------------------------------------------------


def test_importing_is_light() -> None:
    code = (
        "import sys, glassformer as gf; assert gf.load and gf.open and 'load' in dir(gf);"
        "print([m for m in ('torch', 'transformers', 'xarray', 'fastapi') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
    with pytest.raises(AttributeError, match="nonesuch"):
        _ = gf.nonesuch


def test_a_model_is_loaded_once(model: gf.Model, folder: Path) -> None:
    assert gf.load(str(folder), device="cpu").loaded is model.loaded
    other = gf.load(folder, device="cpu", dtype="bfloat16")
    assert other.loaded is not model.loaded
    assert other.loaded.dtype == torch.bfloat16
    assert other.model_id != model.model_id == "llama"
    assert other.anatomy.model_id == other.model_id
    assert "parameters" in repr(other)


@pytest.mark.parametrize(
    ("name", "options", "error", "sentence"),
    [
        ("./nowhere", {}, UnknownModel, "no model in the folder 'nowhere'"),
        (Path("nowhere"), {}, UnknownModel, "no model in the folder"),
        ("", {}, BadValue, "model_id"),
        ("tales", {"dtype": "float8"}, BadValue, "dtype is one of"),
        ("sorter", {"device": "toaster"}, BadValue, "no device"),
    ],
)
def test_what_cannot_be_loaded_says_why(
    name: Any, options: dict[str, str], error: type, sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        gf.load(name, **options)


# --- arrays ------------------------------------------------------------------------------------------


def test_greedy_text_is_that_of_generate(trace: gf.Trace, reference: Any, folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(PROMPT, return_tensors="pt")
    expected = reference.generate(**ids, do_sample=False, max_new_tokens=6)[0]
    assert trace.token_ids == expected.tolist()
    assert trace.text == tokenizer.decode(expected, skip_special_tokens=True)
    assert trace.tokens == [tokenizer.decode([token_id]) for token_id in trace.token_ids]
    assert trace.prompt_count == ids["input_ids"].shape[1]
    assert repr(trace).startswith(f"<Trace of llama: {trace.prompt_count} tokens read, 6 written")
    assert "border-bottom" in trace._repr_html_()


def test_arrays_are_those_of_transformers(trace: gf.Trace, expected: Any) -> None:
    for block in range(2):
        close(trace[f"resid_pre.{block}"], expected.hidden_states[block][0])
        close(trace[f"attn_probs.{block}"], expected.attentions[block][0])
    close(trace["lm_head"], expected.logits[0])
    np.testing.assert_array_equal(trace.numpy("attn_probs.1"), trace["attn_probs.1"].values)


def test_axes_have_names_and_tokens_are_labels(trace: gf.Trace, expected: Any) -> None:
    probabilities = trace["attn_probs.1"]
    assert probabilities.dims == ("head", "query", "key")
    assert (
        list(probabilities["query_token"].values) == list(probabilities["key_token"].values) == trace.tokens
    )
    close(probabilities.sel(head=2, query=5), expected.attentions[1][0, 2, 5])
    residual = trace["resid_pre.1"]
    assert residual.dims == ("pos", "d_model")
    assert str(residual.sel(pos=3)["token"].values) == trace.tokens[3]
    assert probabilities.attrs["address"] == "attn_probs.1"
    assert probabilities.attrs["provenance"] == "recomputed"
    assert probabilities.attrs["check"] in ("exact", "close")
    assert "softmax" in probabilities.attrs["equation"]
    assert "query_token" in repr(probabilities)


def test_it_is_a_mapping_of_addresses(trace: gf.Trace, model: gf.Model) -> None:
    assert "attn_probs.1" in trace
    assert "attn_probs.2" not in trace
    assert list(trace) == trace.keys() == trace._ipython_key_completions_()
    assert len(trace) == len(model.checks())


def test_what_is_not_there_is_a_key_error_with_the_reason(model: gf.Model) -> None:
    trace = model.trace(PROMPT)
    with pytest.raises(KeyError) as caught:
        trace["attn_probs.7"]
    assert str(caught.value) == "This model has no site 'attn_probs.7'."
    live = trace.live
    assert live is not None
    live.sites["q.1"] = live.sites["q.1"].model_copy(
        update={"check": Check(status="refused", reason="it is odd")}
    )
    for ask in (trace.__getitem__, trace.numpy, lambda address: trace.explain(address, [0, 0, 0])):
        with pytest.raises(KeyError, match=r"q\.1 is refused: it is odd\."):
            ask("q.1")
    assert "q.1" not in trace


@pytest.mark.parametrize(
    "choose",
    [
        lambda cells: cells[1, -3:, 2],
        lambda cells: cells[:, 8:2:-2, ::3],
        lambda cells: cells[[3, 0, 0], 1:4],
        lambda cells: cells[-1, [5, 2], -1],
        lambda cells: cells[:, 4:4],
        lambda cells: cells,
    ],
)
def test_large_arrays_are_read_where_they_are_used(
    trace: gf.Trace, monkeypatch: pytest.MonkeyPatch, choose: Callable[[Any], Any]
) -> None:
    whole = trace["attn_probs.1"]
    monkeypatch.setattr(labelled, "EAGER_CELLS", 0)
    lazy = trace["attn_probs.1"]
    assert "values with dtype" in repr(lazy)
    # Rows formed alone are a smaller product of matrices, which rounds differently in the last bit.
    xarray.testing.assert_allclose(choose(lazy), choose(whole), rtol=1e-5)


def test_only_the_cells_asked_for_are_formed() -> None:
    asked: list[tuple[slice, ...]] = []

    def read(region: tuple[slice, ...]) -> np.ndarray:
        asked.append(region)
        return np.zeros([part.stop - part.start for part in region], np.float32)

    shape = (8, 2048, 2048)
    array = labelled.label_cells(read, shape, ("head", "query", "key"), name="a", tokens=["x"] * 2048)
    assert array[2, -1].shape == array.sel(head=2, query=2047).shape == (2048,)
    assert asked == []
    assert float(array[2, -1].sum()) == 0
    assert asked == [(slice(2, 3), slice(2047, 2048), slice(0, 2048))]


def test_weights_are_the_models_own(model: gf.Model, reference: Any) -> None:
    name = "model.layers.1.mlp.up_proj.weight"
    weight = model.weight(name)
    assert weight.dims == ("d_mlp", "d_model")
    assert weight.attrs["role"] == "up"
    np.testing.assert_array_equal(weight, reference.get_parameter(name).detach().numpy())
    with pytest.raises(KeyError, match="no weight 'nonesuch'"):
        model.weight("nonesuch")


@pytest.mark.parametrize(
    "address", ["resid_pre.1", "resid_post.1", "mlp_act.1", "q.0", "attn_probs.1", "lm_head"]
)
def test_what_is_written_to_an_array_changes_nothing_else(trace: gf.Trace, address: str) -> None:
    before = trace.numpy(address).copy()
    trace.numpy(address)[:] = 7
    named = trace[address]
    named -= 7
    named.values[:] = 7
    np.testing.assert_array_equal(trace.numpy(address), before)


def test_what_is_written_to_a_weight_changes_no_model(model: gf.Model) -> None:
    name = "model.layers.1.mlp.down_proj.weight"
    before = model.weight(name).values.copy()
    model.weight(name).values[:] = 7
    np.testing.assert_array_equal(model.weight(name).values, before)


def test_checks_are_told_site_by_site(model: gf.Model) -> None:
    checks = model.checks()
    assert set(checks["status"]) <= {"exact", "close"}
    assert checks.set_index("address").loc["attn_probs.1", "block"] == 1
    assert model.site("attn_probs.1").equation.operation == "softmax"


# --- questions ---------------------------------------------------------------------------------------


def test_a_cell_is_explained_by_the_names_of_its_axes(trace: gf.Trace) -> None:
    explained = trace.explain("mlp_act.1", pos=-1, d_mlp=12)
    last = trace.positions - 1
    assert explained.index == [last, 12]
    assert explained.value == pytest.approx(float(trace["mlp_act.1"].sel(pos=last, d_mlp=12)), rel=1e-6)
    assert explained.difference is not None
    assert explained.difference < 1e-5
    assert explained == trace.explain("mlp_act.1", [last, 12])
    assert repr(explained).startswith(f"mlp_act.1[pos={last}, d_mlp=12] = ")
    assert "computed again" in repr(explained)
    assert "each term: SiLU(mlp_pre.1) × mlp_pre_linear.1" in repr(explained)
    many = trace.explain("q.0", head=1, pos=2, d_head=3)
    assert "each term: attn_in.0 × (q_proj.weight × cos + q_proj.weight × −sin)" in repr(many)
    assert "the sum of" in repr(many)
    lines = re.findall(r"^ +(\S+)  feature \d+: (.+)$", repr(many), re.MULTILINE)
    assert len(lines) == 8
    for shown, formula in lines:
        found = eval(formula.replace("×", "*").replace("÷", "/"))  # noqa: S307
        assert found == pytest.approx(float(shown), rel=1e-3)
    assert many._repr_latex_().startswith("$$")
    assert many._repr_html_().count("<tr>") == len(many.terms) + 1
    everything = sum(term.contribution for term in many.terms) + many.rest_sum
    assert everything == pytest.approx(many.recomputed, abs=1e-6)


@pytest.mark.parametrize(
    ("index", "axes", "sentence"),
    [
        (None, {"pos": 1}, "d_mlp is not given"),
        (None, {"pos": 1, "head": 2}, "no 'head'"),
        (None, {"pos": 99, "d_mlp": 0}, r"pos 0\.\.\d+, d_mlp 0\.\.55"),
        ([1], {}, "takes the indices"),
        ([1, 2, 3], {}, "takes the indices"),
        ([1, 2], {"pos": 1}, "either in the order"),
    ],
)
def test_an_index_that_cannot_be_is_named(
    trace: gf.Trace, index: list[int] | None, axes: dict[str, int], sentence: str
) -> None:
    with pytest.raises(BadValue, match=sentence):
        trace.explain("mlp_act.1", index, **axes)


def test_heads_are_a_table_by_block_and_head(model: gf.Model, trace: gf.Trace) -> None:
    frame = trace.heads()
    assert list(frame.index) == [(block, head) for block in (0, 1) for head in range(4)]
    assert (frame.attrs["start"], frame.attrs["stop"], frame.attrs["refused"]) == (0, trace.positions, {})
    pattern = trace.numpy("attn_probs.1")
    before = np.stack([pattern[:, i, i - 1] for i in range(1, trace.positions)]).mean(0)
    np.testing.assert_allclose(frame.loc[1, "previous"], before, rtol=1e-4)
    np.testing.assert_allclose(frame.loc[1, "first"], pattern[:, 1:, 0].mean(1), rtol=1e-4)
    unrepeated = model.trace(token_ids=[3, 4, 5]).heads()
    assert unrepeated["induction"].isna().all()
    assert unrepeated["previous"].notna().all()


def test_the_distribution_is_that_of_the_model(trace: gf.Trace, expected: Any) -> None:
    shares = expected.logits[0].softmax(-1)
    frame = trace.distribution(3, top=5)
    best = shares[3].topk(5)
    assert frame["token_id"].tolist() == best.indices.tolist()
    assert frame["probability"].tolist() == pytest.approx(best.values.tolist(), abs=1e-5)
    # Drawn greedily, so that is what the filters leave by default.
    assert frame["filtered_probability"].tolist() == [1, 0, 0, 0, 0]
    warm = trace.distribution(-1, temperature=1, top_p=1)
    assert warm["filtered_probability"].tolist() == pytest.approx(warm["probability"].tolist(), abs=1e-6)
    with pytest.raises(BadValue, match="pos must be from 0"):
        trace.distribution(99)
    with pytest.raises(BadValue, match="temperature"):
        trace.distribution(0, temperature=-1)


def test_the_lens_ends_in_the_models_own_prediction(trace: gf.Trace, expected: Any, reference: Any) -> None:
    lens = trace.logit_lens(top=3)
    assert dict(lens.sizes) == {"block": 3, "pos": trace.positions, "rank": 3}
    assert lens["address"].values.tolist() == ["resid_pre.0", "resid_pre.1", "resid_post.1"]
    best = expected.logits[0].topk(3)
    np.testing.assert_array_equal(lens["token_id"].sel(block=2), best.indices)
    assert (
        lens["prediction"].sel(block=2, pos=0, rank=0)
        == trace.live.loaded.token(int(best.indices[0, 0])).text
    )
    logits = trace.logit_lens(top=None)
    assert logits.dims == ("block", "pos", "vocab")
    np.testing.assert_array_equal(logits.sel(block=2), trace["lm_head"])
    early = reference.lm_head(reference.model.norm(expected.hidden_states[1]))[0]
    close(logits.sel(block=1), early.detach())
    chosen = trace.logit_lens(["resid_post.0"], top=None)
    assert chosen["block"].values.tolist() == [1]
    with pytest.raises(KeyError, match="no site"):
        trace.logit_lens(["resid_post.9"])
    with pytest.raises(BadValue, match=r"resid_pre\.B"):
        trace.logit_lens(["q.0"])


# --- running -----------------------------------------------------------------------------------------


def test_the_lens_of_three_words_lists_three() -> None:
    recording = gf.load("sorter").trace("CBABBC", max_new_tokens=3)
    for lens in (recording.logit_lens(), recording.logit_lens(top=100)):
        assert dict(lens.sizes) == {"block": 4, "pos": 9, "rank": 3}
        assert np.allclose(lens.probability.sum("rank"), 1, atol=1e-5)
    with pytest.raises(BadValue, match="top must be at least 1"):
        recording.logit_lens(top=0)
    assert len(recording.distribution(top=100)) == 3


def test_prompts_messages_and_token_ids(model: gf.Model) -> None:
    assert model.trace(token_ids=np.array([5, 6, 7])).token_ids == [5, 6, 7]
    assert model.trace(token_ids=torch.tensor([5, 6])).positions == 2
    tales = gf.load("tales", device="cpu")
    chat = tales.trace(
        messages=[{"role": "user", "content": "Mia has a ball. Who has the ball?"}], max_new_tokens=3
    )
    assert len(chat.token_ids) > chat.prompt_count
    stopped = model.trace(PROMPT, max_new_tokens=30, seed=3, temperature=1, stop="e")
    assert (
        stopped.token_ids
        == model.trace(PROMPT, max_new_tokens=30, seed=3, temperature=1, stop=["e"]).token_ids
    )


@pytest.mark.parametrize(
    ("given", "error", "sentence"),
    [
        ({}, BadValue, "Exactly one of prompt"),
        ({"prompt": "a", "token_ids": [1]}, BadValue, "Exactly one of prompt"),
        ({"prompt": ""}, BadValue, "prompt must not be empty"),
        ({"prompt": "\ud800"}, BadValue, "lone surrogates"),
        ({"prompt": "a", "temperature": float("nan")}, BadValue, r"sampling\.temperature"),
        ({"prompt": "a", "tempreature": 1}, BadValue, r"sampling\.tempreature"),
        ({"prompt": "a", "max_new_tokens": -1}, BadValue, "max_new_tokens"),
        ({"token_ids": [10**6]}, BadValue, "Token ids run from 0"),
        ({"token_ids": [5] * 5000}, TooLong, "5000 tokens"),
        ({"messages": [{"role": "user", "content": "hi"}]}, BadValue, "no chat template"),
        (
            {"prompt": "a", "interventions": [{"address": "z.9", "operation": "zero"}]},
            BadValue,
            "no site 'z.9'",
        ),
    ],
)
def test_what_cannot_be_run_is_named(
    model: gf.Model, given: dict[str, Any], error: type, sentence: str
) -> None:
    before = len(SESSION.store.list())
    with pytest.raises(error, match=sentence):
        model.trace(**given)
    assert len(SESSION.store.list()) == before


def test_interventions_as_one_writes_them(model: gf.Model, trace: gf.Trace) -> None:
    vector = np.linspace(-1, 1, 32).astype(np.float32)
    changes = [
        gf.change("z.1", "zero", head=2),
        gf.change("mlp_out.0", "scale", 0.5, pos=slice(4, None)),
        gf.change("resid_post.1", "add", torch.from_numpy(vector), pos=range(2, 4)),
        gf.change("mlp_act.1", "set", 0.25, pos=[0], d_mlp=np.arange(3)),
    ]
    changed = model.trace(token_ids=trace.token_ids, interventions=changes)
    assert changed.interventions == tuple(changes)
    assert changes[1].index["pos"].start == 4
    assert not changed["z.1"].sel(head=2).any()
    np.testing.assert_array_equal(changed["mlp_act.1"][0, :3], 0.25)
    np.testing.assert_allclose(changed["mlp_out.0"][4:], 0.5 * trace["mlp_out.0"][4:], rtol=1e-4, atol=1e-6)
    difference = changed["resid_post.1"][2] - changed["resid_mid.1"][2] - changed["mlp_out.1"][2]
    np.testing.assert_allclose(difference, vector, atol=1e-5)
    assert "interventions" in repr(changed)
    one = model.trace(token_ids=trace.token_ids, interventions=changes[0])
    assert one.interventions == (changes[0],)
    with pytest.raises(BadValue, match="without a step"):
        gf.change("z.1", "zero", pos=slice(0, 8, 2))
    with pytest.raises(BadValue, match="index"):
        gf.change("z.1", "zero", head=-1)


def test_a_recording_is_forgotten_with_its_handle(model: gf.Model) -> None:
    handle = model.trace(PROMPT)
    trace_id = handle.live.id
    assert trace_id in [held.id for held in SESSION.store.list()]
    del handle
    gc.collect()
    assert trace_id not in [held.id for held in SESSION.store.list()]


# --- keeping -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(model: gf.Model, tmp_path_factory: pytest.TempPathFactory) -> tuple[gf.Trace, Path]:
    change = gf.change("z.1", "zero", head=2)
    trace = model.trace(PROMPT, max_new_tokens=3, temperature=0, interventions=change)
    return trace, trace.save(tmp_path_factory.mktemp("saved") / "x.zarr")


def test_a_saved_recording_opens_without_a_model(saved: tuple[gf.Trace, Path]) -> None:
    trace, path = saved
    opened = gf.open(path)
    assert opened.text == trace.text
    assert (opened.tokens, opened.token_ids, opened.prompt_count) == (
        trace.tokens,
        trace.token_ids,
        trace.prompt_count,
    )
    assert opened.interventions == trace.interventions
    assert opened.keys() == trace.keys()
    assert opened.anatomy == trace.anatomy
    for address in trace:
        xarray.testing.assert_identical(opened[address], trace[address])
    with pytest.raises(KeyError, match=r"no site 'q\.9'"):
        opened["q.9"]
    for ask in (
        lambda: opened.explain("q.0", [0, 0, 0]),
        opened.logit_lens,
        opened.show,
        lambda: opened.save("y"),
    ):
        with pytest.raises(BadValue, match="needs the model"):
            ask()
    code = (
        f"import sys, glassformer as gf; print(gf.open({str(path)!r})['q.0'].shape, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == f"{trace['q.0'].shape} False"


def test_a_last_token_past_the_context_is_kept(tmp_path: Path) -> None:
    trace = gf.load("sorter", device="cpu").trace("CBABBC", max_new_tokens=6, temperature=0)
    assert (trace.positions, len(trace.tokens)) == (11, 12)
    opened = gf.open(trace.save(tmp_path / "x.zarr", addresses=["attn_probs.0"]))
    assert (opened.text, opened.tokens, opened.positions) == (trace.text, trace.tokens, 11)
    xarray.testing.assert_identical(opened["attn_probs.0"], trace["attn_probs.0"])


def test_zarr_and_xarray_open_it_too(saved: tuple[gf.Trace, Path]) -> None:
    trace, path = saved
    group = zarr.open_group(path, mode="r")
    np.testing.assert_array_equal(group["attn_probs.1/0"][:], trace.numpy("attn_probs.1"))
    assert group.attrs["token_ids"] == trace.token_ids
    dataset = xarray.open_zarr(path, group="attn_probs.1", chunks=None)
    assert dataset["0"].dims == ("head", "query", "key")
    np.testing.assert_array_equal(dataset["0"], trace["attn_probs.1"])


def test_some_addresses_alone(saved: tuple[gf.Trace, Path], tmp_path: Path) -> None:
    trace, _ = saved
    path = trace.save(tmp_path / "some.zarr", addresses=["q.0", "lm_head", "q.0"])
    opened = gf.open(path)
    assert opened.keys() == ["q.0", "lm_head"]
    with pytest.raises(KeyError, match="was not saved"):
        opened["k.0"]
    with pytest.raises(BadValue, match="exists already"):
        trace.save(path)
    trace.save(path, addresses=["k.0"], overwrite=True)
    assert gf.open(path).keys() == ["k.0"]
    with pytest.raises(KeyError, match="no site"):
        trace.save(tmp_path / "other.zarr", addresses=["nope"])


def spoil_json(path: Path, **changes: Any) -> None:
    root = json.loads(path.read_bytes())
    root["attributes"].update(changes)
    path.write_text(json.dumps(root))


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no folder": (shutil.rmtree, "not a folder with a recording"),
    "a torn root": (
        lambda path: (path / "zarr.json").write_text('{"zarr_format": 3'),
        "zarr.json cannot be read",
    ),
    "a foreign root": (lambda path: spoil_json(path / "zarr.json", token_ids="x"), "token_ids"),
    "tokens that do not fit": (
        lambda path: spoil_json(path / "zarr.json", tokens=["a"]),
        "do not fit together",
    ),
    "another length": (
        lambda path: spoil_json(
            path / "zarr.json", tokens=["a"] * 5, token_ids=[1] * 5, prompt_count=5, positions=5
        ),
        "does not have the shape",
    ),
    "no anatomy": (lambda path: (path / "anatomy.json").unlink(), "anatomy.json cannot be read"),
    "a torn anatomy": (lambda path: (path / "anatomy.json").write_text("{}"), "anatomy.json cannot be read"),
    "a missing chunk": (
        lambda path: (path / "q.1/0/c/0/0/0").unlink(),
        "q.1/0/c/0/0/0 is missing or cut off",
    ),
    "a chunk cut off": (lambda path: (path / "q.1/0/c/0/0/0").write_bytes(b"1234"), "missing or cut off"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_folder_is_one_clear_error(
    saved: tuple[gf.Trace, Path], tmp_path: Path, damage: str
) -> None:
    spoil, sentence = DAMAGE[damage]
    copy = tmp_path / "x.zarr"
    shutil.copytree(saved[1], copy)
    spoil(copy)
    with pytest.raises(BadValue, match=sentence):
        gf.open(copy)


def test_a_bit_that_turned_over_is_told_where_it_is_read(
    saved: tuple[gf.Trace, Path], tmp_path: Path
) -> None:
    copy = tmp_path / "x.zarr"
    shutil.copytree(saved[1], copy)
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "--check", "--quiet", "sha256sums.txt"], cwd=copy, check=True)
    file = copy / "q.1/0/c/0/0/0"
    cells = bytearray(file.read_bytes())
    cells[5] ^= 1
    file.write_bytes(cells)
    opened = gf.open(copy)
    xarray.testing.assert_identical(opened["k.1"], saved[0]["k.1"])
    for _ in range(2):
        with pytest.raises(BadValue, match=r"q.1/0/c/0/0/0 is not as it was written"):
            opened["q.1"]
    text = (copy / "anatomy.json").read_text()
    (copy / "anatomy.json").write_text(text.replace("llama", "other", 1))
    with pytest.raises(BadValue, match=r"anatomy.json is not as it was written"):
        gf.open(copy)


def test_an_export_opens_as_well(model: gf.Model, tmp_path: Path) -> None:
    from glassformer.export.exportable import record
    from glassformer.export.folder import export_folder
    from glassformer.protocol.messages import ModelSummary, Sampling

    summary = ModelSummary(model_id="llama", title="llama", source="folder", status="ready")
    made = record(model.loaded, summary, PROMPT, max_new_tokens=2, sampling=Sampling(temperature=0))
    export_folder(made, tmp_path / "story", weights="none", largest_bytes=10**9)
    opened = gf.open(tmp_path / "story")
    again = model.trace(PROMPT, max_new_tokens=2, temperature=0)
    assert opened.tokens == again.tokens
    xarray.testing.assert_allclose(opened["attn_probs.1"], again["attn_probs.1"])
    assert gf.open(tmp_path / "story" / "data" / "recording.zarr").tokens == again.tokens
