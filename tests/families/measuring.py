"""What Glassformer makes of a family, and whether any of it differs from transformers' own eager outputs.

A second prompt, which the self-check at load has not seen, goes through a recording: residuals are kept, everything
else is made by running single blocks again. Hidden states, attentions and logits are held against plain transformers;
every accepted site against one whole forward under hooks, and against its own equation.
"""

import random
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from adding_up import find_slip
from building import NotBuilt, build, make_prompt
from torch import Tensor, nn
from transformers import PreTrainedModel

from glassformer.anatomy.checkup import build_anatomy
from glassformer.anatomy.measurement import Measurement
from glassformer.compute.attention import select_attention
from glassformer.compute.generate import make_whole_arguments
from glassformer.errors import UnknownAddress
from glassformer.explain.explain import explain
from glassformer.files.catalog import ModelSource
from glassformer.loading.causal import sees_later_tokens
from glassformer.loading.load import wrap_model
from glassformer.loading.loaded import LoadedModel
from glassformer.operation.closed_set import compute_whole
from glassformer.protocol.anatomy import Anatomy, Site
from glassformer.run.run import Run
from glassformer.run.run_store import RunStore

POSITIONS = 20
# Cells of each point that are explained.
CELLS = 3
# Rounding of float32 sums, relative to a cell and the middling one of its row.
TOLERANCE = 1e-4
LOGIT_TOLERANCE = 1e-3


class NoTokenizer:
    """Stands where no text is read."""

    all_special_ids: tuple[int, ...] = ()
    eos_token_id = None
    chat_template = None


@dataclass
class Reference:
    """Plain transformers with eager attention: `attentions` by block, `hidden_states` in its own order."""

    logits: Tensor
    hidden_states: list[Tensor] = field(default_factory=list)
    attentions: dict[int, Tensor] = field(default_factory=dict)


@dataclass
class Row:
    """One family in the table. `wrong` must be empty: it lists accepted values that are not the model's own."""

    family: str
    not_built: str | None = None
    served: bool = False
    refused: str | None = None
    blocks: int = 0
    accepted: int = 0
    refused_count: int = 0
    reasons: dict[str, list[str]] = field(default_factory=dict)
    attention_exact: int = 0
    attention_blocks: int = 0
    compared: set[str] = field(default_factory=set)
    unexplained: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)

    @property
    def is_drawn(self) -> bool:
        return self.not_built is None and self.refused is None

    @property
    def is_attention_exact(self) -> bool:
        """Every block for which transformers gives attention probabilities has them, and they are the same."""
        return 0 < self.attention_blocks == self.attention_exact


def measure(family: str) -> Row:
    """Build, serve, draw and compare one family."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model = build(family)
        except NotBuilt as exc:
            return Row(family, not_built=str(exc))
        return measure_model(family, model)


def measure_model(family: str, model: PreTrainedModel) -> Row:
    row = Row(family)
    token_ids = make_prompt(POSITIONS)
    reference = refer(model, token_ids)
    tokenizer: Any = NoTokenizer()
    loaded = wrap_model(ModelSource(model_id=family, kind="folder", folder=None), model, tokenizer)
    loaded.anatomy = anatomy = build_anatomy(loaded)
    with torch.inference_mode():
        logits = run_whole(model, token_ids).logits[0]
    row.served = is_close(logits, reference.logits, LOGIT_TOLERANCE)
    if not row.served:
        row.wrong.append("logits")
    row.refused = anatomy.refused
    if sees_later_tokens(model, vocab=loaded.vocab):
        row.served, row.refused = False, "not loaded: it sees later tokens"
        return row
    if anatomy.refused is None:
        row.blocks = len(anatomy.blocks)
        list_sites_of(row, anatomy)
        compare_recording(row, loaded, reference, token_ids)
    return row


def refer(model: PreTrainedModel, token_ids: Tensor) -> Reference:
    """Run plain transformers; what it does not give for a family is left out."""
    # Families that have no eager implementation to choose keep the one they have.
    select_attention(model, "eager")
    with torch.inference_mode():
        logits = run_whole(model, token_ids).logits[0]
    for extra in ({"output_attentions": True, "output_hidden_states": True}, {"output_hidden_states": True}):
        made: dict[int, str] = {}
        try:
            with torch.inference_mode(), remembering(model, made):
                out: Any = run_whole(model, token_ids, **extra)
        except Exception:  # noqa: S112
            continue
        if not is_close(out.logits[0], logits):
            continue  # asking changes what some families compute
        found = [a for a in getattr(out, "attentions", None) or () if isinstance(a, Tensor)]
        hidden = [h[0] for h in getattr(out, "hidden_states", None) or () if isinstance(h, Tensor)]
        places = [block_of(made.get(id(a), "")) for a in found]
        attentions = {p: a[0] for p, a in zip(places, found, strict=True) if p is not None}
        if len(attentions) < len(found) == len(hidden) - 1:
            attentions = {index: a[0] for index, a in enumerate(found)}
        return Reference(logits, hidden, attentions)
    return Reference(logits)


def run_whole(model: PreTrainedModel, token_ids: Tensor, **extra: Any) -> Any:
    """One forward at the positions of `generate()`; without any where the model itself fails with them (Reformer)."""
    try:
        return model(**make_whole_arguments(model, token_ids), **extra)
    except RuntimeError:
        return model(input_ids=token_ids[None], use_cache=False, **extra)


@contextmanager
def remembering(model: nn.Module, made: dict[int, str]) -> Iterator[None]:
    """Note by identity which module gave each tensor: `attentions` does not say which block it is from."""
    kept: list[Tensor] = []

    def note(name: str) -> Callable[..., None]:
        def after(_: nn.Module, args: Any, output: Any) -> None:
            for item in output if isinstance(output, (tuple, list)) else (output,):
                if isinstance(item, Tensor):
                    kept.append(item)
                    made.setdefault(id(item), name)

        return after

    handles = [module.register_forward_hook(note(name)) for name, module in model.named_modules() if name]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def block_of(name: str) -> int | None:
    """The block a module is in, from its dotted name."""
    found = re.search(r"\.(\d+)\.", name)
    return None if found is None else int(found.group(1))


def list_sites_of(row: Row, anatomy: Anatomy) -> None:
    for site in every_site(anatomy):
        if site.check.status != "refused":
            row.accepted += 1
            continue
        row.refused_count += 1
        reason = tell(site.check.reason or "")
        points = row.reasons.setdefault(reason, [])
        if site.point not in points:
            points.append(site.point)


def tell(reason: str) -> str:
    """A reason without what differs from machine to machine."""
    reason = re.sub(r" by \S+ in cell \[[^]]*\], where rounding explains \S+", "", reason)
    reason = re.sub(r", by \S+ of what rounding explains", "", reason)
    reason = re.sub(r"\bLayer \d+\b", "This block", reason)
    return re.sub(r"\blayer \d+\b", "this block", reason)


def every_site(anatomy: Anatomy) -> list[Site]:
    return [*anatomy.before, *(site for block in anatomy.blocks for site in block.sites), *anatomy.after]


def compare_recording(row: Row, loaded: LoadedModel, reference: Reference, token_ids: Tensor) -> None:
    trace = record(loaded, token_ids)
    accepted = {site.address: site for site in trace.sites.values() if site.check.status != "refused"}
    values: dict[str, Tensor] = {}
    for address in accepted:
        try:
            values[address] = torch.from_numpy(trace.read(address).copy())
        except Exception as exc:
            row.wrong.append(f"{address}: {type(exc).__name__}: {exc}")
    compare_with_transformers(row, values, reference)
    compare_with_one_forward(row, loaded, accepted, values, token_ids)
    compare_explanations(row, loaded, trace, accepted, values)


def record(loaded: LoadedModel, token_ids: Tensor) -> Run:
    trace = RunStore(2**26).create(loaded, token_ids.tolist(), len(token_ids))
    with torch.inference_mode(), trace.recording.watch(slice(0, len(token_ids)), 0, len(token_ids)):
        run_whole(loaded.model, token_ids)
    return trace


def compare_with_transformers(row: Row, values: dict[str, Tensor], reference: Reference) -> None:
    expected: dict[str, Tensor] = {"lm_head": reference.logits}
    if len(reference.hidden_states) == row.blocks + 1:
        hidden = reference.hidden_states
        first = values.get("resid_pre.0")
        # Most families list what each block reads; Mamba's what each block hands on.
        reads = first is None or is_close(first, hidden[0])
        after = hidden[1:] if reads else hidden
        expected |= {f"resid_post.{b}": after[b] for b in range(row.blocks - 1)}
        expected |= {f"resid_pre.{b + 1}": after[b] for b in range(row.blocks - 1)}
        expected["final_norm"] = hidden[-1]
    expected |= {f"attn_probs.{block}": value for block, value in reference.attentions.items()}
    row.attention_blocks = len(reference.attentions)
    for address, theirs in expected.items():
        ours = values.get(address)
        if ours is None:
            continue
        row.compared.add(address)
        if is_close(ours, theirs, LOGIT_TOLERANCE if address == "lm_head" else TOLERANCE):
            row.attention_exact += address.startswith("attn_probs")
        else:
            row.wrong.append(f"{address} is not transformers' own")


def compare_with_one_forward(
    row: Row, loaded: LoadedModel, accepted: dict[str, Site], values: dict[str, Tensor], token_ids: Tensor
) -> None:
    whole = Measurement(loaded.structure, token_ids)
    whole.run(list(accepted))
    for address, site in accepted.items():
        if address not in values:
            continue
        if address not in whole.values:
            row.wrong.append(f"{address} is not met in a whole forward")
            continue
        if not is_close(values[address], whole.values[address]):
            row.wrong.append(f"{address} differs between one block and the whole forward")
        if site.equation is None:
            row.unexplained.add(site.point)
            continue
        try:
            with torch.inference_mode():
                computed = compute_whole(site.equation, whole)
        except UnknownAddress as exc:
            row.wrong.append(f"{address}: {exc.message}")
            continue
        if not is_close(computed, whole.values[address]):
            row.wrong.append(f"{address} does not obey its equation on another prompt")


def compare_explanations(
    row: Row, loaded: LoadedModel, trace: Run, accepted: dict[str, Site], values: dict[str, Tensor]
) -> None:
    """Explain some cells of each point: what is shown computes what is recomputed, and that is the model's value."""
    choose = random.Random(7)
    explained: Counter[str] = Counter()
    for address, site in accepted.items():
        if explained[site.point] == CELLS or site.equation is None or address not in values:
            continue
        explained[site.point] += 1
        index = [choose.randrange(size) for size in values[address].shape]
        if site.axes[-1] == "key":
            index[-1] = choose.randrange(index[-2] + 1)
        wrong = find_fault(loaded, trace, site, index, values[address])
        if wrong is not None:
            row.wrong.append(f"{address} at {index} {wrong}")


def find_fault(loaded: LoadedModel, trace: Run, site: Site, index: list[int], values: Tensor) -> str | None:
    """What is wrong with the explanation of one cell."""
    try:
        explanation = explain(trace, site.address, index)
    except Exception as exc:
        return f"cannot be explained: {type(exc).__name__}: {exc}"
    slip = find_slip(explanation, partial(loaded.structure.activate, site.block or 0))
    if slip is not None or explanation.value is None:
        return slip and f"does not add up: {slip}"
    row = values[tuple(index[:-1])].double().nan_to_num(neginf=0.0).abs()
    size = max(float(row[index[-1]]), float(row.median()))
    if explanation.difference is None or explanation.difference > 1e-3 * size:
        return f"is explained as {explanation.recomputed}, not {explanation.value}"
    return None


def is_close(ours: Tensor, theirs: Tensor, tolerance: float = TOLERANCE) -> bool:
    """Equal but for rounding, each cell by its own size and the middling one of its row; the same cells are masked."""
    if ours.shape != theirs.shape:
        return False
    a, b = ours.double(), theirs.double()
    if not torch.equal(torch.isfinite(a), torch.isfinite(b)):
        return False
    a, b = (torch.nan_to_num(x, nan=0.0, posinf=0.0, neginf=0.0) for x in (a, b))
    middling = b.abs().median(-1, keepdim=True).values.clamp(min=1e-3)
    return bool(((a - b).abs() <= tolerance * (b.abs() + middling)).all())
