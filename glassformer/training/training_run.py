"""`train(name)`: from a seed to a folder that loads like any hub model."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from glassformer.errors import BadValue
from glassformer.loading.plan import choose_device
from glassformer.training import card, held_out_score, loop, sorter, tales
from glassformer.training.loop import Progression, Recipe

HELD_OUT_SEED = 20_000  # of the documents that scores are measured on
WATCHED_DOCUMENTS = 250  # scored now and then while training
SCORED_DOCUMENTS = 2000  # scored for the card
TOLD_STORIES = 300  # told freely for the card
NAMES = ("sorter", "tales")


@dataclass(frozen=True)
class Trained:
    name: str
    folder: Path
    steps: int
    tokens: int
    secs: float
    scores: dict[str, tuple[int, int]]
    """Question kind (or `sorted`, or `told`) -> (right, asked) on held-out data."""


def train(
    name: str,
    *,
    out_dir: Path,
    seed: int = 0,
    steps: int | None = None,
    device: str = "auto",
    resume: bool = False,
    compile_model: bool = False,
    checkpoint_every: int = 500,
    console: Console | None = None,
) -> Trained:
    """Train `name` and write it to `out_dir` as a folder that `from_pretrained` loads, with its model card.

    While it runs, `out_dir/checkpoint.pt` holds what `resume` needs; it goes once the model is written. Resuming with
    other `steps` only moves the end. `compile_model` needs a C++ compiler on a CPU and saves about a fifth of the time.
    Raises BadValue for an unknown name or device, for no steps, and for a checkpoint of another seed.
    """
    if name not in NAMES:
        raise BadValue(f"There is no model {name!r} to train; there are {' and '.join(NAMES)}.", field="name")
    if steps is not None and steps < 1:
        raise BadValue("The number of steps must be at least 1.", field="steps")
    console = console or Console()
    chosen = choose_device(device)
    tokenizer = sorter.tokenizer() if name == "sorter" else tales.tokenizer(seed)
    recipe = recipe_of(name, tokenizer, seed=seed)
    checkpoint = out_dir / "checkpoint.pt"
    model, done = loop.run(
        recipe,
        seed=seed,
        steps=steps or recipe.steps,
        device=chosen,
        checkpoint=checkpoint,
        checkpoint_every=checkpoint_every,
        resume=resume,
        compile_model=compile_model and recipe.can_compile,
        console=console,
    )
    trained = export(recipe, model, tokenizer, done, out_dir=out_dir, seed=seed)
    checkpoint.unlink(missing_ok=True)
    return trained


def recipe_of(name: str, tokenizer: PreTrainedTokenizerFast, *, seed: int) -> Recipe:
    if name == "sorter":
        _, held_out = sorter.sequences(seed)

        def sorted_line(model: PreTrainedModel, step: int) -> str:
            right, asked = held_out_score.sorter_score(model, held_out)
            return f"sorted {right}/{asked}"

        return Recipe(
            name=name,
            model=sorter.model,
            batch=sorter.batch,
            score=sorted_line,
            steps=800,
            matrix_lr=0.0,
            other_lr=2e-3,
            weight_decay=0.3,
            warmup=100,
            decay_share=0.3,
            score_every=250,
            can_compile=False,
        )

    def answered_line(model: PreTrainedModel, step: int) -> str:
        documents = tales.held_out(HELD_OUT_SEED + 1, WATCHED_DOCUMENTS, level=tales.level(step))
        scores = held_out_score.tales_scores(model, tokenizer, documents)
        return "  ".join(f"{kind} {right / asked:.0%}" for kind, (right, asked) in scores.items())

    return Recipe(
        name=name,
        model=lambda: tales.model(tokenizer),
        batch=lambda seed, step: tales.batch(seed, step, tokenizer),
        score=answered_line,
        steps=12000,
        matrix_lr=0.01,
        other_lr=3e-3,
        weight_decay=0.01,
        warmup=200,
        decay_share=0.5,
        score_every=250,
        can_compile=True,
    )


def export(
    recipe: Recipe,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    done: Progression,
    *,
    out_dir: Path,
    seed: int,
) -> Trained:
    """Write weights, configuration, tokenizer and card, each renamed into place once it is whole."""
    model.eval()
    told: dict[str, int] | None = None
    if recipe.name == "sorter":
        scores = {"sorted": held_out_score.sorter_score(model, sorter.sequences(seed)[1])}
    else:
        scores = held_out_score.tales_scores(
            model, tokenizer, tales.held_out(HELD_OUT_SEED, SCORED_DOCUMENTS)
        )
        told = held_out_score.told(model, tokenizer, seed=HELD_OUT_SEED, number=TOLD_STORIES)
        scores["told"] = (told["whole"], TOLD_STORIES)
    page = card.write(
        recipe.name,
        model,
        done,
        scores,
        told=told,
        seed=seed,
        documents=SCORED_DOCUMENTS,
        decay_share=recipe.decay_share,
        device=model.device.type,
    )
    out_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out_dir.parent, prefix=f".{out_dir.name}-") as beside:
        model.save_pretrained(beside)
        tokenizer.save_pretrained(beside)
        page.save(Path(beside) / "README.md")
        for path in Path(beside).iterdir():
            path.chmod(0o644)  # safetensors makes its files private
            path.replace(out_dir / path.name)
    return Trained(recipe.name, out_dir, done.step, done.tokens, done.secs, scores)
