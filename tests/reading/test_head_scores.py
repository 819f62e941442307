"""All heads at a glance: plain transformers' own patterns scored a cell at a time, and heads made by hand."""

import sys
from pathlib import Path

import pytest
import torch
from hand_made import make_hand_made
from plain_heads import score_block
from tiny import make_tokenizer
from transformers import PreTrainedModel

sys.path.append(str(Path(__file__).parents[1] / "families"))

from building import build, make_prompt
from measuring import refer

from glassformer.anatomy.checkup import build_anatomy
from glassformer.engine.decoding import decode
from glassformer.engine.generation_request import GenerationRequest
from glassformer.errors import BadValue
from glassformer.files.catalog import ModelSource
from glassformer.loading.load import wrap_model
from glassformer.protocol.heads import Heads
from glassformer.protocol.messages import Intervention
from glassformer.reading import head_scores
from glassformer.reading.head_scores import score_heads
from glassformer.run.run import Run
from glassformer.run.run_store import RunStore

# Plain and grouped queries, windows, soft caps, sinks, position biases, latent attention, hybrids with state spaces.
FAMILIES = "gpt2 llama mistral gemma2 gpt_oss bloom deepseek_v3 jamba qwen3_next falcon_h1".split()
TOKENIZER = make_tokenizer()
KINDS = ("previous", "first", "induction", "duplicate", "entropy_bits", "entropy_share")


def make_text() -> list[int]:
    """A passage, the same again, and a token twice in a row."""
    ids = make_prompt(9).tolist()
    return [*ids, *ids, ids[-1], ids[4]]


def record(model: PreTrainedModel, token_ids: list[int], *changes: Intervention) -> Run:
    loaded = wrap_model(ModelSource(model_id="tiny", kind="folder", folder=None), model, TOKENIZER)
    loaded.anatomy = build_anatomy(loaded)
    run = RunStore(2**26).create(loaded, token_ids, len(token_ids), interventions=changes)
    request = GenerationRequest(token_ids=token_ids, max_new_tokens=0)
    assert list(decode(loaded, request, watcher=run.watcher)) == []
    return run


def compare(found: Heads, patterns: dict[int, torch.Tensor], token_ids: list[int], start: int = 0) -> None:
    """Every score is the one that its definition gives, or null where there is nothing to tell it by."""
    assert (found.start, found.stop) == (start, len(token_ids))
    assert [one.block for one in found.blocks] == sorted(patterns)
    for one in found.blocks:
        over, expected = score_block(patterns[one.block], token_ids, start)
        assert one.over.model_dump() == over
        assert [each.head for each in one.heads] == list(range(len(expected)))
        for each, scores in zip(one.heads, expected, strict=True):
            for kind in KINDS:
                value = getattr(each, kind)
                assert value == (None if kind not in scores else pytest.approx(scores[kind], abs=2e-5)), (
                    one.block,
                    each.head,
                    kind,
                )


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_are_those_of_plain_transformers(family: str) -> None:
    model = build(family)
    token_ids = make_text()
    patterns = refer(model, torch.tensor(token_ids)).attentions
    found = score_heads(record(model, token_ids))
    compare(found, patterns, token_ids)
    blocks = {one.block for one in found.blocks} | {one.block for one in found.refused}
    assert sorted(blocks) == list(range(model.config.num_hidden_layers))
    assert all(one.reason for one in found.refused)
    if family in ("jamba", "qwen3_next"):
        assert found.refused
    scores = [getattr(head, kind) for one in found.blocks for head in one.heads for kind in KINDS]
    assert len(set(scores)) > len(scores) / 2  # heads differ, so that one in another's place would show


def test_a_model_without_attention_names_every_block() -> None:
    found = score_heads(record(build("mamba"), make_text()))
    assert found.blocks == []
    assert [one.block for one in found.refused] == [0, 1, 2, 3]
    assert all(one.reason for one in found.refused)


def test_heads_made_by_hand_are_what_they_were_made_to_be() -> None:
    found = score_heads(record(make_hand_made(), [0, 3, 5, 7, 3, 5, 9, 3, 5]))
    first, second = (one.heads for one in found.blocks)
    assert found.blocks[0].over.model_dump() == {
        "previous": 8,
        "first": 8,
        "induction": 4,
        "duplicate": 4,
        "entropy": 8,
    }
    assert first[0].previous == pytest.approx(1, abs=1e-4)
    assert first[0].entropy_bits == pytest.approx(0, abs=1e-2)
    assert first[1].first == pytest.approx(1, abs=1e-4)
    assert second[0].induction == pytest.approx(1, abs=1e-4)
    # It finds itself as well: of two alike it gives half to the one before, of three two thirds.
    assert second[1].duplicate == pytest.approx((1 / 2 + 1 / 2 + 2 / 3 + 2 / 3) / 4, abs=0.01)
    for head in (first[2], first[3], second[2], second[3]):
        assert head.entropy_share == pytest.approx(1, abs=1e-5)
        assert head.previous == pytest.approx(sum(1 / (i + 1) for i in range(1, 9)) / 8, abs=1e-5)


def test_a_text_without_repeats_has_no_induction() -> None:
    found = score_heads(record(make_hand_made(), [0, 3, 5, 7]))
    assert {(head.induction, head.duplicate) for one in found.blocks for head in one.heads} == {(None, None)}
    assert found.blocks[1].over.induction == found.blocks[1].over.duplicate == 0


def test_of_a_long_text_the_last_rows_are_read_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    model, token_ids = build("gemma2"), make_text()
    patterns = refer(model, torch.tensor(token_ids)).attentions
    monkeypatch.setattr(head_scores, "MOST_ROWS", 11)
    monkeypatch.setattr(head_scores, "PATTERN_CELLS", 4 * 20 * 3)
    compare(score_heads(record(model, token_ids)), patterns, token_ids, start=9)


def test_what_was_read_is_kept_until_the_run_has_other_rows() -> None:
    model = build("llama")
    ids = make_text()
    run = record(model, ids)
    two = score_heads(run, "1-2")
    assert [one.block for one in two.blocks] == [1, 2]
    whole = score_heads(run)
    assert whole.blocks[1] is two.blocks[0]
    assert [one.block for one in score_heads(run, "3").blocks] == [3]
    # Whole blocks are not: of a long text they would have what others look at make way.
    assert [run._keeper.find(run.id, block, 20) for block in range(4)] == [None] * 4
    # The same positions once more, with other tokens: as a text that outgrows its rotary embedding is read anew.
    run.token_ids[:] = ids[::-1]
    with torch.inference_mode(), run.recording.watch(slice(0, 20), 0, 20):
        model(input_ids=torch.tensor([ids[::-1]]), use_cache=False)
    compare(score_heads(run), refer(model, torch.tensor(ids[::-1])).attentions, ids[::-1])


def test_scores_grow_with_the_text_and_show_the_intervened_run() -> None:
    model, ids = build("llama"), make_text()
    change = Intervention(address="resid_pre.0", operation="zero", index={"pos": [3]})
    run = record(model, ids[:12], change)
    plain = score_heads(record(model, ids[:12]))
    assert score_heads(run).stop == 12
    assert score_heads(run).blocks != plain.blocks
    request = GenerationRequest(token_ids=ids[:12], max_new_tokens=3)
    grown = RunStore(2**26).create(run.loaded, ids[:12], 12)
    for token in decode(run.loaded, request, watcher=grown.watcher):
        grown.append_token(token.token_id)
    assert score_heads(grown).stop == grown.positions > 12
    found = refer(model, torch.tensor(grown.token_ids[: grown.positions])).attentions
    compare(score_heads(grown), found, grown.token_ids[: grown.positions])


@pytest.mark.parametrize(
    ("blocks", "sentence"),
    [("4", "0 to 3"), ("2-4", "0 to 3"), ("3-1", "0 to 3"), ("some", "one block as 7"), ("\u0663", "as 7")],
)
def test_blocks_that_are_not_there_are_named(blocks: str, sentence: str) -> None:
    with pytest.raises(BadValue, match=sentence) as caught:
        score_heads(record(build("llama"), make_text()), blocks)
    assert caught.value.field == "blocks"
