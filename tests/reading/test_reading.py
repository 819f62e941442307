"""The reading of tiny models of many families against plain PyTorch: each part, their sum, words, what heads read."""

import copy
import sys
import warnings
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from plain_sums import PlainSums, add_up, find_blocks
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from glassformer.anatomy.checkup import build_anatomy
from glassformer.compute.attention import select_attention
from glassformer.engine.decoding import decode
from glassformer.engine.generation_request import GenerationRequest
from glassformer.errors import UnknownAddress, UnknownTrace
from glassformer.export.answers import list_decisions
from glassformer.files.catalog import ModelSource
from glassformer.loading.load import wrap_model
from glassformer.loading.loaded import LoadedModel
from glassformer.protocol.messages import Intervention
from glassformer.protocol.reading import Reading, Versus
from glassformer.reading import position
from glassformer.reading.decision import Question
from glassformer.reading.group import with_reading
from glassformer.reading.reading import read
from glassformer.run.run import Run
from glassformer.run.run_store import RunStore

sys.path.insert(0, str(Path(__file__).parents[1] / "families"))
from building import VOCAB, build, make_prompt

POSITIONS = 12
POS = 9
TOKEN = 11
# Parallel blocks, norms before and after, with and without biases, multipliers, caps, shared keys, experts, mixtures of
# attention and state spaces.
FAMILIES = (
    "llama gpt2 gptj gpt_neox phi gemma2 olmo2 granite cohere minicpm3 stablelm mixtral qwen2_moe gpt_oss jamba "
    "qwen3_next bamba"
).split()


@dataclass
class Case:
    """A family as the product has it, and as transformers alone does."""

    loaded: LoadedModel
    plain: PreTrainedModel
    token_ids: Tensor

    def run(self, store: RunStore) -> Run:
        run = store.create(self.loaded, self.token_ids.tolist(), POSITIONS)
        with torch.inference_mode(), run.recording.watch(slice(0, POSITIONS), 0, POSITIONS):
            self.loaded.model(input_ids=self.token_ids[None], use_cache=False)
        return run

    def expect(self, versus: Versus) -> PlainSums:
        weights = torch.zeros(VOCAB, dtype=torch.float64)
        weights[TOKEN] = 1.0
        if versus == "mean":
            weights -= 1.0 / VOCAB
        elif versus != "none":
            weights[versus] -= 1.0
        heads = self.plain.config.get_text_config().num_attention_heads
        found = add_up(self.plain, self.token_ids, POS, weights, heads=heads)
        if self.plain.dtype == torch.float32:
            return found
        # What was written in 16 bits, through gradients in 32: those in 16 err by more than what is measured.
        wide = copy.deepcopy(self.plain).float()
        return add_up(wide, self.token_ids, POS, weights, heads=heads, written=found.written)


@cache
def make_case(family: str, dtype: torch.dtype = torch.float32) -> Case:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, plain = (build(family).to(dtype) for _ in range(2))
        backend = Tokenizer(models.WordLevel({f"t{i}": i for i in range(VOCAB)}, unk_token="t0"))
        backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        fast: Any = PreTrainedTokenizerFast
        tokenizer = fast(tokenizer_object=backend)
        source = ModelSource(model_id=f"tiny-{family}", kind="folder", folder=None)
        loaded = wrap_model(source, model, tokenizer)
        loaded.anatomy = build_anatomy(loaded)
        select_attention(plain, "eager")
    if family == "gemma2":
        # Parts are what comes before a cap: its bend is what remains.
        plain.config.final_logit_softcapping = None
    return Case(loaded, plain, make_prompt(POSITIONS))


def sum_kinds(values: dict[tuple[str, int | None], float]) -> dict[tuple[str, int | None], float]:
    """A block's chosen experts and the dense branch beside them as one: plain hooks see them together."""
    found: Counter[Any] = Counter()
    for (kind, block, number), value in values.items():
        found["mlp" if kind == "expert" else kind, block, None if kind == "expert" else number] += value
    return dict(found)


def list_values(reading: Reading) -> dict[Any, float]:
    return {
        (part.kind, part.block, part.expert if part.kind == "expert" else part.head): part.value
        for part in reading.parts
    }


@pytest.mark.parametrize("versus", ["none", "mean", 7])
@pytest.mark.parametrize("family", FAMILIES)
def test_each_part_is_that_of_plain_pytorch(family: str, versus: Versus, store: RunStore) -> None:
    case = make_case(family)
    reading, expected = read(case.run(store), Question(POS, TOKEN, versus)), case.expect(versus)
    ours = sum_kinds(list_values(reading))
    biases = sum(value for key, value in ours.items() if key[0] == "bias")
    parts = {key: value for key, value in ours.items() if key[0] != "bias"}
    assert parts.keys() == expected.values.keys()
    for key, value in expected.values.items():
        assert parts[key] == pytest.approx(value, abs=2e-5), key
    # What no part adds is what biases do.
    assert biases == pytest.approx(expected.logit - sum(expected.values.values()), abs=5e-5)
    assert sum(part.value for part in reading.parts) + reading.remainder == pytest.approx(reading.logit)
    assert abs(reading.remainder) < 2e-5 or family == "gemma2"
    assert not [piece for piece in reading.refused if piece.piece == "parts"]


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "cohere", "mixtral", "jamba"])
def test_in_sixteen_bits_parts_are_the_models_own_too(family: str, store: RunStore) -> None:
    """Up to what 16 bits round each term by."""
    case = make_case(family, torch.bfloat16)
    reading, expected = read(case.run(store), Question(POS, TOKEN, "mean")), case.expect("mean")
    ours = sum_kinds(list_values(reading))
    largest = max(map(abs, expected.values.values()))
    for key, value in expected.values.items():
        assert ours[key] == pytest.approx(value, abs=0.05 * expected.sizes[key]), key
    assert sum(part.value for part in reading.parts) + reading.remainder == pytest.approx(reading.logit)
    assert abs(reading.remainder) < 0.05 * largest


@pytest.mark.parametrize("family", FAMILIES)
def test_words_and_sizes_are_those_of_the_stream(family: str, store: RunStore) -> None:
    """The model's own end on what plain hooks saw of the stream, and what it says itself after the last block."""
    case = make_case(family)
    reading, expected = read(case.run(store), Question(POS, TOKEN)), case.expect("none")
    for size, hidden in zip(reading.stream, expected.hidden, strict=False):
        rms = hidden[: POS + 1].pow(2).mean(-1).sqrt()
        torch.testing.assert_close(torch.tensor(size.rms), rms, rtol=1e-4, atol=1e-4)
    assert [len(size.rms) for size in reading.stream] == [POS + 1] * (len(expected.hidden) + 1)
    with torch.inference_mode():
        own = case.loaded.model(case.token_ids[None], use_cache=False).logits[0, POS].softmax(-1)
    last = reading.lens[-1]
    assert [word.id for word in last.tokens] == own.topk(5).indices.tolist()
    assert [word.probability for word in last.tokens] == pytest.approx(own.topk(5).values.tolist(), abs=1e-5)
    assert reading.probability == pytest.approx(float(own[TOKEN]), abs=1e-6)
    assert last.chosen == pytest.approx(reading.probability, abs=1e-5)
    assert last.tokens[0].text == f" t{last.tokens[0].id}"


@pytest.mark.parametrize(("family", "norm"), [("llama", "model.norm"), ("gpt2", "transformer.ln_f")])
def test_words_before_the_end_are_norm_and_head_by_hand(family: str, norm: str, store: RunStore) -> None:
    case = make_case(family)
    reading, expected = read(case.run(store), Question(POS, TOKEN)), case.expect("none")
    plain: Any = case.plain
    for words, hidden in zip(reading.lens, expected.hidden, strict=False):
        shares = plain.lm_head(plain.get_submodule(norm)(hidden[POS])).softmax(-1)
        assert [word.id for word in words.tokens] == shares.topk(5).indices.tolist()
        assert words.chosen == pytest.approx(float(shares[TOKEN]), abs=1e-5)


@pytest.mark.parametrize(
    "family", [name for name in FAMILIES if name not in ("jamba", "qwen3_next", "bamba")]
)
def test_heads_read_with_the_models_own_weights(family: str, store: RunStore) -> None:
    case = make_case(family)
    reading, expected = read(case.run(store), Question(POS, TOKEN)), case.expect("none")
    assert len(reading.attention) == sum(len(each) for each in expected.attentions.values())
    for head in reading.attention:
        own = expected.attentions[head.block][head.head, POS]
        assert head.positions == [*range(POS + 1)]
        assert head.weights == pytest.approx(own[: POS + 1].tolist(), abs=1e-5)


def bring_llama(block: Any, values: Tensor, head: int) -> Tensor:
    out = block.self_attn.o_proj.weight.view(32, 4, 8)[:, head]
    return values.view(-1, 2, 8)[:, head // 2] @ out.T


def bring_gpt2(block: Any, values: Tensor, head: int) -> Tensor:
    return values[:, 64:].view(-1, 4, 8)[:, head] @ block.attn.c_proj.weight.view(4, 8, 32)[head]


@pytest.mark.parametrize(
    ("family", "values", "bring", "after"),
    [
        ("llama", "self_attn.v_proj", bring_llama, None),
        ("granite", "self_attn.v_proj", bring_llama, 0.6),
        ("gemma2", "self_attn.v_proj", bring_llama, "post_attention_layernorm"),
        ("gpt2", "attn.c_attn", bring_gpt2, None),
    ],
)
def test_carried_is_weight_times_what_is_brought(
    family: str, values: str, bring: Any, after: float | str | None, store: RunStore
) -> None:
    """By the projections' own outputs and weights, a multiplier, and a norm with its size as it was."""
    case = make_case(family)
    reading = read(case.run(store), Question(POS, TOKEN))
    expected, seen = {}, {}
    blocks = find_blocks(case.plain)
    handles = [
        block.get_submodule(name).register_forward_hook(
            lambda _, args, out, key=(at, name): seen.update({key: (args[0][0], out[0])})
        )
        for at, block in enumerate(blocks)
        for name in (values, *([after] if isinstance(after, str) else []))
    ]
    with torch.inference_mode():
        expected = case.plain(case.token_ids[None], use_cache=False, output_attentions=True).attentions
    for handle in handles:
        handle.remove()
    for head in reading.attention:
        brought = bring(blocks[head.block], seen[head.block, values][1], head.head)
        if isinstance(after, str):
            given, normed = (side[POS] for side in seen[head.block, after])
            brought = brought * (normed / given)
        elif after:
            brought = brought * after
        carried = expected[head.block][0, head.head, POS] * brought.norm(dim=-1)
        assert head.carried == pytest.approx(carried[: POS + 1].tolist(), rel=1e-3, abs=1e-4)


def test_of_a_long_text_the_positions_that_carry_most_are_told(store: RunStore) -> None:
    case = make_case("llama")
    ids = make_prompt(90)
    run = store.create(case.loaded, ids.tolist(), 90)
    with torch.inference_mode(), run.recording.watch(slice(0, 90), 0, 90):
        case.loaded.model(input_ids=ids[None], use_cache=False)
    long, short = read(run, Question(80, TOKEN)), read(run, Question(20, TOKEN))
    assert {len(head.positions) for head in long.attention} == {32}
    assert {len(head.positions) for head in short.attention} == {21}
    weights = run.read("attn_probs.2", (slice(3, 4), slice(80, 81), slice(0, 90)))[0, 0]
    told = next(head for head in long.attention if (head.block, head.head) == (2, 3))
    assert told.positions == sorted(set(told.positions))
    assert told.weights == pytest.approx([float(weights[place]) for place in told.positions], abs=1e-5)


# --- interventions -----------------------------------------------------------------------------------


def change(address: str, operation: str, value: Any = None, **index: Any) -> Intervention:
    return Intervention.model_validate(
        {"address": address, "operation": operation, "value": value, "index": index}
    )


def run_changed(case: Case, store: RunStore, *changes: Intervention) -> Run:
    run = store.create(case.loaded, case.token_ids.tolist(), POSITIONS, interventions=changes)
    with torch.inference_mode(), run.watcher.watch(slice(0, POSITIONS), 0, POSITIONS):
        case.loaded.model(input_ids=case.token_ids[None], use_cache=False)
    return run


@pytest.mark.parametrize("family", ["llama", "gemma2", "mixtral"])
def test_parts_are_of_the_intervened_run(family: str, store: RunStore) -> None:
    """What is switched off adds nothing, what is cut off reaches nothing, and what is put in is no part's."""
    case = make_case(family)
    off = list_values(read(run_changed(case, store, change("z.2", "zero", head=[1])), Question(POS, TOKEN)))
    assert off["head", 2, 1] == 0.0
    assert off["head", 2, 0] != 0.0
    cut = run_changed(case, store, change("resid_post.1", "zero", pos=[POS]))
    values = list_values(read(cut, Question(POS, TOKEN)))
    assert all(value == 0.0 for (_, block, _), value in values.items() if block is None or block < 2)
    assert any(value != 0.0 for (_, block, _), value in values.items() if block is not None and block > 1)
    steered = read(run_changed(case, store, change("resid_pre.3", "add", 0.5)), Question(POS, TOKEN))
    pushed = sum(part.value for part in steered.parts)
    assert pushed + steered.remainder == pytest.approx(steered.logit)
    assert abs(steered.remainder) > 1e-3


def test_a_scaled_output_scales_its_heads(store: RunStore) -> None:
    """In the last block, where nothing else changes but the final norm's size: the same for all parts before."""
    case = make_case("llama")
    plain = list_values(read(case.run(store), Question(POS, TOKEN)))
    scaled = list_values(
        read(run_changed(case, store, change("attn_out.3", "scale", 3.0)), Question(POS, TOKEN))
    )
    size = scaled["head", 0, 0] / plain["head", 0, 0]
    for head in range(4):
        assert scaled["head", 3, head] == pytest.approx(3.0 * size * plain["head", 3, head], rel=1e-3)


# --- how it is made ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "kinds", "pieces"),
    [
        # Attention of which values and what is mixed are known, and attention beside a state space.
        ("bloom", {"head", "mlp", "bias"}, {("attention", None)}),
        ("falcon_h1", {"mixer", "mlp"}, {("attention", None), ("parts", "head")}),
        # Only the first half of a block is known; then neither.
        ("granitemoeshared", {"head", "mlp"}, {("parts", None)}),
        ("doge", {"mixer"}, {("attention", None), ("parts", None)}),
    ],
)
def test_what_cannot_be_told_apart_is_named(
    family: str, kinds: set[str], pieces: set[tuple[str, str | None]], store: RunStore
) -> None:
    reading = read(make_case(family).run(store), Question(POS, TOKEN))
    assert {part.kind for part in reading.parts} == kinds | {"embedding"}
    assert abs(reading.remainder) < 1e-5
    assert {(piece.piece, piece.kind) for piece in reading.refused} == pieces
    parts = [piece.block for piece in reading.refused if piece.piece == "parts"]
    assert parts == ([3, 2, 1, 0] if "parts" in {piece for piece, _ in pieces} else [])
    assert all(piece.reason for piece in reading.refused)


def test_where_the_end_is_not_known_all_is_left_over(store: RunStore) -> None:
    """A head with a layer and a norm of its own: words and what heads read are there, sums are not."""
    reading = read(make_case("modernbert-decoder").run(store), Question(POS, TOKEN))
    assert reading.parts == []
    assert reading.remainder == reading.logit
    assert [(piece.piece, piece.block) for piece in reading.refused] == [("parts", None)]
    assert len(reading.lens) == 5
    assert len(reading.attention) == 16


def test_a_model_whose_end_cannot_be_run_alone_is_refused(store: RunStore) -> None:
    run = make_case("inkling2_text").run(store)
    with pytest.raises(UnknownAddress, match="lm_head is refused"):
        read(run)
    # What is saved and exported of it has everything else.
    whole = run.zarr_store().settle()
    assert with_reading(run, whole).list_keys() == whole.list_keys()
    assert list_decisions(run) == []


def test_a_reading_is_kept_until_its_rows_are_others(store: RunStore) -> None:
    case = make_case("llama")
    run = case.run(store)
    first = read(run, Question(POS, TOKEN))
    assert read(run, Question(POS, TOKEN)) is first
    assert read(run, Question(POS, TOKEN, "mean")) is not first
    run.recording.rewritten += 1
    again = read(run, Question(POS, TOKEN))
    assert again is not first
    assert again == first
    store.drop_blocks(run.id)
    assert read(run, Question(POS, TOKEN)) is not again


def test_others_have_the_model_in_between(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock is let go between steps, and what works on each position alone runs for one of them."""
    case, lock = make_case("llama"), make_case("llama").loaded.lock
    run = case.run(store)
    monkeypatch.setattr(position, "STEP_ROWS", 1)
    taken, rows = [], []
    release = type(lock)._release

    def note(own: Any) -> None:
        release(own)
        taken.append(own.is_owned())

    monkeypatch.setattr(type(lock), "_release", note)
    block: Any = find_blocks(case.loaded.model)[1]
    handle = block.mlp.down_proj.register_forward_hook(lambda _, args, out: rows.append(out.shape[1]))
    try:
        read(run, Question(POS, 5))
    finally:
        handle.remove()
    assert taken.count(False) >= 5  # each block, and the end
    assert rows == [1]


def test_rows_that_were_given_up_are_read_as_before(store: RunStore) -> None:
    case = make_case("gpt2")
    request = GenerationRequest(token_ids=case.token_ids.tolist(), max_new_tokens=0)
    run = store.create(case.loaded, request.token_ids, POSITIONS)
    assert list(decode(case.loaded, request, watcher=run.watcher)) == []
    before = read(run, Question(POS, TOKEN))
    store.drop_blocks(run.id)
    assert run.give_up()
    assert read(run, Question(POS, TOKEN)) == before


def test_a_run_that_is_deleted_meanwhile_is_left(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    case = make_case("llama")
    monkeypatch.setattr(position, "STEP_ROWS", 1)
    run = case.run(store)
    block: Any = find_blocks(case.loaded.model)[0]
    handle = block.register_forward_hook(lambda *_: None if run.is_forgotten else store.delete(run.id))
    try:
        with pytest.raises(UnknownTrace):
            read(run, Question(POS, TOKEN))
    finally:
        handle.remove()


def test_rows_that_are_replaced_meanwhile_are_read_again(store: RunStore) -> None:
    case = make_case("llama")
    run = case.run(store)
    block: Any = find_blocks(case.loaded.model)[0]
    ran: list[int] = []

    def replace_once(*_: Any) -> None:
        ran.append(1)
        run.recording.rewritten += len(ran) == 1

    handle = block.register_forward_hook(replace_once)
    try:
        first = read(run, Question(POS, TOKEN))
    finally:
        handle.remove()
    assert len(ran) > 1
    assert read(run, Question(POS, TOKEN)) is first
