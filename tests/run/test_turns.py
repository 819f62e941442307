"""Recordings of models whose generations take turns, through their own cache: every row is the position's own."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import make_tokenizer
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent.parent / "families"))
from building import BLOCKS, D_HEAD, build, make_prompt

from glassformer.engine.decoding import decode
from glassformer.engine.generation_request import GenerationRequest
from glassformer.errors import ModelFailed
from glassformer.files.catalog import ModelSource
from glassformer.loading.load import wrap_model
from glassformer.loading.loaded import LoadedModel
from glassformer.protocol.frames import decode_frame
from glassformer.protocol.messages import Sampling
from glassformer.registry.prepare import look_into
from glassformer.run.run import Run
from glassformer.run.run_state import describe_state
from glassformer.run.run_store import RunStore

GREEDY = Sampling(temperature=0)
ORIGINAL = 32
LONG_ROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "original_max_position_embeddings": ORIGINAL,
    "short_factor": [1.0] * (D_HEAD // 2),
    "long_factor": [1.5, 2.0, 3.0, 4.0],
}
# The last blocks of Gemma 4 share keys and values: for a prompt, transformers leaves all rows but the last out there.
FAMILIES: dict[str, dict[str, Any]] = {
    "gemma4_text": {
        "num_kv_shared_layers": 2,
        "layer_types": ["sliding_attention", "full_attention"] * (BLOCKS // 2),
    },
    "phi3": {"rope_parameters": LONG_ROPE, "original_max_position_embeddings": ORIGINAL},
    "jamba": {},
    "bamba": {"attn_layer_indices": [1, 3]},
}


def load(family: str) -> LoadedModel:
    model = build(family, **FAMILIES[family])
    loaded = wrap_model(ModelSource(model_id=family, kind="folder", folder=None), model, make_tokenizer())
    loaded.eos_ids = frozenset()
    look_into(loaded)
    assert loaded.anatomy is not None
    loaded._packing = ("for this test",)
    return loaded


def read_streams(loaded: LoadedModel, ids: list[int]) -> list[Tensor]:
    """What each block reads and the last one leaves in one whole forward, [pos, d_model], by plain hooks."""
    found: list[Tensor] = []
    blocks = loaded.structure.blocks
    handles = [
        block.register_forward_pre_hook(
            lambda _, args, kwargs: found.append((args[0] if args else kwargs["hidden_states"])[0].clone()),
            with_kwargs=True,
        )
        for block in blocks
    ]
    handles.append(
        blocks[-1].register_forward_hook(
            lambda _, args, output: found.append((output[0] if isinstance(output, tuple) else output)[0])
        )
    )
    with torch.inference_mode():
        loaded.model(input_ids=torch.tensor([ids]), use_cache=False)
    for handle in handles:
        handle.remove()
    return found


def record(loaded: LoadedModel, prompt: list[int], count: int) -> tuple[Run, list[bytes]]:
    """A trace of `prompt` and `count` tokens that are written after it, with the live frames of two sites."""
    trace = RunStore(2**24).create(loaded, prompt, len(prompt))
    frames: list[bytes] = []
    trace.subscribe([f"resid_post.{BLOCKS - 1}", "lm_head"], frames.append)
    request = GenerationRequest(prompt, GREEDY, max_new_tokens=count)
    for token in decode(loaded, request, watcher=trace.watcher):
        trace.append_token(token.token_id)
    return trace, frames


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("length", [12, 28, 70])
def test_every_row_is_that_of_one_whole_forward(family: str, length: int) -> None:
    """Prompts that are shown live, and of more than 64 rows; texts of Phi-3 that grow past its first length."""
    loaded = load(family)
    trace, frames = record(loaded, make_prompt(length).tolist(), 8)
    expected = read_streams(loaded, trace.token_ids)
    assert trace.positions == length + 8
    for block, stream in enumerate(expected):
        torch.testing.assert_close(trace.recording.residual(block), stream, atol=1e-4, rtol=1e-4)
    # Blocks that run again from these rows give the rows after them, and what was given up comes back the same.
    for address, site in trace.sites.items():
        if site.check.status != "refused":
            trace.read(address)
    assert trace.batched_difference is not None
    assert trace.batched_difference < 1e-4
    kept = trace.recording.residual(BLOCKS).clone()
    assert trace.give_up()
    trace.read("resid_pre.0")
    torch.testing.assert_close(trace.recording.residual(BLOCKS), kept, atol=1e-4, rtol=1e-4)

    crossed = family == "phi3" and length < ORIGINAL
    for frame in frames:
        header, rows = decode_frame(frame)
        if not rows:
            continue
        assert set(rows) == {f"resid_post.{BLOCKS - 1}", "lm_head"}
        if header.stop <= ORIGINAL and crossed and trace.positions > ORIGINAL:
            continue  # what it was before all of it was read anew
        shown = torch.from_numpy(rows[f"resid_post.{BLOCKS - 1}"].copy())
        torch.testing.assert_close(shown, expected[-1][header.start : header.stop], atol=1e-4, rtol=1e-4)


def test_a_text_that_is_read_anew_says_so() -> None:
    loaded = load("phi3")
    _, frames = record(loaded, make_prompt(ORIGINAL - 4).tolist(), 70)
    headers = [decode_frame(frame)[0] for frame in frames]
    begins = [header.start for header in headers if header.stop == ORIGINAL + 1]
    assert begins == [0]


def test_rows_that_are_replaced_are_counted() -> None:
    loaded = load("phi3")
    prompt = make_prompt(ORIGINAL - 4).tolist()
    trace = RunStore(2**24).create(loaded, prompt, len(prompt))
    before, counts = torch.empty(0), {}
    request = GenerationRequest(prompt, GREEDY, max_new_tokens=12)
    for token in decode(loaded, request, watcher=trace.watcher):
        trace.append_token(token.token_id)
        state = describe_state(trace)
        counts[state.positions] = state.rewritten
        if state.positions == ORIGINAL:
            before = trace.recording.residual(1).clone()
    assert counts == {at: int(at > ORIGINAL) for at in range(len(prompt), len(prompt) + 12)}
    after = trace.recording.residual(1, ORIGINAL)
    assert not torch.allclose(before, after, atol=1e-3)
    torch.testing.assert_close(
        after, read_streams(loaded, trace.token_ids)[1][:ORIGINAL], atol=1e-4, rtol=1e-4
    )
    # What was given up is made again as it was: nothing is replaced.
    assert trace.give_up()
    trace.read("resid_pre.0")
    assert describe_state(trace).rewritten == 1


def test_a_block_that_is_asked_for_as_its_rows_are_replaced_is_of_one_kind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its sites are worked out after a step that comes between the question and the model's lock."""
    loaded = load("phi3")
    prompt = make_prompt(ORIGINAL - 4).tolist()
    trace = RunStore(2**24).create(loaded, prompt, len(prompt))
    steps = decode(loaded, GenerationRequest(prompt, GREEDY, max_new_tokens=12), watcher=trace.watcher)
    while trace.positions < ORIGINAL:
        trace.append_token(next(steps).token_id)

    def cross(address: str) -> None:
        trace.append_token(next(steps).token_id)

    monkeypatch.setattr(loaded, "check_site", cross)
    sites = trace.block_sites(1)
    assert trace.recording.rewritten == 1
    assert sites.positions == ORIGINAL + 1
    assert sites.difference < 1e-4
    steps.close()


def test_rows_that_a_model_leaves_out_are_never_made_up() -> None:
    loaded = load("gemma4_text")
    ids = make_prompt(12)
    trace = RunStore(2**24).create(loaded, ids.tolist(), len(ids))
    with (
        pytest.raises(ModelFailed, match="other rows"),
        torch.inference_mode(),
        trace.recording.watch(slice(0, 12), 0, 12),
    ):
        loaded.model(input_ids=ids[None], logits_to_keep=1)
    with (
        pytest.raises(ModelFailed, match="cannot be recorded"),
        torch.inference_mode(),
        trace.recording.watch(slice(0, 13), 0, 13),
    ):
        loaded.model(input_ids=ids[None])
    assert trace.positions == 0
