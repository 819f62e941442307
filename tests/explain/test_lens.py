"""The logit lens against transformers' own final norm and head, and the model's own prediction after the last block."""

from typing import Any

import numpy as np
import pytest
import torch
from tracing import Case, Close

from glassformer.engine.decoding import decode
from glassformer.engine.generation_request import GenerationRequest
from glassformer.errors import BadValue, UnknownAddress
from glassformer.explain import lens
from glassformer.protocol.messages import Intervention
from glassformer.run.run_store import RunStore


def test_each_block_equals_norm_and_head_applied_by_hand(llama: Case, store: RunStore, close: Close) -> None:
    trace, model = llama.trace(store), llama.loaded.model
    norm: Any = model.model.norm
    for block in range(3):
        expected = model.lm_head(norm(llama.reference.hidden_states[block]))
        close(lens.read_lens(trace, f"resid_pre.{block}", slice(0, 70)), expected)
    close(
        lens.read_lens(trace, "resid_post.0", slice(5, 9)),
        model.lm_head(norm(llama.reference.hidden_states[1]))[5:9],
    )


def test_after_the_last_block_it_is_the_models_own_prediction(case: Case, store: RunStore) -> None:
    """To the bit, with soft caps and scalings where the family has them."""
    trace = case.trace(store)
    last = lens.list_lens_addresses(trace)[-1]
    with torch.inference_mode():
        expected = case.loaded.model(torch.tensor([case.token_ids]), use_cache=False).logits[0]
    assert torch.equal(lens.read_lens(trace, last, slice(0, 70)), expected)
    np.testing.assert_array_equal(trace.read("lm_head"), expected.numpy())


def test_the_table_lists_the_best_tokens(
    llama: Case, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = llama.trace(store)
    whole = lens.read_lens_table(trace, top=97)
    monkeypatch.setattr(lens, "LENS_CELLS", 97 * 13)  # several pieces, the last one short
    assert lens.read_lens_table(trace, top=98).token_ids.equal(whole.token_ids)
    table = lens.read_lens_table(trace, top=4)
    assert table.addresses == ["resid_pre.0", "resid_pre.1", "resid_pre.2", "resid_post.2"]
    assert table.blocks == [0, 1, 2, 3]
    assert table.token_ids.shape == (4, 70, 4)
    torch.testing.assert_close(table.probabilities, whole.probabilities[..., :4])
    shares = llama.reference.logits.softmax(-1)
    torch.testing.assert_close(table.probabilities[-1], shares.topk(4).values, rtol=1e-4, atol=1e-6)
    assert torch.equal(table.token_ids[-1, :, 0], llama.reference.logits.argmax(-1))
    entropy = torch.distributions.Categorical(probs=shares).entropy() / np.log(2)
    torch.testing.assert_close(table.entropy_bits[-1], entropy, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(whole.probabilities.sum(-1), torch.ones(4, 70))


def test_it_reads_the_intervened_run(llama: Case, store: RunStore) -> None:
    change = Intervention(address="resid_pre.1", operation="zero", index={"pos": [4]})
    trace = store.create(llama.loaded, llama.token_ids[:9], 9, interventions=[change])
    request = GenerationRequest(token_ids=trace.token_ids, max_new_tokens=0)
    assert list(decode(llama.loaded, request, watcher=trace.watcher)) == []
    table = lens.read_lens_table(trace, ["resid_post.0", "resid_pre.1"], top=97)
    # Nothing is left to read: a zero residual is zero after the norm, and every token is as likely.
    torch.testing.assert_close(table.probabilities[1, 4], torch.full((97,), 1 / 97))
    assert table.probabilities[0, 4, 0] > 0.02
    torch.testing.assert_close(table.probabilities[0, 3], table.probabilities[1, 3])


@pytest.mark.parametrize(
    ("given", "field", "sentence"),
    [
        ({"addresses": ["mlp_out.1"]}, "address", "resid_pre.B and resid_post.B"),
        ({"addresses": ["resid_pre.9"]}, "address", r"no site 'resid_pre\.9'"),
        ({"addresses": []}, "address", "at least one"),
        ({"start": 70, "stop": 71}, "pos", "from 0 to 69"),
        ({"top": 0}, "top", "top must be at least 1"),
    ],
)
def test_what_is_not_there_is_named(
    llama: Case, store: RunStore, given: dict[str, Any], field: str, sentence: str
) -> None:
    with pytest.raises(BadValue, match=sentence) as caught:
        lens.read_lens_table(llama.trace(store), **given)
    assert caught.value.field == field
    assert isinstance(caught.value, UnknownAddress) == (given.get("addresses") not in (None, []))
