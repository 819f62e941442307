"""The real model, made or skipped with the reason, as the product and as transformers alone load it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import plain_llama
import pytest
import torch
from tiny import read_model

import glassformer
from glassformer.compute.linear import own_products

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "real_model.py"
UNAVAILABLE = 75
# A block that makes a cell so many times larger than any it read writes massive activations (Sun et al. 2024).
MASSIVE = 5.0
TEXT = "The capital of Spain is Madrid. The capital of France is"


@pytest.fixture(scope="session")
def folder() -> Path:
    """Where the model lies; what cannot be had is skipped, what goes wrong is not."""
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=False)
    said = done.stderr.strip().splitlines()
    if done.returncode == UNAVAILABLE:
        pytest.skip(said[-1])
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture(scope="session", params=["float32", "bfloat16"])
def dtype(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Sums that are split among threads have another order: bits are compared with as many threads on both sides."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def plain(folder: Path, dtype: str) -> Any:
    """The model as transformers alone has it, with PyTorch's fused attention."""
    return read_model(folder, dtype=getattr(torch, dtype), attn_implementation="sdpa")


@pytest.fixture(scope="session")
def model(folder: Path, dtype: str) -> glassformer.Model:
    """The model as a user of the product has it, with the products that are the quickest on this processor."""
    return glassformer.load(folder, dtype=dtype)


@pytest.fixture
def plain_products(model: glassformer.Model) -> Iterator[None]:
    """Without the quick products, whose sums have another order: inside, bits are transformers'."""
    with own_products(model.loaded.model):
        yield


@pytest.fixture(scope="session")
def token_ids(plain: Any, folder: Path) -> list[int]:
    """A prompt of 12 tokens."""
    from transformers import AutoTokenizer

    ids: list[int] = AutoTokenizer.from_pretrained(folder)(TEXT)["input_ids"]
    return ids


@pytest.fixture(scope="session")
def blocks(plain: Any, token_ids: list[int]) -> list[int]:
    """The first, a middle and the last block, and those with massive activations."""
    last = plain.config.num_hidden_layers - 1
    found = plain_llama.run(plain, token_ids, range(last + 1))
    largest = [float(found[f"resid_pre.{number}"].abs().max()) for number in range(last + 1)]
    largest.append(float(found[f"resid_post.{last}"].abs().max()))
    massive = [number for number in range(last + 1) if largest[number + 1] > MASSIVE * largest[number]]
    assert massive
    assert max(largest) > 1000 * float(found[f"resid_post.{last // 2}"].abs().median())
    return sorted({0, last // 2, last, *massive})
