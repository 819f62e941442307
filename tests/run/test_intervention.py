"""Interventions against transformers hooked by hand: the same run, recorded, generated, made again and materialised."""

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from tracing import Case, Close

from glassformer.engine.decoding import decode
from glassformer.engine.generation_request import GenerationRequest
from glassformer.errors import BadValue, UnknownAddress
from glassformer.explain.explain import explain
from glassformer.protocol.messages import Intervention, Sampling
from glassformer.run.run import Run
from glassformer.run.run_store import RunStore

GREEDY = Sampling(temperature=0)
HEAD, BLOCK, D_HEAD = 2, 1, 8


def run(case: Case, store: RunStore, *given: dict[str, Any], new_tokens: int = 0) -> Run:
    """An intervened recording, through the engine's own loop."""
    interventions = [Intervention(**fields) for fields in given]
    prompt = case.token_ids[:40]
    trace = store.create(case.loaded, prompt, len(prompt), interventions=interventions)
    request = GenerationRequest(token_ids=prompt, sampling=GREEDY, max_new_tokens=new_tokens)
    for token in decode(case.loaded, request, watcher=trace.watcher):
        trace.append_token(token.token_id)
    return trace


def plain(case: Case) -> Any:
    """The model as transformers has it, with eager attention and no hooks of ours."""
    model = copy.deepcopy(case.loaded.model)
    model.set_attn_implementation("eager")
    return model


def forward(model: Any, ids: list[int]) -> Any:
    with torch.no_grad():
        return model(torch.tensor([ids]), output_hidden_states=True, output_attentions=True, use_cache=False)


def block_inputs(model: Any, ids: list[int]) -> list[Tensor]:
    """What each block reads; `hidden_states` are taken before hooks registered later have changed them."""
    found: list[Tensor] = []
    handles = [
        layer.register_forward_pre_hook(lambda _, args: found.append(args[0][0]))
        for layer in model.model.layers
    ]
    forward(model, ids)
    for handle in handles:
        handle.remove()
    return found


def hook_input(module: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
    module.register_forward_pre_hook(lambda _, args: (change(args[0].clone()), *args[1:]))


def hook_output(module: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
    def after(_: nn.Module, args: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (change(output[0].clone()), *output[1:])
        return change(output.clone())

    module.register_forward_hook(after)


def zero_head(z: Tensor) -> Tensor:
    z[..., HEAD * D_HEAD : (HEAD + 1) * D_HEAD] = 0
    return z


ZERO_HEAD = {"address": f"z.{BLOCK}", "operation": "zero", "index": {"head": [HEAD]}}


def test_zeroing_a_head_is_what_hooking_transformers_gives(
    llama: Case, store: RunStore, close: Close
) -> None:
    trace = run(llama, store, ZERO_HEAD)
    model = plain(llama)
    hook_input(model.model.layers[BLOCK].self_attn.o_proj, zero_head)
    expected = forward(model, trace.token_ids)
    close(trace.read("lm_head"), expected.logits[0])
    for block in range(3):
        close(trace.read(f"resid_pre.{block}"), expected.hidden_states[block][0])
        close(trace.read(f"attn_probs.{block}"), expected.attentions[block][0])
    assert not trace.read(f"z.{BLOCK}")[HEAD].any()
    assert trace.read(f"z.{BLOCK}")[HEAD - 1].any()
    assert trace.batched_difference == 0.0
    untouched = forward(plain(llama), trace.token_ids).logits[0]
    assert not torch.allclose(untouched, expected.logits[0], atol=1e-2)


def test_what_is_generated_is_the_intervened_run(llama: Case, store: RunStore, close: Close) -> None:
    """Positions beyond the prompt too: the steering starts where the model starts to write."""
    vector = [float(x) for x in np.random.default_rng(1).normal(size=32) * 4]
    given = {"address": "resid_post.0", "operation": "add", "value": vector, "index": {"pos": {"start": 40}}}
    trace = run(llama, store, given, new_tokens=8)
    model = plain(llama)
    steered = torch.tensor(vector)

    def steer(hidden: Tensor) -> Tensor:
        hidden[:, 40:] += steered
        return hidden

    hook_output(model.model.layers[0], steer)
    ids = list(trace.token_ids[:40])
    for _ in range(8):
        ids.append(int(forward(model, ids).logits[0, -1].argmax()))
    assert trace.token_ids == ids
    assert trace.positions == 48
    inputs = block_inputs(model, ids)
    for block in range(3):
        close(trace.read(f"resid_pre.{block}"), inputs[block])
    close(trace.read("resid_post.0"), inputs[1])
    close(trace.read("lm_head"), forward(model, ids).logits[0])
    assert trace.batched_difference is not None
    assert trace.batched_difference < 1e-4


OPERATIONS: list[tuple[dict[str, Any], str, Callable[[Tensor], Tensor]]] = [
    ({"address": "resid_pre.1", "operation": "scale", "value": 0.5}, "block_in", lambda x: x * 0.5),
    ({"address": "resid_post.2", "operation": "add", "value": 1.5}, "last_out", lambda x: x + 1.5),
    ({"address": "attn_out.1", "operation": "scale", "value": -2.0}, "attention", lambda x: x * -2.0),
    ({"address": "mlp_out.1", "operation": "zero"}, "mlp", torch.zeros_like),
    ({"address": "mlp_act.1", "operation": "set", "value": 3.0}, "down", lambda x: torch.full_like(x, 3.0)),
]


@pytest.mark.parametrize(
    ("given", "where", "change"), OPERATIONS, ids=[case[0]["address"] for case in OPERATIONS]
)
def test_each_point_and_operation(
    llama: Case,
    store: RunStore,
    close: Close,
    given: dict[str, Any],
    where: str,
    change: Callable[..., Tensor],
) -> None:
    trace = run(llama, store, given)
    model = plain(llama)
    layers = model.model.layers
    match where:
        case "block_in":
            hook_input(layers[1], change)
        case "last_out":
            hook_output(layers[2], change)
        case "attention":
            hook_output(layers[1].self_attn, change)
        case "mlp":
            hook_output(layers[1].mlp, change)
        case "down":
            hook_input(layers[1].mlp.down_proj, change)
    expected = forward(model, trace.token_ids)
    close(trace.read("lm_head"), expected.logits[0])
    # Materialising every block and site applies each change once, never twice.
    for address in trace.sites:
        trace.read(address)
    assert trace.batched_difference == 0.0
    if where != "block_in":
        close(trace.read("resid_post.1"), block_inputs(model, trace.token_ids)[2])
    else:
        close(trace.read("resid_post.0") * 0.5, torch.from_numpy(trace.read("resid_pre.1").copy()))


def test_every_family_obeys(case: Case, store: RunStore) -> None:
    """A change at each point reaches the logits, and the site shown is the changed one."""
    before = run(case, store)
    for point in ("resid_pre", "z", "attn_out", "mlp_act", "mlp_out", "resid_post"):
        address = f"{point}.1"
        if address not in before.sites:
            continue
        trace = run(case, store, {"address": address, "operation": "zero", "index": {"pos": [3, 9]}})
        shown, axis = trace.read(address), trace.sites[address].axes.index("pos")
        assert not np.take(shown, [3, 9], axis).any(), address
        assert np.take(shown, [4], axis).any(), address
        assert np.abs(trace.read("lm_head")[3] - before.read("lm_head")[3]).max() > 1e-3, address
        np.testing.assert_allclose(trace.read("lm_head")[:3], before.read("lm_head")[:3], atol=1e-4)


def test_a_recording_made_again_is_the_same(llama: Case, store: RunStore) -> None:
    given = [
        ZERO_HEAD,
        {"address": "resid_pre.2", "operation": "scale", "value": 1.25, "index": {"pos": [0, 39]}},
    ]
    trace = run(llama, store, *given)
    addresses = ["resid_pre.1", "resid_pre.2", "resid_post.2", "lm_head", "attn_probs.2", "z.1"]
    first = {address: trace.read(address).copy() for address in addresses}
    trace.recording.clear()
    again = RunStore(2**20).create(
        llama.loaded, trace.token_ids, trace.prompt_count, interventions=trace.interventions
    )
    again.recording.positions = trace.positions
    again.recording.clear()
    for address in addresses:
        np.testing.assert_array_equal(trace.read(address), first[address])
        np.testing.assert_array_equal(again.read(address), first[address])


def test_live_frames_show_the_intervened_run(llama: Case, store: RunStore) -> None:
    from glassformer.protocol.frames import decode_frame

    prompt = llama.token_ids[:12]
    trace = store.create(llama.loaded, prompt, 12, interventions=[Intervention(**ZERO_HEAD)])
    frames: list[bytes] = []
    trace.subscribe(["z.1"], frames.append)
    for _ in decode(
        llama.loaded, GenerationRequest(token_ids=prompt, max_new_tokens=0), watcher=trace.watcher
    ):
        pass
    _, rows = decode_frame(frames[0])
    assert not rows["z.1"][HEAD].any()


def test_an_explanation_says_that_the_cell_was_changed(llama: Case, store: RunStore) -> None:
    explanation = explain(run(llama, store, ZERO_HEAD), "z.1", [HEAD, 5, 3])
    assert explanation.value == 0.0
    assert "intervention changed it (zero)" in explanation.note


@pytest.mark.parametrize(
    ("given", "field", "sentence"),
    [
        ({"address": "z.99", "operation": "zero"}, "address", r"no site 'z\.99'"),
        (
            {"address": "attn_probs.1", "operation": "zero"},
            "address",
            "cannot be changed; what can is resid_pre.B",
        ),
        ({"address": "lm_head", "operation": "zero"}, "address", "cannot be changed"),
        ({"address": "z.1", "operation": "zero", "index": {"d_mlp": [0]}}, "index", "axes head, pos, d_head"),
        ({"address": "z.1", "operation": "zero", "index": {"head": [4]}}, "index.head", "0 to 3"),
        ({"address": "z.1", "operation": "zero", "index": {"head": []}}, "index.head", "empty"),
        (
            {"address": "z.1", "operation": "zero", "index": {"pos": {"start": 5, "stop": 5}}},
            "index.pos",
            "span",
        ),
        ({"address": "z.1", "operation": "zero", "value": 1.0}, "value", "takes no value"),
        ({"address": "z.1", "operation": "scale"}, "value", "needs a value"),
        ({"address": "z.1", "operation": "scale", "value": [1.0, 2.0]}, "value", "one number"),
        ({"address": "mlp_out.1", "operation": "add", "value": [1.0] * 31}, "value", "31 numbers.*are 32"),
        ({"address": "mlp_out.1", "operation": "set", "value": 1e39}, "value", "as the model counts"),
    ],
)
def test_what_cannot_be_applied_is_named(
    llama: Case, store: RunStore, given: dict[str, Any], field: str, sentence: str
) -> None:
    interventions = [Intervention(**ZERO_HEAD), Intervention(**given)]
    with pytest.raises(BadValue, match=sentence) as caught:
        store.create(llama.loaded, llama.token_ids, 10, interventions=interventions)
    assert caught.value.field == f"interventions.1.{field}"
    assert isinstance(caught.value, UnknownAddress) == (field == "address")


@pytest.mark.parametrize("value", [math.nan, math.inf, "1", True, [1.0, math.nan], [[1.0]], 10**400])
def test_a_value_that_is_no_number_is_refused_at_the_door(value: Any) -> None:
    with pytest.raises(ValidationError, match="finite number or a list of finite numbers"):
        Intervention(address="z.1", operation="set", value=value)


@pytest.mark.parametrize("places", [[-1], [1.5], ["1"], [True], "all", 3])
def test_places_that_are_no_indices_are_refused_at_the_door(places: Any) -> None:
    with pytest.raises(ValidationError, match="whole numbers from 0"):
        Intervention(address="z.1", operation="zero", index={"head": places})
