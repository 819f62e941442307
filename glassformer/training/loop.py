"""The training loop: steps, checkpoints and exact resume. Knows a recipe, not what it teaches.

The batch of a step is a pure function of (seed, step), so a checkpoint holds weights, optimizers and the step, and a
resumed run equals an uninterrupted one bit for bit on the same machine.
"""

import io
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from transformers import PreTrainedModel

from glassformer.errors import BadValue
from glassformer.training import optimizer
from glassformer.training.batch import Batch
from glassformer.writing import replacing_file


@dataclass(frozen=True)
class Recipe:
    """Everything the loop needs to know about what it trains."""

    name: str
    model: Callable[[], PreTrainedModel]
    batch: Callable[[int, int], Batch]
    """(seed, step) -> batch."""
    score: Callable[[PreTrainedModel, int], str]
    """(model, step) -> one line about held-out data, shown and logged while training."""
    steps: int
    matrix_lr: float
    """Of Muon, for the matrices inside blocks; 0 trains them with AdamW too."""
    other_lr: float
    weight_decay: float
    warmup: int
    decay_share: float
    """The last share of the steps, in which the learning rate falls to zero."""
    score_every: int
    can_compile: bool


@dataclass
class Progression:
    """What a run has done so far."""

    step: int = 0
    tokens: int = 0
    secs: float = 0.0
    losses: list[float] = field(default_factory=list)
    """Mean over each stretch of score_every steps."""


def loss(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Weighted mean cross-entropy of predicting every token from the ones before it."""
    logits = model(
        input_ids=batch.ids[:, :-1],
        attention_mask=batch.mask[:, :, :-1, :-1],
        position_ids=batch.positions[:, :-1],
        use_cache=False,
    ).logits
    each = nn.functional.cross_entropy(
        logits.flatten(0, 1).float(), batch.ids[:, 1:].flatten(), reduction="none"
    )
    weights = batch.weights[:, 1:].flatten()
    return (each * weights).sum() / weights.sum()


def run(
    recipe: Recipe,
    *,
    seed: int,
    steps: int,
    device: torch.device,
    checkpoint: Path,
    checkpoint_every: int,
    resume: bool,
    compile_model: bool,
    console: Console,
    stop_after: int | None = None,
) -> tuple[PreTrainedModel, Progression]:
    """Train to `steps`, or leave after `stop_after` with a checkpoint to resume from."""
    torch.manual_seed(seed)
    model = recipe.model()
    nn.Module.to(model, device)
    optimizers = optimizer.build(
        model, matrix_lr=recipe.matrix_lr, other_lr=recipe.other_lr, weight_decay=recipe.weight_decay
    )
    base_rates = [[group["lr"] for group in one.param_groups] for one in optimizers]
    done = Progression()
    if resume and checkpoint.exists():
        done = restore(checkpoint, model, optimizers, seed=seed, device=device)
        console.print(f"resuming {recipe.name} at step {done.step}")
    objective = torch.compile(loss) if compile_model else loss
    model.train()
    end = min(steps, stop_after) if stop_after is not None else steps
    stretch: list[float] = []
    with _progress(console) as bar:
        task = bar.add_task(recipe.name, total=steps, completed=done.step, loss="", speed="")
        while done.step < end:
            start = time.perf_counter()
            factor = optimizer.rate(
                done.step, steps=steps, warmup=recipe.warmup, decay_share=recipe.decay_share
            )
            for one, rates in zip(optimizers, base_rates, strict=True):
                for group, base in zip(one.param_groups, rates, strict=True):
                    group["lr"] = base * factor
            batch = recipe.batch(seed, done.step).to(device)
            value = objective(model, batch)
            value.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for one in optimizers:
                one.step()
                one.zero_grad()
            stretch.append(float(value.detach()))
            secs = time.perf_counter() - start
            done.step += 1
            done.tokens += batch.tokens
            done.secs += secs
            speed = f"{batch.tokens / secs:,.0f} tokens/s"
            bar.update(task, completed=done.step, loss=f"loss {stretch[-1]:.3f}", speed=speed)
            if done.step % recipe.score_every == 0 or done.step == end:
                done.losses.append(sum(stretch) / len(stretch))
                console.print(
                    f"step {done.step:>6}  loss {done.losses[-1]:.3f}  {speed}  {recipe.score(model, done.step)}"
                )
                stretch = []
            if done.step % checkpoint_every == 0 or done.step == end:
                save(checkpoint, model, optimizers, done, seed=seed)
    return model, done


def save(
    path: Path,
    model: PreTrainedModel,
    optimizers: list[torch.optim.Optimizer],
    done: Progression,
    *,
    seed: int,
) -> None:
    """A stop in the middle, or a full disk, leaves the last whole checkpoint. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state: dict[str, Any] = {
        "model": model.state_dict(),
        "optimizers": [one.state_dict() for one in optimizers],
        "progression": vars(done),
        "seed": seed,
    }
    whole = io.BytesIO()  # torch's own writing hides what the system said
    torch.save(state, whole)
    with replacing_file(path) as beside:
        beside.write_bytes(whole.getbuffer())


def restore(
    path: Path,
    model: PreTrainedModel,
    optimizers: list[torch.optim.Optimizer],
    *,
    seed: int,
    device: torch.device,
) -> Progression:
    state = torch.load(path, map_location=device, weights_only=True)
    if state["seed"] != seed:
        raise BadValue(f"The checkpoint was trained with seed {state['seed']}, not {seed}.", field="seed")
    model.load_state_dict(state["model"])
    for one, saved in zip(optimizers, state["optimizers"], strict=True):
        one.load_state_dict(saved)
    return Progression(**state["progression"])


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}"),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
        console=console,
    )
