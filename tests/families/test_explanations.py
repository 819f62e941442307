"""Explanations where families differ: biases that meet, sinks in the softmax, numbers that are not finite."""

import json
import math
import warnings
from typing import Any

import pytest
import torch
from adding_up import find_slip
from building import build, make_prompt
from measuring import NoTokenizer, record

from glassformer.anatomy.checkup import build_anatomy
from glassformer.engine.sampling import check_row
from glassformer.errors import ModelFailed
from glassformer.explain.explain import explain
from glassformer.explain.lens import read_lens_table
from glassformer.files.catalog import ModelSource
from glassformer.loading.load import wrap_model
from glassformer.loading.loaded import LoadedModel
from glassformer.run.run import Run

OVERFLOW = "numbers overflow in float16, which ends at 65,504; load the model in bfloat16 or float32."


def load(family: str, **parameters: float) -> LoadedModel:
    """A tiny model whose parameters that end in one of the names given hold that number."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = build(family)
    for name, parameter in model.named_parameters():
        for ending, number in parameters.items():
            if name.endswith(ending):
                parameter.fill_(number)
    tokenizer: Any = NoTokenizer()
    loaded = wrap_model(ModelSource(model_id=family, kind="folder", folder=None), model, tokenizer)
    loaded.anatomy = build_anatomy(loaded)
    return loaded


def trace_of(loaded: LoadedModel) -> Run:
    return record(loaded, make_prompt(12))


@pytest.mark.parametrize("point", ["q", "k"])
def test_the_biases_of_a_map_and_of_the_norm_after_it_stay_two_terms(point: str) -> None:
    """Persimmon's queries: a linear map with a bias, a layer norm with gain and shift, half of them turned."""
    trace = trace_of(load("persimmon", **{"query_key_value.bias": 4.0, "layernorm.bias": 3.0}))
    for feature in range(8):
        explanation = explain(trace, f"{point}.1", [1, 5, feature])
        assert find_slip(explanation) is None
        assert explanation.difference is not None
        assert explanation.difference < 1e-5
        # Each input feature, the bias of the map, and the mean and the bias of the norm.
        assert explanation.rest_count + len(explanation.terms) == 32 + 3
        assert {"bias", "norm bias", "mean"} <= {term.label for term in explanation.terms}


@pytest.mark.parametrize("family", ["gpt_oss", "mimo_v2_flash"])
def test_a_sinks_share_of_a_row_is_named(family: str) -> None:
    trace = trace_of(load(family, sinks=3.0))
    explanation = explain(trace, "attn_probs.1", [2, 6, 4])
    assert find_slip(explanation) is None
    row = trace.read("attn_probs.1")[2, 6]
    (sink,) = [term for term in explanation.terms if term.label == "sink"]
    assert sink.operands[0].value == 3.0
    assert sink.operands[0].name.endswith("sinks")
    assert sink.contribution == pytest.approx(1 - float(row.sum()), abs=1e-6)
    assert sink.contribution > 0.3
    assert "sum to one" not in explanation.note
    assert f"{sink.contribution:.1%} of this row went to the sink" in explanation.note
    assert "e^{3}" in explanation.latex
    assert r"\mathrm{sink}" in (explanation.equation.latex if explanation.equation else "")


def test_a_cell_of_an_attention_without_sinks_sums_to_one() -> None:
    explanation = explain(trace_of(load("mimo_v2_flash")), "attn_probs.0", [2, 6, 4])
    assert "sum to one" in explanation.note
    assert math.fsum(term.contribution or 0.0 for term in explanation.terms) == pytest.approx(1.0)


def test_infinite_operands_are_told_as_nothing_else() -> None:
    """A padded vocabulary, shut with an infinite bias: a cell, a sink and a weight that no JSON number can be."""
    loaded = load("phi")
    trace = trace_of(loaded)
    loaded.structure.parameter("lm_head.bias")[7] = -math.inf
    found = json.loads(explain(trace, "lm_head", [4, 7]).model_dump_json())
    assert (found["value"], found["recomputed"], found["difference"]) == (None, None, None)
    (bias,) = [term for term in found["terms"] if term["label"] == "bias"]
    assert bias["contribution"] is None
    assert bias["operands"][0]["value"] is None
    assert found["note"] == "This cell is minus infinity."
    assert r"-\infty" in found["latex"]
    assert explain(trace, "lm_head", [4, 8]).value is not None

    loaded.structure.parameter("model.layers.1.mlp.fc2.weight")[3, 2] = math.inf
    found = json.loads(explain(trace, "mlp_out.1", [4, 3]).model_dump_json())
    assert found["value"] is None
    assert found["terms"][0]["operands"][1]["value"] is None
    for address, site in trace.sites.items():
        if site.check.status != "refused":
            json.loads(explain(trace, address, [1] * len(site.axes)).model_dump_json())


def test_a_sink_that_is_shut_takes_nothing() -> None:
    loaded = load("gpt_oss")
    loaded.structure.parameter("model.layers.1.self_attn.sinks").fill_(-math.inf)
    explanation = explain(trace_of(loaded), "attn_probs.1", [2, 6, 4])
    assert explanation.difference is not None
    assert explanation.difference < 1e-6
    assert "0.0% of this row" in explanation.note


def test_what_overflowed_in_half_precision_says_so() -> None:
    loaded = load("llama")
    loaded.structure.parameter("model.layers.1.mlp.down_proj.weight").mul_(1e8)
    loaded.model.half()
    loaded.dtype = torch.float16
    trace = trace_of(loaded)
    at = trace.read("mlp_out.1")[5]
    feature = int((~torch.isfinite(torch.from_numpy(at.copy()))).nonzero()[0])
    explanation = explain(trace, "mlp_out.1", [5, feature])
    assert explanation.value is None
    assert explanation.note.endswith(OVERFLOW)
    for ask in (lambda: check_row(trace.read_logits(5)), lambda: read_lens_table(trace)):
        with pytest.raises(ModelFailed, match=OVERFLOW):
            ask()
    # At load: what overflows is told as that, and what comes before it is shown.
    loaded.anatomy = anatomy = build_anatomy(loaded)
    assert loaded.structure.untapped is None
    sites = {site.address: site for block in anatomy.blocks for site in block.sites}
    assert sites["mlp_out.1"].check.reason == f"its numbers are not finite: {OVERFLOW}".rstrip(".")
    for address, site in sites.items():
        if site.block == 0 or (site.point in ("attn_probs", "q", "resid_mid") and site.block == 1):
            assert site.check.status != "refused", (address, site.check.reason)
    assert not torch.isfinite(torch.from_numpy(trace_of(loaded).read("resid_post.1").copy())).all()
