"""Effects against separate whole runs of transformers' own models, each under hooks written here."""

import copy
import sys
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import make_tokenizer
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent.parent / "families"))
from building import build, make_prompt
from plain_parts import FAMILIES, PlainParts, find

from glassformer import waiting
from glassformer.anatomy.checkup import Checkup, build_anatomy
from glassformer.errors import BadValue, NobodyWaits, UnknownTrace
from glassformer.files.catalog import ModelSource
from glassformer.loading.load import wrap_model
from glassformer.protocol.messages import Intervention
from glassformer.protocol.reading import Effect, Effects
from glassformer.reading.climb import Climb, PackedClimb, Trial, WholeClimb, climb
from glassformer.reading.decision import Question
from glassformer.reading.effects import read_effects
from glassformer.reading.named_part import Part
from glassformer.reading.recorded_text import RecordedText
from glassformer.reading.way import choose_way
from glassformer.reading.without import read_without
from glassformer.run.run import Run
from glassformer.run.run_store import RunStore

# Longer than the windows of tiny models, and no round number.
POSITIONS = 21
WITHOUT_WORDS = {"jamba", "mamba", "qwen3_next", "falcon_h1"}
TAKING_TURNS = {"bloom", "falcon", "mpt", "jamba", "mamba", "qwen3_next", "falcon_h1", "llama4_text"}


def make_run(
    family: str,
    dtype: torch.dtype = torch.float32,
    *,
    count: int = POSITIONS,
    changes: Sequence[dict[str, Any]] = (),
) -> tuple[Run, Any]:
    """A recorded prompt, and transformers' own model beside it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model: Any = build(family).to(dtype)
        plain = copy.deepcopy(model)
        plain.set_attn_implementation("eager")
    loaded = wrap_model(ModelSource(model_id=family, kind="folder", folder=None), model, make_tokenizer())
    loaded.anatomy = build_anatomy(loaded)
    ids = make_prompt(count)
    interventions = [Intervention(**fields) for fields in changes]
    run = RunStore(2**30).create(loaded, ids.tolist(), count, interventions=interventions)
    with torch.inference_mode(), run.watcher.watch(slice(0, count), 0, count):
        loaded.model(input_ids=ids[None], use_cache=False)
    return run, plain


def ask(run: Run, *, off: Any = "zero", blocks: str | None = None, **asked: Any) -> Effects:
    return read_effects(run, Question(**asked), off=off, blocks=blocks)


def name(effect: Effect) -> str:
    numbers = [effect.position, effect.block, effect.head, effect.expert]
    return ".".join([effect.kind, *(str(number) for number in numbers if number is not None)])


def find_way(run: Run) -> Climb:
    """The way that was taken: one that is found not to hold is left for the other, and the numbers do not show it."""
    return choose_way(RecordedText(run, POSITIONS - 1, "zero"), run.read_logits(POSITIONS - 1))


def check(found: Effects, plain: PlainParts, versus: int | None, tolerance: float) -> float:
    """Each effect against a run of its own; the largest change that any part made."""
    largest = 0.0
    before = plain.logits()
    for effect in found.parts:
        logits = plain.logits(name(effect))
        logprobs = logits.log_softmax(-1)
        margin = logprobs[found.token.id] - (0.0 if versus is None else logprobs[versus])
        assert effect.margin == pytest.approx(float(margin), abs=tolerance), name(effect)
        assert effect.probability == pytest.approx(float(logprobs[found.token.id].exp()), abs=tolerance), (
            name(effect)
        )
        top = logits.topk(2)
        if top.values[0] - top.values[1] > tolerance:
            assert effect.token.id == int(top.indices[0]), name(effect)
        largest = max(largest, float((logits - before).abs().max()))
    return largest


@pytest.mark.parametrize("family", FAMILIES)
def test_each_effect_is_that_of_a_run_of_its_own(family: str) -> None:
    run, model = make_run(family)
    found = ask(run, versus=7)
    plain = PlainParts(model, FAMILIES[family], run.token_ids, POSITIONS - 1)
    assert check(found, plain, 7, 1e-3) > 0.1
    assert isinstance(find_way(run), WholeClimb if family in TAKING_TURNS else PackedClimb)
    parts = {effect.kind for effect in found.parts}
    assert ("token" in parts) == (family not in WITHOUT_WORDS)
    assert ("expert" in parts) == (FAMILIES[family].experts is not None)


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt_oss", "mixtral", "bloom", "jamba"])
def test_a_mean_stands_in_for_what_is_off(family: str) -> None:
    run, model = make_run(family)
    found = ask(run, off="mean", pos=POSITIONS - 3)
    plain = PlainParts(model, FAMILIES[family], run.token_ids, POSITIONS - 3, mean=True)
    assert found.token.id == run.token_ids[POSITIONS - 2]
    assert check(found, plain, None, 1e-3) > 0.1


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2", "gpt_oss", "falcon", "mamba"])
def test_in_bfloat16_effects_are_those_of_runs_of_their_own_but_for_rounding(family: str) -> None:
    run, model = make_run(family, torch.bfloat16)
    found = ask(run)
    plain = PlainParts(model, FAMILIES[family], run.token_ids, POSITIONS - 1)
    assert found.parts, found.refused
    assert check(found, plain, None, 0.05) > 0.5


CHANGES: list[dict[str, Any]] = [
    {"address": "z.1", "operation": "scale", "value": 0.3, "index": {"head": [1]}},
    {"address": "attn_out.2", "operation": "add", "value": 0.4, "index": {"pos": [3, POSITIONS - 1]}},
    {"address": "resid_pre.3", "operation": "scale", "value": 0.5, "index": {"pos": {"start": 5}}},
    {"address": "mlp_out.3", "operation": "zero", "index": {"pos": [2]}},
]


def intervene(model: Any) -> None:
    """The same by hand, in a model of Llama's shape."""
    layers = model.model.layers

    def scale_head(_: Any, args: Any) -> Any:
        changed = args[0].clone()
        changed.view(*changed.shape[:2], 4, -1)[:, :, 1] *= 0.3
        return (changed,)

    def add(_: Any, args: Any, output: Any) -> Any:
        changed = output[0].clone()
        changed[0, [3, POSITIONS - 1]] += 0.4
        return (changed, *output[1:])

    def scale_stream(_: Any, args: Any) -> Any:
        changed = args[0].clone()
        changed[0, 5:] *= 0.5
        return (changed,)

    def drop(_: Any, args: Any, output: Tensor) -> Tensor:
        changed = output.clone()
        changed[0, 2] = 0
        return changed

    layers[1].self_attn.o_proj.register_forward_pre_hook(scale_head)
    layers[2].self_attn.register_forward_hook(add)
    layers[3].register_forward_pre_hook(scale_stream)
    find(layers[3], ("mlp", "feed_forward")).register_forward_hook(drop)


@pytest.mark.parametrize("off", ["zero", "mean"])
@pytest.mark.parametrize("family", ["llama", "gemma2", "falcon_h1"])
def test_an_intervened_run_stays_so(family: str, off: Any) -> None:
    run, model = make_run(family, changes=CHANGES)
    intervene(model)
    found = ask(run, off=off)
    assert isinstance(find_way(run), WholeClimb if family in TAKING_TURNS else PackedClimb)
    plain = PlainParts(model, FAMILIES[family], run.token_ids, POSITIONS - 1, mean=off == "mean")
    assert found.base.probability == pytest.approx(
        float(plain.logits().softmax(-1)[found.token.id]), abs=1e-4
    )
    assert check(found, plain, None, 1e-3) > 0.1


@pytest.mark.parametrize("family", ["llama", "gpt_oss", "bloom"])
def test_without_several_parts_at_once(family: str) -> None:
    run, model = make_run(family)
    names = ["mlp.2", "token.17", "attention.1", "token.3"]
    names += ["head.3.1", "head.3.2"] if family != "bloom" else []
    found = read_without(run, names)
    plain = PlainParts(model, FAMILIES[family], run.token_ids, POSITIONS - 1)
    probabilities = plain.logits(*names).softmax(-1)
    assert found.parts == names
    assert found.probability == pytest.approx(float(probabilities[found.token.id]), abs=1e-4)
    assert [word.id for word in found.tokens] == probabilities.topk(20).indices.tolist()
    assert [word.probability for word in found.tokens] == pytest.approx(
        probabilities.topk(20).values.tolist(), abs=1e-4
    )
    assert [one.boundary for one in found.lens] == list(range(5))
    assert [word.id for word in found.lens[-1].tokens] == [word.id for word in found.tokens[:5]]
    assert found.lens[-1].chosen == pytest.approx(found.probability, abs=1e-5)


def test_the_lens_without_a_part_is_as_recorded_up_to_it() -> None:
    run, model = make_run("llama")
    found = read_without(run, ["mlp.2"])
    plain = PlainParts(model, FAMILIES["llama"], run.token_ids, POSITIONS - 1)
    for boundary, words in enumerate(found.lens):
        with torch.no_grad(), plain.off("mlp.2"):
            states = model(input_ids=torch.tensor([run.token_ids]), output_hidden_states=True).hidden_states
            # The last of them is after the final norm.
            normed = states[boundary][0, -1] if boundary == 4 else model.model.norm(states[boundary][0, -1])
            expected = model.lm_head(normed).softmax(-1)
        assert words.chosen == pytest.approx(float(expected[found.token.id]), abs=1e-5)
        assert [word.id for word in words.tokens] == expected.topk(5).indices.tolist()


def test_pieces_are_what_the_whole_has() -> None:
    run, _ = make_run("qwen3_moe")
    whole = ask(run)
    upper, lower, words = (ask(run, blocks=blocks) for blocks in ("2-3", "0-1", "none"))
    assert (upper.blocks, lower.blocks, words.blocks) == ((2, 3), (0, 1), None)
    assert {effect.kind for effect in words.parts} == {"token"}
    assert [effect.position for effect in words.parts] == list(range(POSITIONS - 1))
    pieces = [*words.parts, *upper.parts, *lower.parts]
    assert [name(effect) for effect in pieces] == [name(effect) for effect in whole.parts]
    for one, other in zip(pieces, whole.parts, strict=True):
        assert one.margin == pytest.approx(other.margin, abs=1e-4)
    assert len({name(effect) for effect in pieces}) == len(pieces) == POSITIONS - 1 + 4 * (1 + 4 + 1 + 2)


@pytest.mark.parametrize("family", ["gpt2", "bloom"])
def test_at_the_first_positions(family: str) -> None:
    run, model = make_run(family)
    for pos in (0, 1, 2):
        found = ask(run, pos=pos)
        plain = PlainParts(model, FAMILIES[family], run.token_ids, pos)
        check(found, plain, None, 1e-3)
        assert [effect.position for effect in found.parts if effect.kind == "token"] == list(range(pos))
    with pytest.raises(BadValue, match="mean") as caught:
        ask(run, pos=1, off="mean")
    assert caught.value.field == "off"


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_oss", "deepseek_v3"])
def test_the_first_position_is_read_as_all_others(family: str) -> None:
    """Rows over a past of nothing: they are right whenever they are asked for, and no model loses its way by them."""
    run, model = make_run(family)
    plain = PlainParts(model, FAMILIES[family], run.token_ids, 0)
    check(ask(run, pos=0, blocks="1-3"), plain, None, 1e-3)
    assert isinstance(find_way(run), PackedClimb)
    check(ask(run, pos=0), plain, None, 1e-3)
    assert read_without(run, ["mlp.1"], Question(0)).probability >= 0


def test_of_a_long_text_the_words_that_are_read_most_are_tested() -> None:
    run, model = make_run("llama", count=100)
    found = ask(run, blocks="none")
    with torch.no_grad():
        maps = model(input_ids=torch.tensor([run.token_ids]), output_attentions=True).attentions
    reads = torch.stack([weights[0, :, -1, :-1].sum(0) for weights in maps]).sum(0)
    expected = sorted(reads.topk(64).indices.tolist())
    assert [effect.position for effect in found.parts] == expected
    assert expected != list(range(35, 99))
    assert [(piece.piece, piece.kind) for piece in found.refused] == [("effects", "token")]
    assert "64" in found.refused[0].reason
    plain = PlainParts(model, FAMILIES["llama"], run.token_ids, 99)
    check(found, plain, None, 1e-3)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["head.9.0"], "blocks are 0 to 3"),
        (["head.1.4"], "heads of block 1 are 0 to 3"),
        (["expert.1.0"], "no experts"),
        (["mixer.1"], "attention"),
        ([f"token.{POSITIONS - 1}"], "before position"),
        (["nose.1"], "no part"),
        (["head.1"], "no part"),
        ([f"token.{pos % 20}" for pos in range(33)], "1 to 32"),
        ([], "1 to 32"),
    ],
)
def test_what_cannot_be_switched_off_is_told_in_one_sentence(
    names: list[str], said: str, llama_run: Run
) -> None:
    with pytest.raises(BadValue, match=said) as caught:
        read_without(llama_run, names)
    assert caught.value.field == "part"


def test_an_expert_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    run, model = make_run("mixtral")
    experts = run.loaded.structure.experts(0)
    assert experts is not None
    count = model.config.num_local_experts
    assert read_without(run, [f"expert.0.{count - 1}"]).parts == [f"expert.0.{count - 1}"]
    with pytest.raises(BadValue, match=f"experts of block 0 are 0 to {count - 1}"):
        read_without(run, [f"expert.0.{count}"])
    # As of a family whose experts do not say how many they are.
    monkeypatch.delattr(experts.experts, "num_experts")
    with pytest.raises(BadValue, match="does not tell how many experts"):
        read_without(run, ["expert.0.99999"])


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"blocks": "2-9"}, "blocks"),
        ({"blocks": "3-1"}, "blocks"),
        ({"blocks": "some"}, "blocks"),
        ({"pos": POSITIONS}, "pos"),
        ({"pos": -1}, "pos"),
        ({"token": 96}, "token"),
        ({"versus": 96}, "versus"),
    ],
)
def test_what_is_not_there_is_told_by_field(given: dict[str, Any], field: str, llama_run: Run) -> None:
    with pytest.raises(BadValue) as caught:
        ask(llama_run, **given)
    assert caught.value.field == field


@pytest.fixture(scope="module")
def llama_run() -> Run:
    return make_run("llama")[0]


@pytest.mark.parametrize("family", ["llama", "bloom"])
def test_others_have_the_model_between_blocks(family: str) -> None:
    run, _ = make_run(family)
    lock = run.loaded.lock
    held: list[bool] = []
    climb(
        find_way(run),
        0,
        lambda block, _: [Trial(), Trial((Part("mlp", block),))],
        lambda boundary, rows: held.append(lock.is_owned() or len(rows) != 2 * boundary),
    )
    assert held == [False] * 4


def test_a_word_that_reaches_a_position_by_another_way_cannot_be_hidden() -> None:
    run, _ = make_run("jamba")
    with pytest.raises(BadValue, match=r"block 0\)"):
        read_without(run, ["token.3"])
    with pytest.raises(BadValue, match="no attention"):
        read_without(run, ["attention.0"])
    assert read_without(run, ["mixer.0"]).probability != ask(run).base.probability


def test_a_run_that_is_deleted_meanwhile_decides_nothing_for_its_model() -> None:
    run, _ = make_run("llama")
    text, logits = RecordedText(run, POSITIONS - 1, "zero"), run.read_logits(POSITIONS - 1)
    handle = run.loaded.structure.blocks[0].register_forward_hook(
        lambda *_: setattr(run, "is_forgotten", True)
    )
    with pytest.raises(UnknownTrace):
        choose_way(text, logits)
    handle.remove()
    run.is_forgotten = False
    assert isinstance(choose_way(text, logits), PackedClimb)


def test_what_is_refused_does_not_depend_on_when_it_was_checked() -> None:
    run, _ = make_run("beam")
    later, _ = make_run("beam")
    loaded = later.loaded
    loaded.checkup, loaded.anatomy = Checkup(loaded), None
    assert loaded.read_anatomy() is not None
    found, again = ask(run), ask(later)
    assert {piece.kind for piece in found.refused} == {"attention", "head"}
    assert again.refused == found.refused
    assert list(map(name, again.parts)) == list(map(name, found.parts))


@pytest.mark.parametrize(
    ("family", "given"), [("llama", {"pos": 0, "blocks": "none"}), ("recurrent_gemma", {})]
)
def test_where_nothing_can_be_switched_off_the_decision_is_told(family: str, given: dict[str, Any]) -> None:
    run, _ = make_run(family)
    found = ask(run, **given)
    assert found.parts == []
    pos = given.get("pos", POSITIONS - 1)
    shares = run.read_logits(pos).softmax(-1)
    assert found.base.probability == pytest.approx(float(shares[found.token.id]), rel=1e-4)


@pytest.mark.parametrize("fault", [UnknownTrace, NobodyWaits])
def test_rows_that_climb_one_by_one_stop_when_nobody_wants_them(fault: type[Exception]) -> None:
    run, _ = make_run("bloom")
    way = find_way(run)
    ran: list[int] = []
    left = threading.Event()

    def stop(*_: Any) -> None:
        ran.append(1)
        run.is_forgotten = fault is UnknownTrace
        left.set()

    handle = run.loaded.structure.blocks[1].register_forward_hook(stop)
    given = waiting.left.set(left if fault is NobodyWaits else None)
    with pytest.raises(fault):
        climb(way, 1, lambda block, _: [Trial()] * 5 if block == 1 else [])
    waiting.left.reset(given)
    handle.remove()
    assert len(ran) == 1
