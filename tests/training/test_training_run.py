"""Training itself: it learns, it resumes exactly, it refuses nonsense, and it writes a loadable folder."""

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from transformers import AutoModelForCausalLM, AutoTokenizer

from glassformer.errors import BadValue
from glassformer.training import loop, optimizer, sorter, train, training_run


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=160)


def short_run(folder: Path, console: Console, **options: Any) -> tuple[Any, loop.Progression]:
    recipe = training_run.recipe_of("sorter", sorter.tokenizer(), seed=3)
    return loop.run(
        recipe,
        seed=3,
        steps=12,
        device=torch.device("cpu"),
        checkpoint=folder / "checkpoint.pt",
        checkpoint_every=5,
        compile_model=False,
        console=console,
        **options,
    )


def test_resuming_equals_never_stopping(tmp_path: Path, console: Console):
    whole, done = short_run(tmp_path / "whole", console, resume=False)
    short_run(tmp_path / "parts", console, resume=False, stop_after=5)
    resumed, again = short_run(tmp_path / "parts", console, resume=True)
    assert (done.step, done.tokens) == (again.step, again.tokens) == (12, 12 * sorter.BATCH * 6)
    for (name, one), (_, other) in zip(whole.named_parameters(), resumed.named_parameters(), strict=True):
        assert torch.equal(one, other), name


def test_muon_resumes_too():
    def steps(parameter: torch.nn.Parameter, muon: optimizer.Muon, number: int) -> None:
        for _ in range(number):
            parameter.grad = parameter.detach().sin()
            muon.step()

    torch.manual_seed(0)
    start = torch.randn(6, 4)
    whole = torch.nn.Parameter(start.clone())
    steps(whole, optimizer.Muon([whole], lr=0.1), 6)
    half = torch.nn.Parameter(start.clone())
    first = optimizer.Muon([half], lr=0.1)
    steps(half, first, 3)
    second = optimizer.Muon([half], lr=0.1)
    second.load_state_dict(first.state_dict())
    steps(half, second, 3)
    assert torch.equal(whole, half)


def test_muon_updates_are_nearly_orthogonal():
    torch.manual_seed(0)
    for shape in ((3, 8, 5), (2, 5, 8)):
        singular = torch.linalg.svdvals(optimizer.orthogonalize(torch.randn(shape)))
        assert singular.min() > 0.5
        assert singular.max() < 1.3


def test_the_rate_warms_up_stays_and_falls():
    rates = [optimizer.rate(step, steps=100, warmup=10, decay_share=0.3) for step in range(100)]
    assert rates[0] == 0.1
    assert rates[10:70] == [1.0] * 60
    assert rates[70:] == sorted(rates[70:], reverse=True)
    assert 0 < rates[-1] < 0.05


def test_training_writes_a_folder_that_loads(tmp_path: Path, console: Console):
    trained = train("sorter", out_dir=tmp_path / "out", seed=1, steps=150, device="cpu", console=console)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert model(**tokenizer("CBABBC", return_tensors="pt")).logits.shape == (1, 6, 3)
    assert trained.steps == 150
    assert trained.scores["sorted"][1] == sorter.HELD_OUT
    assert not (tmp_path / "out" / "checkpoint.pt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("name", "options", "field"),
    [
        ("nothing", {}, "name"),
        ("sorter", {"steps": 0}, "steps"),
        ("sorter", {"device": "abacus"}, "device"),
    ],
)
def test_nonsense_is_refused(
    tmp_path: Path, console: Console, name: str, options: dict[str, Any], field: str
):
    with pytest.raises(BadValue) as caught:
        train(name, out_dir=tmp_path, console=console, **options)
    assert caught.value.field == field


def test_a_checkpoint_of_another_seed_is_refused(tmp_path: Path, console: Console):
    short_run(tmp_path, console, resume=False, stop_after=5)
    with pytest.raises(BadValue, match="seed 3"):
        train("sorter", out_dir=tmp_path, seed=4, steps=6, device="cpu", resume=True, console=console)
