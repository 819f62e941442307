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

from glassformer.capture.capture import Capture
from glassformer.compute import compiled, likeness, linear, product
from glassformer.compute.attention import install
from glassformer.compute.compiled import Code, CompiledForward, install_compiled
from glassformer.compute.key_value import KeyValueStore, PackedSpan
from glassformer.compute.linear import install_products
from glassformer.compute.packing import compute_packed
from glassformer.engine.engine import Engine
from glassformer.engine.generation_request import GenerationRequest
from glassformer.engine.sequence import Watcher
from glassformer.files.catalog import Catalog, ModelSource
from glassformer.loading.load import wrap_model
from glassformer.loading.loaded import LoadedModel
from glassformer.protocol.messages import Intervention
from glassformer.registry.registry import Registry
from glassformer.run.intervention import Intervened
from glassformer.run.recording import Recording
from glassformer.run.run_store import RunStore

# Rotary and learned positions, soft caps and sliding windows, sinks, experts, latent attention, fused projections.
FAMILIES = ["llama", "gpt2", "gemma2", "gpt_oss", "qwen3_moe", "deepseek_v3", "phi3"]
PROMPT = [7, 11, 5, 23, 42, 9]


@pytest.fixture(autouse=True)
def even_if_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "WORTH", float("inf"))


def load(
    family: str, dtype: torch.dtype = torch.float32, stored: torch.dtype = torch.float32
) -> tuple[LoadedModel, list[int], torch.Tensor]:
    """A tiny model as the server holds it, what it writes after PROMPT, and the residuals of all that."""
    model = build(family).to(stored).to(dtype).eval().requires_grad_(False)
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


def compile_blocks(loaded: LoadedModel) -> str | None:
    return install_compiled(
        loaded.model, loaded.structure.blocks, vocab=loaded.vocab, context=loaded.context
    )[0]


def write(loaded: LoadedModel, watcher: Watcher | None = None) -> list[int]:
    """Twenty tokens after PROMPT, through an engine."""
    engine = Engine(loaded, max_running=4, max_waiting=0)
    try:
        request = GenerationRequest(PROMPT, GREEDY, max_new_tokens=20)
        return start(engine, request, watcher=watcher)[1].wait()
    finally:
        engine.close()
        engine.join(10)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_recorded_text_is_what_transformers_writes(family: str) -> None:
    loaded, expected, residuals = load(family)
    blocks = loaded.structure.blocks
    assert compile_blocks(loaded) is None
    ran = count_runs(blocks)
    recording = Recording(loaded.structure, "x")
    assert write(loaded, recording) == expected
    assert ran == [20] * len(blocks)  # the prompt's six rows went through the model's own code
    for block in range(len(blocks)):
        torch.testing.assert_close(recording.residual(block), residuals[block], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_blocks_of_16_bit_models_compile(family: str) -> None:
    loaded, _, _ = load(family, torch.bfloat16)  # may write something else: it rounds less often
    blocks = loaded.structure.blocks
    assert compile_blocks(loaded) is None
    ran = count_runs(blocks)
    assert len(write(loaded)) == 20
    assert ran == [19] * len(blocks)


def test_what_somebody_looks_into_is_the_models_own() -> None:
    loaded, expected, _ = load("llama")
    assert compile_blocks(loaded) is None
    ran = count_runs(loaded.structure.blocks)
    with Capture(loaded.structure, ["mlp_act.1"]).open():
        assert write(loaded) == expected
    assert ran == [19, 0, *[19] * (len(ran) - 2)]
    recording = Recording(loaded.structure, "x")
    frames: list[bytes] = []
    recording.subscribe(["q.0"], frames.append)  # attention is watched as a whole
    assert write(loaded, recording) == expected
    assert ran == [19, 0, *[19] * (len(ran) - 2)]
    assert len(frames) == 21


def test_an_intervened_text_is_that_of_the_models_own_code() -> None:
    change = Intervention(address="attn_out.1", operation="scale", value=-2.0)
    loaded, unchanged, _ = load("llama")

    def write_changed() -> list[int]:
        return write(loaded, Intervened(Recording(loaded.structure, "x"), loaded.structure, [change]))

    expected = write_changed()
    assert expected != unchanged
    assert compile_blocks(loaded) is None
    assert write_changed() == expected


def test_several_texts_at_once_are_the_models_own() -> None:
    loaded, _, _ = load("llama")
    assert compile_blocks(loaded) is None
    ran = count_runs(loaded.structure.blocks)
    spans = [PackedSpan(slice(row, row + 1), 0, KeyValueStore()) for row in range(3)]
    with torch.inference_mode():
        compute_packed(loaded.model, [5, 6, 7], [0, 0, 0], spans, [0, 1, 2])
        assert ran == [0] * len(ran)
        compute_packed(loaded.model, [5], [0], [PackedSpan(slice(0, 1), 0, KeyValueStore())], [0])
    assert ran == [1] * len(ran)


def test_looking_at_a_recording_leaves_compiled_code_in_place() -> None:
    registry = Registry(Catalog(), device="cpu", compiles_blocks=True)
    loaded = registry.load("tales").result()
    before = [block.forward for block in loaded.structure.blocks]
    assert all(isinstance(forward, CompiledForward) for forward in before)
    trace = RunStore(2**24).create(loaded, PROMPT, len(PROMPT))
    with torch.inference_mode(), trace.recording.watch(slice(0, len(PROMPT)), 0, len(PROMPT)):
        loaded.model(torch.tensor([PROMPT]), use_cache=False)
    trace.read_logits(2)
    trace.read("mlp_act.1")
    assert [block.forward for block in loaded.structure.blocks] == before


def test_it_goes_together_with_quick_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "FEWEST_BYTES", 0)
    monkeypatch.setattr(linear, "choose_ways", lambda weights, ways: {1: product.turned})
    loaded, expected, _ = load("phi3")
    assert install_products(loaded.model) == ({"float32": {1: "turned"}}, 0)
    assert compile_blocks(loaded) is None
    assert write(loaded) == expected


def test_weights_are_read_in_the_16_bits_they_were_stored_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "FEWEST_BYTES", 0)
    monkeypatch.setattr(linear, "choose_ways", lambda weights, ways: {1: product.turned})
    loaded, expected, _ = load("llama", stored=torch.bfloat16)
    install_products(loaded.model)
    blocks, head = loaded.structure.blocks, loaded.model.get_output_embeddings()
    linears = [module for module in loaded.model.modules() if isinstance(module, torch.nn.Linear)]
    wanted = sum(2 * layer.weight.numel() for layer in linears)

    def compile_with(spare_bytes: int) -> tuple[str | None, int]:
        return install_compiled(
            loaded.model, blocks, vocab=loaded.vocab, context=loaded.context, spare_bytes=spare_bytes
        )

    assert compile_with(wanted) == (None, wanted)
    assert isinstance(head.forward, CompiledForward)
    assert len({id(block.forward.code) for block in blocks}) == 1
    ran = count_runs(blocks)
    assert write(loaded) == expected
    assert ran == [19] * len(blocks)
    for part in (*blocks, head):
        del part.forward
    install_products(loaded.model)
    assert compile_with(wanted - 1) == (None, 0)
    assert write(loaded) == expected


def test_what_cannot_be_compiled_keeps_its_quick_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "FEWEST_BYTES", 0)
    monkeypatch.setattr(compiled, "WORTH", 0.0)
    loaded, expected, _ = load("llama")
    install_products(loaded.model)
    before = linear.list_shortened(loaded.model)
    assert "quicker" in str(compile_blocks(loaded))
    assert linear.list_shortened(loaded.model) == before
    assert "lm_head" in before
    assert write(loaded) == expected


def test_a_text_goes_on_while_another_model_is_compiled() -> None:
    writing, expected, _ = load("gemma2")
    other = load("llama")[0]
    engine = Engine(writing, max_running=4, max_waiting=100)
    try:
        request = GenerationRequest(PROMPT, GREEDY, max_new_tokens=20)
        texts = [start(engine, request)[1] for _ in range(40)]
        assert compile_blocks(other) is None
        assert [text.wait() for text in texts] == [expected] * len(texts)
    finally:
        engine.close()
        engine.join(10)


def test_other_models_go_on_while_one_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, expected, _ = load("llama")
    monkeypatch.setattr(torch.compiler, "_is_compiling_flag", True)  # what another thread's compiling sets
    assert torch.compiler.is_compiling()
    assert write(loaded) == expected
    assert loaded.model(torch.tensor([PROMPT])).logits.shape[1] == len(PROMPT)


def test_a_vocabulary_and_context_smaller_than_the_trial() -> None:
    registry = Registry(Catalog(), device="cpu", compiles_blocks=True)
    loaded = registry.load("sorter").result()
    assert (loaded.vocab, loaded.context) < (12, 12)
    assert all(isinstance(block.forward, CompiledForward) for block in loaded.structure.blocks)


def test_a_block_that_fails_later_goes_on_with_its_own_code(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, expected, _ = load("llama")
    assert compile_blocks(loaded) is None
    forward = loaded.structure.blocks[1].forward
    assert isinstance(forward, CompiledForward)

    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("no more")

    monkeypatch.setattr(forward, "code", fail)
    assert write(loaded) == expected
    assert forward.fault == "its compiled code fails (RuntimeError)"


def test_a_moment_without_memory_is_not_the_compiled_codes_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, expected, _ = load("llama")
    assert compile_blocks(loaded) is None
    forward = loaded.structure.blocks[1].forward
    ran = count_runs(loaded.structure.blocks)
    with monkeypatch.context() as context:

        def fail(*args: object, **kwargs: object) -> None:
            raise MemoryError

        context.setattr(KeyValueStore, "extend", fail)
        with pytest.raises(MemoryError), torch.inference_mode():
            compute_packed(loaded.model, [5], [0], [PackedSpan(slice(0, 1), 0, KeyValueStore())], [0])
    assert forward.fault is None
    assert write(loaded) == expected
    assert ran == [19] * len(ran)


def test_a_head_that_is_passed_over_keeps_its_own_code(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, expected, _ = load("llama")
    passed_over = torch.nn.Linear(8, 8)
    monkeypatch.setattr(loaded.model, "get_output_embeddings", lambda: passed_over)
    assert compile_blocks(loaded) is None
    assert "forward" not in vars(passed_over)
    assert write(loaded) == expected


@pytest.mark.parametrize(
    ("worth", "tolerance", "reason"), [(0.0, 1e-4, "quicker"), (1e9, 0.0, "logits change")]
)
def test_what_gains_nothing_or_changes_logits_is_left_as_it_was(
    worth: float, tolerance: float, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "WORTH", worth)
    monkeypatch.setitem(likeness.SHARES, torch.float32, tolerance)
    model = build("llama").eval().requires_grad_(False)
    install(model)
    fault, _ = install_compiled(model, list(model.model.layers), vocab=64, context=128)
    assert fault is not None
    assert reason in fault
    assert not any("forward" in vars(block) for block in model.model.layers)


WITHOUT_COMPILER = """
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from glassformer.compute.attention import install
from glassformer.compute.compiled import install_compiled

config = LlamaConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=2, vocab_size=64)
model = LlamaForCausalLM(config).eval().requires_grad_(False)
install(model)
print(install_compiled(model, list(model.model.layers), vocab=64, context=128)[0])
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
    def unload() -> list[weakref.ref[object]]:
        loaded, _, _ = load("llama")
        compile_blocks(loaded)
        write(loaded)
        block = loaded.structure.blocks[0]
        assert isinstance(block.forward, CompiledForward)
        return [weakref.ref(block), weakref.ref(block.mlp.down_proj.weight), weakref.ref(loaded.model)]

    left = unload()
    gc.collect()
    assert [one() for one in left] == [None] * 3


def count_runs(blocks: list[torch.nn.Module]) -> list[int]:
    """How often each block's compiled code runs from now on, counted while it happens."""
    ran = [0] * len(blocks)
    for number, block in enumerate(blocks):
        assert isinstance(block.forward, CompiledForward)
        code = block.forward.code

        def counting(*tensors: torch.Tensor, number: int = number, code: Code = code) -> object:
            found = code(*tensors)
            ran[number] += 1
            return found

        block.forward.code = counting
    return ran
