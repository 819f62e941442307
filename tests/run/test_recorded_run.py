"""Recordings against plain transformers with eager attention, which knows nothing of ours."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from tracing import Case, Close

from glassformer.compute.key_value import KeyValueStore
from glassformer.compute.library import find_cache_name
from glassformer.engine.forward import PackedForward, Part
from glassformer.engine.generation_request import GenerationRequest
from glassformer.engine.sequence import TokenSequence
from glassformer.errors import BadValue, UnknownAddress, UnknownTrace
from glassformer.protocol.frames import decode_frame
from glassformer.run import materialise
from glassformer.run.run_store import RunStore


def test_hidden_states_equal_transformers(case: Case, store: RunStore, close: Close) -> None:
    trace = case.trace(store)
    blocks = len(case.loaded.structure.blocks)
    for block in range(blocks):
        close(trace.read(f"resid_pre.{block}"), case.reference.hidden_states[block])
        if block + 1 < blocks:
            close(trace.read(f"resid_post.{block}"), case.reference.hidden_states[block + 1])
    # transformers' last hidden state is already normed.
    close(trace.read("final_norm"), case.reference.hidden_states[-1])
    close(trace.read("lm_head"), case.reference.logits)


def test_attention_equals_transformers(case: Case, store: RunStore, close: Close) -> None:
    trace = case.trace(store)
    for block, expected in enumerate(case.reference.attentions):
        close(trace.read(f"attn_probs.{block}"), expected)


def test_a_region_is_the_same_cells(llama: Case, store: RunStore) -> None:
    trace = llama.trace(store)
    for address in ("attn_scores.1", "attn_probs.1", "q.1"):
        whole = trace.read(address)
        part = trace.read(address, (slice(1, 3), slice(10, 20), slice(2, 7)))
        np.testing.assert_allclose(part, whole[1:3, 10:20, 2:7], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cells", [1, 130, 5000])
def test_a_pattern_formed_in_parts_equals_transformers(
    case: Case, store: RunStore, close: Close, monkeypatch: pytest.MonkeyPatch, cells: int
) -> None:
    monkeypatch.setattr(materialise, "PATTERN_CELLS", cells)
    trace = case.trace(store)
    close(trace.read("attn_probs.1"), case.reference.attentions[1])
    region = (slice(1, 4), slice(7, 66), slice(3, 61))
    close(trace.read("attn_probs.1", region), case.reference.attentions[1][region])


def test_every_site_obeys_its_equation(case: Case) -> None:
    anatomy = case.loaded.anatomy
    assert anatomy is not None
    sites = [*anatomy.before, *(s for b in anatomy.blocks for s in b.sites), *anatomy.after]
    refused = {site.address: site.check.reason for site in sites if site.check.status == "refused"}
    assert refused == {}
    assert all(site.equation is not None and site.equation.latex for site in sites)


def test_decoding_token_by_token_records_the_same(llama: Case, store: RunStore, close: Close) -> None:
    trace = store.create(llama.loaded, llama.token_ids, 60)
    name, cache = find_cache_name(llama.loaded.model), None
    with torch.inference_mode():
        for start, stop in [(0, 60), *((i, i + 1) for i in range(60, 70))]:
            with trace.recording.watch(slice(0, stop - start), start, stop):
                ids = torch.tensor([llama.token_ids[start:stop]])
                out = llama.loaded.model(input_ids=ids, use_cache=True, **{name: cache})
            cache = out[name]
    assert trace.positions == 70
    for block in range(3):
        close(trace.read(f"resid_pre.{block}"), llama.reference.hidden_states[block])
        close(trace.read(f"attn_probs.{block}"), llama.reference.attentions[block])
    assert trace.batched_difference is not None
    assert trace.batched_difference < 1e-4


def test_live_frames_hold_the_newest_rows(llama: Case, store: RunStore, close: Close) -> None:
    trace = store.create(llama.loaded, llama.token_ids, 60)
    frames: list[bytes] = []
    addresses = ["resid_pre.1", "q.1", "k.1", "z.1", "attn_probs.1", "mlp_act.1", "lm_head"]
    unsubscribe = trace.subscribe(addresses, frames.append)
    sequence = TokenSequence(llama.loaded, GenerationRequest(llama.token_ids[:60]), watcher=trace.recording)
    forward, stores = PackedForward(llama.loaded), {sequence: KeyValueStore()}
    for token_id in llama.token_ids[60:62]:
        forward.run([Part(sequence, sequence.pending)], stores)
        sequence.ids.append(token_id)
    unsubscribe()
    forward.run([Part(sequence, sequence.pending)], stores)
    assert len(frames) == 2
    # The prompt's frame says what was recorded; its cells are in the store, where nobody waits for them.
    header, rows = decode_frame(frames[0])
    assert (header.start, header.stop, rows) == (0, 60, {})
    header, rows = decode_frame(frames[1])
    assert (header.trace_id, header.start, header.stop) == (trace.id, 60, 61)
    assert set(rows) == set(addresses)
    close(rows["attn_probs.1"].copy(), llama.reference.attentions[1][:, 60:61, :61])
    close(rows["resid_pre.1"].copy(), llama.reference.hidden_states[1][60:61])
    close(rows["lm_head"].copy(), llama.reference.logits[60:61])
    for address in ("q.1", "k.1", "z.1"):
        np.testing.assert_allclose(rows[address], trace.read(address)[:, 60:61], rtol=1e-4, atol=1e-5)


def test_evicted_residuals_are_made_again(llama: Case, close: Close) -> None:
    first = llama.trace(RunStore(2**30))
    store = RunStore(3 * first.nbytes // 2)
    trace, other = llama.trace(store), llama.trace(store)
    store.get(other.id)
    other.read("mlp_act.1")  # a block that is kept needs room
    assert not trace.recording.is_held
    assert trace.nbytes < first.nbytes // 4
    close(trace.read("resid_pre.2"), llama.reference.hidden_states[2])
    close(trace.read("attn_probs.2"), llama.reference.attentions[2])


def test_recordings_given_up_while_they_are_read_are_never_half_made(llama: Case) -> None:
    store = RunStore(1)  # every other recording that is asked for takes the memory of all the rest
    traces = [llama.trace(store), llama.trace(store)]
    expected = [state.numpy() for state in llama.reference.hidden_states]
    wrong: list[object] = []
    done = threading.Event()

    def read(which: int) -> None:
        try:
            for turn in range(20):
                store.get(traces[which].id)
                found = traces[which].read(f"resid_pre.{turn % 3}")
                if not np.allclose(found, expected[turn % 3], rtol=1e-4, atol=1e-5):
                    wrong.append(turn)
        except Exception as exc:
            wrong.append(exc)

    def ask() -> None:
        while not done.is_set():
            for trace in traces:
                store.get(trace.id)

    asking = threading.Thread(target=ask)
    readers = [threading.Thread(target=read, args=(which,)) for which in (0, 1, 0, 1)]
    asking.start()
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    done.set()
    asking.join()
    assert wrong == []


def test_a_block_that_several_ask_for_is_run_once(llama: Case, store: RunStore) -> None:
    trace = llama.trace(store)
    seen: list[int] = []
    handle = llama.loaded.structure.blocks[1].register_forward_hook(lambda *_: seen.append(1))
    readers = [threading.Thread(target=trace.read, args=("mlp_act.1",)) for _ in range(6)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    handle.remove()
    assert seen == [1]


def test_what_blocks_hold_is_counted(llama: Case, store: RunStore) -> None:
    """Memory that q, k and v share with their sites once, and copies of them, as a GPU's model leaves, beside it."""
    sites = llama.trace(store).block_sites(1)
    assert sites.call is not None
    copies = [tensor.clone() for tensor in (sites.call.query, sites.call.key, sites.call.value)]
    call = replace(sites.call, query=copies[0], key=copies[1], value=copies[2], mask=None)
    alone = replace(sites, call=None)
    assert replace(sites, call=call).nbytes == alone.nbytes + sum(tensor.nbytes for tensor in copies)
    assert alone.nbytes >= max(value.nbytes for value in sites.values.values())


def test_memory_grows_with_positions_not_their_square(llama: Case, store: RunStore) -> None:
    trace = llama.trace(store)
    assert trace.nbytes <= 2 * 4 * 32 * 4 * len(llama.token_ids)


def test_bad_addresses_say_what_is_wrong(llama: Case, store: RunStore) -> None:
    trace = llama.trace(store)
    with pytest.raises(UnknownAddress, match=r"no site 'q\.99'"):
        trace.read("q.99")
    with pytest.raises(UnknownAddress, match=r"no site '\.\./x'"):
        trace.subscribe(["../x"], lambda frame: None)
    with pytest.raises(BadValue, match="from 0 to 69"):
        trace.read_logits(70)
    store.delete(trace.id)
    with pytest.raises(UnknownTrace):
        store.get(trace.id)
