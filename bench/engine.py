"""What does the engine gain? Tokens per second and waiting times against the plain ways, in the same run.

Plain ways: a thread per request around transformers' `generate()` with its `TextIteratorStreamer`, and llama.cpp
through its Python binding where an interpreter that has it is named (`--llama PYTHON`, with the `gguf` package to write
the same weights in the same precision). Rounds alternate between the sides; ratios are medians over rounds. Writes
bench/results/engine.md. Takes about three quarters of an hour on two cores.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from os import cpu_count
from pathlib import Path
from typing import Any

import torch
from lib.llama_cpp_side import time_steps, write_gguf
from lib.shape import make_model, make_tokenizer
from torchao.quantization import Int8WeightOnlyConfig, quantize_
from transformers import TextIteratorStreamer

from glassformer import bundled
from glassformer.compute.attention import install, select_attention
from glassformer.compute.compiled import install_compiled
from glassformer.compute.linear import install_products
from glassformer.engine.engine import Engine
from glassformer.engine.generation_request import DecodedToken, GenerationRequest
from glassformer.engine.sequence import TokenSequence
from glassformer.engine.session import Session
from glassformer.files.catalog import Catalog, ModelSource
from glassformer.loading.load import load_model, wrap_model
from glassformer.loading.loaded import LoadedModel
from glassformer.protocol.messages import Sampling
from glassformer.registry.registry import Registry
from glassformer.run.recording import Recording

RESULTS = Path(__file__).parent / "results" / "engine.md"
GREEDY = Sampling(temperature=0)
STREAMS = {1: 1.3, 4: 3.0, 8: 5.0, 16: 8.0}
"""Numbers of streams, and the goal against a thread per request."""
PROMPT_TOKENS, NEW_TOKENS = 32, 48


def make_prompts(count: int, vocab: int, length: int = PROMPT_TOKENS) -> list[list[int]]:
    rng = random.Random(count)
    return [[rng.randrange(5, vocab) for _ in range(length)] for _ in range(count)]


def aside(call: Callable[[], Any]) -> Any:
    """Call in a thread that ends.

    OpenMP keeps workers for every thread that has computed, and once they are more than cores all of them wait less
    patiently: what prepares a measurement must leave none behind, as nothing in a server does (`measure_looking`).
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()


# --- the two sides -----------------------------------------------------------------------------------


def run_threads(loaded: LoadedModel, prompts: list[list[int]], new_tokens: int) -> tuple[float, list[float]]:
    """A thread per request. Seconds for all, and for each until its first text."""
    firsts = [0.0] * len(prompts)
    started = time.perf_counter()

    def work(number: int) -> None:
        model: Any = loaded.model
        streamer = TextIteratorStreamer(loaded.tokenizer, skip_prompt=True)
        ids = torch.tensor([prompts[number]])

        def write() -> None:
            model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=new_tokens,
                min_new_tokens=new_tokens,
                do_sample=False,
                streamer=streamer,
                pad_token_id=0,
            )

        writer = threading.Thread(target=write)
        writer.start()
        for piece in streamer:
            if piece and not firsts[number]:
                firsts[number] = time.perf_counter() - started
        writer.join()

    readers = [threading.Thread(target=work, args=(number,)) for number in range(len(prompts))]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    return time.perf_counter() - started, firsts


def run_engine(
    loaded: LoadedModel, prompts: list[list[int]], new_tokens: int, *, records: bool = True
) -> tuple[float, list[float]]:
    """The engine, recording every run. Seconds for all, and for each until its first token."""
    engine = Engine(loaded, max_running=len(prompts), max_waiting=0)
    firsts = [0.0] * len(prompts)
    ends = [threading.Event() for _ in prompts]
    faults: list[BaseException] = []
    started = time.perf_counter()
    for number, prompt in enumerate(prompts):
        recording = Recording(loaded.structure, str(number)) if records else None
        request = GenerationRequest(prompt, GREEDY, max_new_tokens=new_tokens)

        def step(token: DecodedToken, number: int = number) -> None:
            firsts[number] = firsts[number] or time.perf_counter() - started

        def end(error: BaseException | None, number: int = number) -> None:
            if error is not None:
                faults.append(error)
            ends[number].set()

        engine.submit(Session(TokenSequence(loaded, request, watcher=recording), step, end))
    for event in ends:
        event.wait()
    secs = time.perf_counter() - started
    engine.close()
    engine.join(10)
    if faults:
        raise faults[0]
    return secs, firsts


def alternate(
    rounds: int, plain: Callable[[], float], ours: Callable[[], float]
) -> tuple[float, float, float]:
    """Median seconds of both sides, and the median over rounds of plain / ours. One round first to warm up."""
    pairs = []
    for number in range(rounds + 1):
        pair = (plain(), ours())
        if number:
            pairs.append(pair)
    sides = [statistics.median(side) for side in zip(*pairs, strict=True)]
    return sides[0], sides[1], statistics.median(one / other for one, other in pairs)


# --- the questions -----------------------------------------------------------------------------------


def measure_streams(
    loaded: LoadedModel, name: str, rounds: int, counts: Sequence[int] = tuple(STREAMS)
) -> list[str]:
    rows = []
    for count in counts:
        prompts = make_prompts(count, loaded.vocab)

        def plain(prompts: list[list[int]] = prompts) -> float:
            select_attention(loaded.model, "sdpa")
            return run_threads(loaded, prompts, NEW_TOKENS)[0]

        def ours(prompts: list[list[int]] = prompts) -> float:
            install(loaded.model)
            return run_engine(loaded, prompts, NEW_TOKENS)[0]

        plain_secs, our_secs, ratio = alternate(rounds, plain, ours)
        total = count * NEW_TOKENS
        speeds = f"{total / plain_secs:.1f} | {total / our_secs:.1f}"
        rows.append(f"| {name} | {count} | {speeds} | {ratio:.2f} | {STREAMS[count]} |")
        print(rows[-1], flush=True)
    return rows


def measure_recording(loaded: LoadedModel, name: str, rounds: int) -> list[str]:
    rows = []
    install(loaded.model)
    for count in (1, 16):
        prompts = make_prompts(count, loaded.vocab)

        def off(prompts: list[list[int]] = prompts) -> float:
            return run_engine(loaded, prompts, NEW_TOKENS + 1, records=False)[0]

        def on(prompts: list[list[int]] = prompts) -> float:
            # A recording has the last token read too: one forward more for the same number of tokens.
            return run_engine(loaded, prompts, NEW_TOKENS)[0]

        off_secs, on_secs, ratio = alternate(2 * rounds, off, on)
        rows.append(f"| {name} | {count} | {off_secs * 1e3:.0f} | {on_secs * 1e3:.0f} | {ratio:.3f} | 0.97 |")
        print(rows[-1], flush=True)
    return rows


def measure_looking(loaded: LoadedModel, name: str, rounds: int) -> list[str]:
    """One stream after somebody has had something computed: in a thread that stays, or in one that ends."""
    install(loaded.model)
    prompts = make_prompts(1, loaded.vocab)

    def compute() -> None:
        square = torch.ones(600, 600)
        torch.mm(square, square)

    def stays() -> float:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(compute).result()
            return run_engine(loaded, prompts, NEW_TOKENS)[0]

    def ends() -> float:
        aside(compute)
        return run_engine(loaded, prompts, NEW_TOKENS)[0]

    stays_secs, ends_secs, ratio = alternate(rounds, stays, ends)
    speeds = f"{NEW_TOKENS / stays_secs:.1f} | {NEW_TOKENS / ends_secs:.1f}"
    rows = [f"| {name} | {speeds} | {ratio:.2f} |"]
    print(rows[-1], flush=True)
    return rows


def measure_first_tokens(loaded: LoadedModel, name: str) -> list[str]:
    """Sixteen clients at once, with prompts of 16 to 256 tokens."""
    rng = random.Random(3)
    prompts = [make_prompts(1, loaded.vocab, rng.randrange(16, 256))[0] for _ in range(16)]
    rows = []
    for side, run in (("a thread per request", run_threads), ("engine", run_engine)):
        if run is run_engine:
            install(loaded.model)
        else:
            select_attention(loaded.model, "sdpa")
        firsts = sorted(run(loaded, prompts, NEW_TOKENS)[1])
        rows.append(f"| {name} | {side} | {firsts[7]:.2f} | {firsts[15]:.2f} |")
        print(rows[-1], flush=True)
    return rows


def measure_stalls(loaded: LoadedModel, folder: Path) -> list[str]:
    """The longest time an event loop waits while sixteen streams run beside it and another large model loads."""
    install(loaded.model)
    registry = Registry(Catalog([folder]), device="cpu")
    prompts = make_prompts(16, loaded.vocab)

    async def beat(work: Callable[[], Any]) -> list[float]:
        running = asyncio.get_running_loop().run_in_executor(None, work)
        late: list[float] = []
        while not running.done():
            started = time.perf_counter()
            await asyncio.sleep(0.005)
            late.append(time.perf_counter() - started - 0.005)
        await running
        return sorted(late)

    def stream_and_load() -> None:
        loading = registry.load("large")
        run_engine(loaded, prompts, NEW_TOKENS)
        loading.result()

    rows = []
    for what, work in (
        ("16 streams", lambda: run_engine(loaded, prompts, NEW_TOKENS)),
        ("16 streams, and a 134M model loads", stream_and_load),
    ):
        late = asyncio.run(beat(work))
        rows.append(f"| {what} | {late[len(late) * 99 // 100] * 1e3:.0f} | {late[-1] * 1e3:.0f} | 50 |")
        print(rows[-1], flush=True)
    return rows


def measure_llama(case: Case, python: str, folder: Path, *, compiles: bool = False) -> list[str]:
    """One stream against llama.cpp: the same shape, weights and precision, as many threads, no sampling on its side.

    Both in processes that do nothing else, in turn.
    """
    target = folder / f"{case.gguf}.gguf"
    write_gguf(python, folder / "large" / "model.safetensors", target, case.gguf)
    theirs, ours = [], []
    for _ in range(3):
        rounds = time_steps(python, target, threads=torch.get_num_threads(), tokens=NEW_TOKENS)
        theirs += [NEW_TOKENS / secs for secs in rounds]
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            ours += pool.submit(time_engine, case, compiles=compiles).result()
    target.unlink()
    if not ours:
        return []
    plain, mine = statistics.median(theirs), statistics.median(ours)
    name = f"{case.name}, compiled" if compiles else case.name
    goal = "-" if case.is_int8 else "0.9"
    row = f"| {name} | {plain:.1f} | {mine:.1f} | {mine / plain:.2f} | {goal} |"
    print(row, flush=True)
    return [row]


def time_engine(case: Case, *, compiles: bool) -> list[float]:
    """Tokens per second of one recorded stream after its prompt, of five rounds; none where it is not compiled."""
    loaded = aside(partial(prepare, case))
    install(loaded.model)
    if compiles and not compile_model(loaded):
        return []
    prompts = make_prompts(1, loaded.vocab)
    speeds = []
    for _ in range(6):
        read = run_engine(loaded, prompts, 1)[0]
        speeds.append(NEW_TOKENS / (run_engine(loaded, prompts, NEW_TOKENS + 1)[0] - read))
    return speeds[1:]


@dataclass(frozen=True)
class Case:
    """The random model in a number format, with weights that were `stored` in the same or in fewer bits.

    `gguf` is what llama.cpp keeps them in.
    """

    name: str
    dtype: torch.dtype
    stored: torch.dtype
    gguf: str
    is_int8: bool = False


CASES = (
    Case("f32", torch.float32, torch.float32, "f32"),
    # What most checkpoints are, loaded as `--dtype auto` does on a CPU.
    Case("f32 stored in bf16", torch.float32, torch.bfloat16, "bf16"),
    Case("bf16", torch.bfloat16, torch.bfloat16, "bf16"),
)
INT8 = Case("int8 computed in bf16", torch.bfloat16, torch.bfloat16, "q8_0", is_int8=True)


def prepare(case: Case) -> LoadedModel:
    """The random model, ready for the engine."""
    model: Any = make_model(case.stored).to(case.dtype)
    if case.is_int8:  # the blocks, as `--quantize int8` does it
        quantize_(model.model, Int8WeightOnlyConfig())
    install(model)
    install_products(model, spare_bytes=2**32)
    loaded = wrap_model(ModelSource(model_id=case.name, kind="folder", folder=None), model, make_tokenizer())
    if loaded.packing_fault is not None:
        raise SystemExit(f"The model does not pack: {loaded.packing_fault}.")
    return loaded


def save_model(folder: Path) -> None:
    """The random model in a folder, for llama.cpp to read and for the registry to load."""
    make_model().save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)


def compile_model(loaded: LoadedModel) -> bool:
    """As `--compile-blocks` does it while loading; whether that is kept."""
    install(loaded.model)
    compiling = partial(
        install_compiled,
        loaded.model,
        loaded.structure.blocks,
        vocab=loaded.vocab,
        context=loaded.context,
        spare_bytes=2**32,
    )
    fault, _ = aside(compiling)
    if fault is not None:
        print(f"{loaded.model_id} is not compiled: {fault}.", flush=True)
    return fault is None


def prepare_tales() -> LoadedModel:
    """The bundled model, made to write on past the end of a story."""
    tales = load_model(Catalog().find("tales"), bundled.TALES.folder, device="cpu")
    install(tales.model)
    install_products(tales.model, spare_bytes=2**32)
    tales.eos_ids = frozenset()
    tales.model.generation_config.eos_token_id = None
    return tales


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--llama", help="a Python interpreter that has llama-cpp-python and gguf")
    arguments = parser.parse_args()
    streams, recording, looking, firsts, stalls, llama = [], [], [], [], [], []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        save_model(folder / "large")
        for case in CASES:
            loaded, name = aside(partial(prepare, case)), f"134M {case.name}"
            streams += measure_streams(loaded, name, arguments.rounds)
            recording += measure_recording(loaded, name, arguments.rounds)
            looking += measure_looking(loaded, name, arguments.rounds)
            firsts += measure_first_tokens(loaded, name)
            if arguments.llama:
                llama += measure_llama(case, arguments.llama, folder)
            if case is CASES[0]:
                stalls += measure_stalls(loaded, folder)
            if compile_model(loaded):
                streams += measure_streams(loaded, f"{name}, compiled", arguments.rounds, [1])
                looking += measure_looking(loaded, f"{name}, compiled", arguments.rounds)
                if arguments.llama:
                    llama += measure_llama(case, arguments.llama, folder, compiles=True)
        tales = aside(prepare_tales)
        streams += measure_streams(tales, "tales", arguments.rounds)
        if compile_model(tales):
            streams += measure_streams(tales, "tales, compiled", arguments.rounds, [1])
        # Last: torchao changes what inductor does.
        loaded = aside(partial(prepare, INT8))
        streams += measure_streams(loaded, f"134M {INT8.name}", arguments.rounds, [1, 16])
        if arguments.llama:
            llama += measure_llama(INT8, arguments.llama, folder)
    lines = [
        "# What does the engine gain?",
        "",
        f"`bench/engine.py` on {cpu_count()} cores ({platform.machine()}), torch {torch.__version__}; 134M is a random",
        f"Llama shape (vocabulary 32,000, width 768, 12 blocks, 12 heads, MLP 2048). {NEW_TOKENS} greedy tokens after",
        f"{PROMPT_TOKENS}, the prompt's reading included; medians of {arguments.rounds} rounds that alternate. Where",
        "compiled blocks were no quicker they were not kept, and have no row.",
        "",
        "## Total tokens per second against a thread per request around `generate()`, every run recorded",
        "",
        "| model | streams | threads | engine | ratio | goal |",
        "|---|---:|---:|---:|---:|---:|",
        *streams,
        "",
        "## What recording costs: milliseconds for as many forwards",
        "",
        "| model | streams | off | on | off / on | goal |",
        "|---|---:|---:|---:|---:|---:|",
        *recording,
        "",
        "## What it costs that somebody has looked: tokens per second of one stream",
        "",
        "The cells were read in a thread that stays, as in a pool of threads, or in one that ends, as the server reads",
        "them.",
        "",
        "| model | stays | ends | ratio |",
        "|---|---:|---:|---:|",
        *looking,
        "",
        "## Seconds to the first token, 16 clients at once, prompts of 16 to 256 tokens",
        "",
        "| model | side | p50 | p95 |",
        "|---|---|---:|---:|",
        *firsts,
        "",
        "## Milliseconds that an event loop in the same process waits",
        "",
        "| meanwhile | p99 | longest | goal |",
        "|---|---:|---:|---:|",
        *stalls,
        "",
    ]
    if llama:
        lines += [
            "## One stream, recorded, against llama.cpp: tokens per second after the prompt",
            "",
            "Each side in processes that do nothing else, in turn. llama.cpp has the blocks' int8 weights as Q8_0, and",
            "makes the rows that they are multiplied with int8 as well.",
            "",
            "| weights | llama.cpp | engine | ratio | goal |",
            "|---|---:|---:|---:|---:|",
            *llama,
            "",
        ]
    text = "\n".join(lines)
    print(text)
    RESULTS.write_text(text)


if __name__ == "__main__":
    main()
