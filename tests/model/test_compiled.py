"""Compiled blocks against transformers' own `generate()` and hidden states, and against what must not change."""

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
import torch
from tiny import make_tokenizer

sys.path.insert(0, str(Path(__file__).parents[1] / "families"))
sys.path.insert(0, str(Path(__file__).parents[1] / "engine"))
from building import build
from test_engine import GREEDY, start

from glassformer.engine.engine import Engine
from glassformer.engine.request import GenerationRequest
from glassformer.model import compiled, packing
from glassformer.model.attention import install
from glassformer.model.capture import Capture
from glassformer.model.compiled import CompiledBlock, install_compiled
from glassformer.model.load import LoadedModel, wrap_model
from glassformer.model.source import ModelSource
from glassformer.trace.recording import Recording

# Rotary and learned positions, soft caps and sliding windows, sinks, experts, latent attention, fused projections.
FAMILIES = ["llama", "gpt2", "gemma2", "gpt_oss", "qwen3_moe", "deepseek_v3", "phi3"]
PROMPT = [7, 11, 5, 23, 42, 9]


@pytest.fixture(autouse=True)
def even_if_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "WORTH", float("inf"))


def load(family: str) -> tuple[LoadedModel, list[int], torch.Tensor]:
    """A tiny model as the server holds it, what it writes after PROMPT, and the residuals of all that."""
    model = build(family).eval().requires_grad_(False)
    model.generation_config.eos_token_id = None
    ids = torch.tensor([PROMPT])
    written = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=20, do_sample=False, pad_token_id=0
    )
    hidden = model(written, output_hidden_states=True).hidden_states
    install(model)
    loaded = wrap_model(ModelSource(model_id=family, kind="folder", folder=None), model, make_tokenizer())
    loaded.eos_ids = frozenset()
    assert loaded.packing_fault is None
    return loaded, written[0, len(PROMPT) :].tolist(), torch.cat(hidden[:-1])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_recorded_text_is_what_transformers_writes(family: str) -> None:
    loaded, expected, residuals = load(family)
    blocks = loaded.structure.blocks
    assert install_compiled(loaded.model, blocks) is None
    ran = count_runs(blocks)
    recording = Recording(loaded.structure, "x")
    engine = Engine(loaded, max_running=4, max_waiting=0)
    request = GenerationRequest(PROMPT, GREEDY, max_new_tokens=20)
    assert start(engine, request, watcher=recording)[1].wait() == expected
    engine.close()
    assert ran == [20] * len(blocks)  # the prompt's six rows went through the model's own code
    for block in range(len(blocks)):
        torch.testing.assert_close(recording.residual(block), residuals[block], atol=2e-5, rtol=1e-4)


def test_what_somebody_looks_into_is_the_models_own() -> None:
    loaded, expected, _ = load("llama")
    blocks = loaded.structure.blocks
    assert install_compiled(loaded.model, blocks) is None
    ran = count_runs(blocks)
    engine = Engine(loaded, max_running=4, max_waiting=0)
    request = GenerationRequest(PROMPT, GREEDY, max_new_tokens=20)
    with Capture(loaded.structure, ["mlp_act.1"]).open():
        assert start(engine, request)[1].wait() == expected
    assert (ran[0], ran[1]) == (19, 0)
    engine.close()


def test_several_texts_at_once_are_the_models_own() -> None:
    loaded, expected, _ = load("llama")
    blocks = loaded.structure.blocks
    assert install_compiled(loaded.model, blocks) is None
    engine = Engine(loaded, max_running=4, max_waiting=0)
    request = GenerationRequest(PROMPT, GREEDY, max_new_tokens=20)
    readers = [start(engine, request)[1] for _ in range(3)]
    assert [reader.wait() for reader in readers] == [expected] * 3
    engine.close()


def test_a_block_that_fails_later_goes_on_with_its_own_code(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, expected, _ = load("llama")
    blocks = loaded.structure.blocks
    assert install_compiled(loaded.model, blocks) is None
    forward = blocks[1].forward
    assert isinstance(forward, CompiledBlock)

    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("recompiling failed")

    monkeypatch.setattr(forward.code, "run", fail)
    engine = Engine(loaded, max_running=4, max_waiting=0)
    request = GenerationRequest(PROMPT, GREEDY, max_new_tokens=20)
    assert start(engine, request)[1].wait() == expected
    engine.close()
    assert forward.code.fault == "compiling its blocks fails (RuntimeError)"


@pytest.mark.parametrize(
    ("worth", "tolerance", "reason"), [(0.0, 1e-4, "quicker"), (1e9, 0.0, "logits change")]
)
def test_what_gains_nothing_or_changes_logits_is_left_as_it_was(
    worth: float, tolerance: float, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "WORTH", worth)
    monkeypatch.setitem(packing.TOLERANCE, torch.float32, tolerance)
    model = build("llama").eval().requires_grad_(False)
    install(model)
    fault = install_compiled(model, list(model.model.layers))
    assert fault is not None
    assert reason in fault
    assert not any("forward" in vars(block) for block in model.model.layers)


WITHOUT_COMPILER = """
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from glassformer.model.attention import install
from glassformer.model.compiled import install_compiled

config = LlamaConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=2, vocab_size=64)
model = LlamaForCausalLM(config).eval().requires_grad_(False)
install(model)
print(install_compiled(model, list(model.model.layers)))
print(any("forward" in vars(block) for block in model.model.layers))
"""


def test_without_a_compiler_the_model_keeps_its_own_code(tmp_path: Path) -> None:
    # In a process of its own: inductor looks for its compiler once.
    env = {**os.environ, "CXX": "no-such-compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_COMPILER], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout == "compiling its blocks fails (InvalidCxxCompiler)\nFalse\n", done.stderr


def test_an_unloaded_model_is_gone() -> None:
    def unload() -> weakref.ref[torch.Tensor]:
        model = build("llama").eval().requires_grad_(False)
        install(model)
        install_compiled(model, list(model.model.layers))
        assert isinstance(model.model.layers[0].forward, CompiledBlock)
        return weakref.ref(model.lm_head.weight)

    weight = unload()
    gc.collect()
    assert weight() is None


def count_runs(blocks: list[torch.nn.Module]) -> list[int]:
    """How often each block's compiled code runs from now on, counted while it happens."""
    ran = [0] * len(blocks)
    for number, block in enumerate(blocks):
        assert isinstance(block.forward, CompiledBlock)
        run = block.forward.code.run

        def counting(*args: object, number: int = number, run: object = run, **kwargs: object) -> object:
            found = run(*args, **kwargs)  # type: ignore[operator]
            ran[number] += 1
            return found

        block.forward.code = Counted(counting)  # type: ignore[assignment]
    return ran


class Counted:
    """A block's code with its runs counted."""

    fault = None

    def __init__(self, run: object) -> None:
        self.run = run
