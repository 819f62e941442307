"""Wrong equations made of right ones, and models with a massive feature on which to try them.

Each kind leaves out or changes one thing, wherever an equation has it: what no check may take for the model's own.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from building import build, make_prompt
from measuring import NoTokenizer
from torch import Tensor

from glassformer.anatomy.checkup import build_anatomy
from glassformer.anatomy.measurement import Measurement
from glassformer.anatomy.outline import list_addresses
from glassformer.anatomy.selfcheck import SelfCheck
from glassformer.files.catalog import ModelSource
from glassformer.loading.load import wrap_model
from glassformer.loading.loaded import LoadedModel
from glassformer.operation.closed_set import compute_whole
from glassformer.operation.equation import list_inputs
from glassformer.protocol.address import split_address
from glassformer.protocol.anatomy import Equation, EquationInput, Input, SiteInput, list_sites

# Of different making: norms before, after and between, multipliers, offsets, caps, sinks, windows, learned positions,
# rotary pairings, biases, parallel branches, experts chosen in several ways, latent attention.
FAMILIES = (
    "llama gpt2 gemma2 gemma3_text granite granitemoe olmo2 cohere2 mixtral qwen3_moe opt gpt_oss falcon_h1 minicpm3 "
    "gpt_neox deepseek_v3 phi3 lfm2_moe"
).split()
FORMATS = (torch.float32, torch.bfloat16, torch.float16)
FACTORS = (1.0, 1000.0, 10000.0)
# Longer than the windows and chunks of the tiny models.
POSITIONS = 48
MASSIVE_FEATURE = 5


@dataclass(frozen=True)
class Verdict:
    """What became of a wrong equation beside the right one: `same` where both give the same numbers here."""

    kind: str
    address: str
    outcome: str  # "refused", "told apart" (it fits by itself), "undecided", "accepted", "same"
    detail: str = ""


# --- kinds ---------------------------------------------------------------------------------------------

Change = Callable[[Equation], Iterator[Equation]]


def with_inputs(equation: Equation, inputs: list[Input]) -> Equation:
    return equation.model_copy(update={"inputs": inputs})


def with_attributes(equation: Equation, **changed: Any) -> Equation:
    attributes = {**equation.attributes, **changed}
    return equation.model_copy(update={"attributes": {k: v for k, v in attributes.items() if v is not None}})


def as_equation(given: Input) -> Equation:
    return given.equation if isinstance(given, EquationInput) else Equation(operation="add", inputs=[given])


def drop_multiplier(e: Equation) -> Iterator[Equation]:
    if e.operation == "scale":
        yield as_equation(e.inputs[0])


def bend_multiplier(e: Equation) -> Iterator[Equation]:
    if e.operation == "scale":
        yield with_attributes(e, factor=e.attributes["factor"] * 1.05)


def nudge_multiplier(e: Equation) -> Iterator[Equation]:
    if e.operation == "scale":
        yield with_attributes(e, factor=e.attributes["factor"] * 1.01)


def raise_epsilon(e: Equation) -> Iterator[Equation]:
    if e.operation == "norm":
        yield with_attributes(e, eps=10 * e.attributes["eps"])


def turn_sign(e: Equation) -> Iterator[Equation]:
    if e.operation == "add" and len(e.inputs) > 1:
        turned = Equation(operation="scale", inputs=[e.inputs[-1]], attributes={"factor": -1.0})
        yield with_inputs(e, [*e.inputs[:-1], EquationInput(equation=turned)])


def drop_part(e: Equation) -> Iterator[Equation]:
    if e.operation == "add" and len(e.inputs) > 1:
        for at, given in enumerate(e.inputs):
            if not is_position(given):
                yield with_inputs(e, [*e.inputs[:at], *e.inputs[at + 1 :]])


def is_position(given: Input) -> bool:
    return isinstance(given, EquationInput) and given.equation.attributes.get("by") == "positions"


def drop_position(e: Equation) -> Iterator[Equation]:
    if e.operation == "add" and any(is_position(given) for given in e.inputs):
        yield with_inputs(e, [given for given in e.inputs if not is_position(given)])
    if e.operation == "rotary":
        yield as_equation(e.inputs[0])


def turn_pairing(e: Equation) -> Iterator[Equation]:
    if e.operation == "rotary":
        other = "neighbours" if e.attributes["pairing"] == "halves" else "halves"
        yield with_attributes(e, pairing=other)


def drop_bias(e: Equation) -> Iterator[Equation]:
    if e.operation == "matmul" and len(e.inputs) > 2:
        yield with_inputs(e, e.inputs[:2])
    if e.operation == "norm" and len(e.inputs) > 2:
        yield with_inputs(e, e.inputs[:2])


def drop_offset(e: Equation) -> Iterator[Equation]:
    if e.operation == "norm" and len(e.inputs) > 1:
        yield with_attributes(e, offset=None if e.attributes.get("offset") else 1.0)


def drop_gain(e: Equation) -> Iterator[Equation]:
    if e.operation == "norm" and len(e.inputs) > 1:
        yield with_inputs(with_attributes(e, offset=None), e.inputs[:1])


def drop_norm(e: Equation) -> Iterator[Equation]:
    if e.operation == "norm" and not e.attributes.get("heads") and not e.attributes.get("merge_heads"):
        yield as_equation(e.inputs[0])


def turn_norm(e: Equation) -> Iterator[Equation]:
    if e.operation == "norm":
        yield with_attributes(e, norm="layer" if e.attributes["norm"] == "rms" else "rms")


def drop_mask_reach(e: Equation) -> Iterator[Equation]:
    if e.operation == "mask" and ("window" in e.attributes or "chunk" in e.attributes):
        yield with_attributes(e, window=None, chunk=None)


def move_mask_reach(e: Equation) -> Iterator[Equation]:
    if e.operation == "mask" and "window" in e.attributes:
        yield with_attributes(e, window=int(e.attributes["window"]) + 1)


def drop_cap(e: Equation) -> Iterator[Equation]:
    if e.operation == "softcap":
        yield as_equation(e.inputs[0])


def drop_sinks(e: Equation) -> Iterator[Equation]:
    if e.operation == "softmax" and len(e.inputs) > 1:
        yield with_inputs(e, e.inputs[:1])


def turn_head(e: Equation) -> Iterator[Equation]:
    """The next head's keys, values or weights: `Rolled` has them under another name."""
    if e.operation in ("dot", "weighted_sum"):
        second = e.inputs[1]
        assert isinstance(second, SiteInput)
        yield with_inputs(e, [e.inputs[0], SiteInput(address=ROLLED + second.address)])


def turn_activation(e: Equation) -> Iterator[Equation]:
    if e.operation == "activation":
        name = str(e.attributes["function"])
        others = ["ReLU"] if "GELU" in name else ["GELU"] if name != "ReLU" else ["SiLU"]
        for other in others:
            yield e.model_copy(update={"attributes": {"function": other}})


def turn_score(e: Equation) -> Iterator[Equation]:
    if e.operation == "route":
        score = str(e.attributes["score"])
        other = (
            score.replace("softmax", "sigmoid") if "softmax" in score else score.replace("sigmoid", "softmax")
        )
        yield with_attributes(e, score=other)
        if score != "softmax_chosen":  # which sum to one already
            yield with_attributes(e, renormalised=not e.attributes.get("renormalised"))


def turn_choice(e: Equation) -> Iterator[Equation]:
    if e.operation == "route":
        if int(e.attributes["top_k"]) > 1:
            yield with_attributes(e, top_k=int(e.attributes["top_k"]) - 1)
        if len(e.inputs) > 1:
            yield with_inputs(e, e.inputs[:1])


ROLLED = "next head of "
# What rounding may hide where numbers lie badly, in 16 bits or in any format: that is said of a site, not guessed.
HARD_IN_16_BITS = {"multiplier 1 % off", "soft cap left out"}
HARD_TO_TELL = {"epsilon ten times as large"}
KINDS: dict[str, Change] = {
    "multiplier left out": drop_multiplier,
    "multiplier 5 % off": bend_multiplier,
    "multiplier 1 % off": nudge_multiplier,
    "wrong sign": turn_sign,
    "part left out": drop_part,
    "position left out": drop_position,
    "wrong pairing": turn_pairing,
    "bias left out": drop_bias,
    "offset left out or put in": drop_offset,
    "gain left out": drop_gain,
    "norm left out": drop_norm,
    "RMS for layer norm, or layer for RMS": turn_norm,
    "epsilon ten times as large": raise_epsilon,
    "window or chunk left out": drop_mask_reach,
    "window one longer": move_mask_reach,
    "soft cap left out": drop_cap,
    "sinks left out": drop_sinks,
    "wrong head": turn_head,
    "wrong activation": turn_activation,
    "wrong score of experts": turn_score,
    "wrong choice of experts": turn_choice,
}


def mutate(equation: Equation, change: Change) -> Iterator[Equation]:
    """The equation with one place changed, for each place where that can be done."""
    yield from change(equation)
    for at, given in enumerate(equation.inputs):
        if isinstance(given, EquationInput):
            for changed in mutate(given.equation, change):
                inputs: list[Input] = [*equation.inputs]
                inputs[at] = EquationInput(equation=changed)
                yield with_inputs(equation, inputs)


# --- models --------------------------------------------------------------------------------------------


@dataclass
class Subject:
    """A family's right equations, found in float32 without a massive feature."""

    family: str
    model: Any
    equations: dict[str, Equation]


def make_subject(family: str) -> Subject:
    model = build(family)
    spread(model)
    loaded = wrap(family, copy.deepcopy(model))
    sites = list_sites(build_anatomy(loaded))
    return Subject(family, model, {a: s.equation for a, s in sites.items() if s.equation is not None})


def spread(model: Any) -> None:
    """Move what training would set off its neutral value, or leaving it out would change nothing."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                size = 0.3 * (parameter.abs().mean() + 0.1)
                parameter.add_(size * torch.randn(parameter.shape, generator=generator))


def wrap(family: str, model: Any) -> LoadedModel:
    tokenizer: Any = NoTokenizer()
    return wrap_model(ModelSource(model_id=family, kind="folder", folder=None), model, tokenizer)


def measure(subject: Subject, dtype: torch.dtype, factor: float) -> Measurement:
    """What the model computes in a format, with one feature of its embeddings `factor` times as large."""
    model = copy.deepcopy(subject.model)
    with torch.no_grad():
        model.get_input_embeddings().weight[:, MASSIVE_FEATURE] *= factor
    loaded = wrap(subject.family, model.to(dtype))
    structure = loaded.structure
    measured = Measurement(structure, make_prompt(POSITIONS))
    measured.run(list_addresses(len(structure.blocks)))
    for address, value in list(measured.values.items()):
        if split_address(address)[0] in ("k", "v"):
            measured.values[ROLLED + address] = value.roll(1, 0)
    return measured


def try_mutants(subject: Subject, dtype: torch.dtype, factor: float) -> Iterator[Verdict]:
    """Check each right equation, and each wrong one beside it. A right one that is not found raises AssertionError."""
    measured = measure(subject, dtype, factor)
    for address, truth in subject.equations.items():
        if (
            address not in measured.values
            or address in measured.refusals
            or has_overflow(measured, address, truth)
        ):
            continue
        where = f"{subject.family} {dtype} x{factor:g} {address}"
        check = make_check(measured, subject, address)
        found = check.check(address, [truth])
        assert found.equation == truth, f"{where} is right and {found.check.status}: {found.check.reason}"
        for kind, change in KINDS.items():
            for wrong in mutate(truth, change):
                yield judge_mutant(measured, subject, address, kind, truth, wrong)


def make_check(measured: Measurement, subject: Subject, address: str) -> SelfCheck:
    """A check that knows the patterns of attention, as it does when it comes to what attention gives."""
    check = SelfCheck(measured)
    point, block = split_address(address)
    for pattern in ("attn_scores", "attn_probs") if point == "z" else ():
        known = subject.equations.get(f"{pattern}.{block}")
        if known is not None:
            check.check(f"{pattern}.{block}", [known])
    return check


def judge_mutant(
    measured: Measurement, subject: Subject, address: str, kind: str, truth: Equation, wrong: Equation
) -> Verdict:
    try:
        with torch.inference_mode():
            same = torch.equal(compute_whole(wrong, measured), compute_whole(truth, measured))
    except (RuntimeError, ValueError, IndexError, LookupError):
        return Verdict(kind, address, "refused", "cannot be computed")
    if same:
        return Verdict(kind, address, "same")
    found = make_check(measured, subject, address).check(address, [wrong, truth])
    if found.check.status == "undecided":
        return Verdict(kind, address, "undecided")
    assert found.check.status != "refused", f"{address}: {found.check.reason}"
    if found.equation != truth:
        return Verdict(kind, address, "accepted", f"{found.check.status} {found.check.worst}")
    alone = make_check(measured, subject, address).check(address, [wrong])
    return Verdict(kind, address, "refused" if alone.check.status == "refused" else "told apart")


def has_overflow(measured: Measurement, address: str, equation: Equation) -> bool:
    values: list[Tensor] = [
        measured.values[a] for a in (address, *list_inputs(equation)) if a in measured.values
    ]
    return any(bool(v.isnan().any() | v.isposinf().any()) for v in values)
