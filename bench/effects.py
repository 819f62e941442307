"""What does it cost to test every word and part for one decision, in forwards of the text?

On a random Llama in the shape of SmolLM2-135M (30 blocks of 9 heads) whose weights were stored in 16 bits, with a
recorded text of 20 tokens at hand, in float32: everything; the parts of the last ten blocks, which a picture asks for
first; the words alone; one part switched off. Each is timed in turn with transformers' own forward of the same tokens.
Writes bench/results/effects.md, and fails where everything takes more than five forwards or the last ten blocks more
than two.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "bench")]

import torch  # noqa: E402
from lib.prepared import prepare  # noqa: E402
from lib.report import MACHINE, write_report  # noqa: E402
from transformers import LlamaConfig, LlamaForCausalLM  # noqa: E402

from glassformer.compute.computing import computing, working  # noqa: E402
from glassformer.loading.loaded import LoadedModel  # noqa: E402
from glassformer.reading.decision import Question  # noqa: E402
from glassformer.reading.effects import read_effects  # noqa: E402
from glassformer.reading.without import read_without  # noqa: E402
from glassformer.run.run import Run  # noqa: E402
from glassformer.run.run_store import RunStore  # noqa: E402

POSITIONS, ROUNDS = 20, 9
GOALS = {"all words and parts": 5.0, "the parts of the last ten blocks": 2.0}


def load() -> LoadedModel:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        tie_word_embeddings=True,
        eos_token_id=None,
        bos_token_id=None,
        pad_token_id=0,
    )
    model = LlamaForCausalLM(config).to(torch.bfloat16).float().eval().requires_grad_(False)
    return prepare(model, "llama-135m", is_checked=True)


def record(loaded: LoadedModel) -> Run:
    ids = list(range(7, 7 + POSITIONS))
    run = RunStore(2**30).create(loaded, ids, POSITIONS)
    with torch.inference_mode(), run.watcher.watch(slice(0, POSITIONS), 0, POSITIONS):
        loaded.model(input_ids=torch.tensor([ids]), use_cache=False)
    return run


def make_questions(run: Run) -> dict[str, Callable[[], object]]:
    """What is asked; each time about another token, so that no answer is at hand."""
    words = iter(range(100, 10_000))

    def effects(blocks: str | None) -> object:
        return read_effects(run, Question(token=next(words)), blocks=blocks)

    return {
        "all words and parts": lambda: effects(None),
        "the parts of the last ten blocks": lambda: effects("20-29"),
        "the parts of the ten before": lambda: effects("10-19"),
        "the parts of the first ten": lambda: effects("0-9"),
        "the words of the text": lambda: effects("none"),
        "without one head of block 24": lambda: read_without(run, ["head.24.4"], Question(token=next(words))),
    }


def measure(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def main() -> None:
    with working():
        loaded = load()
        run = record(loaded)
        ids = torch.tensor([run.token_ids])

        def forward() -> None:
            with torch.inference_mode(), computing(POSITIONS):
                loaded.model(input_ids=ids, use_cache=False)

        questions = make_questions(run)
        for call in (forward, *questions.values()):
            call()
        forwards: list[float] = []
        secs: dict[str, list[float]] = {name: [] for name in questions}
        for _ in range(ROUNDS):
            for name, call in questions.items():
                forwards.append(measure(forward))
                secs[name].append(measure(call))
    plain = statistics.median(forwards)
    rows, is_met = [], True
    for name, times in secs.items():
        taken = statistics.median(times)
        goal = GOALS.get(name)
        is_met = is_met and (goal is None or taken <= goal * plain)
        rows.append(f"| {name} | {taken:.3f} | {taken / plain:.2f} | {'' if goal is None else f'{goal:g}'} |")
        print(rows[-1], flush=True)
    write_report(
        "effects",
        "Every word and part taken out, in forwards of the text",
        [
            f"`bench/effects.py` on {MACHINE}, medians of {ROUNDS} rounds; a forward of {POSITIONS} tokens takes "
            f"{plain:.3f} s."
        ],
        ["| asked for | s | forwards | at most |", "|---|---:|---:|---:|"],
        rows,
    )
    sys.exit(0 if is_met else 1)


if __name__ == "__main__":
    main()
