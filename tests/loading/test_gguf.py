"""GGUF files, written by the library that llama.cpp's own converter uses, open like any other model."""

import random
import struct
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from gguf_files import CONFIGS, HEADS, Kind, make_causal, write_gguf
from tiny import make_tokenizer

import glassformer as gf
from glassformer.errors import GlassformerError, ModelRefused
from glassformer.files.catalog import ModelSource
from glassformer.loading.form.recognise import open_form
from glassformer.loading.gguf.config import make_stand_in
from glassformer.loading.load import load_form, load_model
from glassformer.loading.loaded import LoadedModel
from glassformer.loading.options import LoadOptions
from glassformer.loading.room import plan_form

IDS = torch.tensor([[5, 9, 200, 31, 77, 300, 12, 8, 8, 1, 90, 44]])


def load(path: Path) -> LoadedModel:
    source = ModelSource(model_id="tiny", kind="folder", folder=path, root=path.parent)
    return load_model(source, path, device="cpu")


def difference(one: Any, other: Any) -> float:
    with torch.inference_mode():
        return float((one(IDS).logits - other(IDS).logits).abs().max())


@pytest.mark.parametrize("family", CONFIGS)
def test_a_family_computes_what_it_was_written_from(family: str, tmp_path: Path) -> None:
    model = make_causal(family)
    found = load(write_gguf(tmp_path / "tiny.gguf", model))
    # Mamba's decay is kept as its exponential.
    assert difference(found.model, model) <= (1e-5 if family == "mamba" else 0)
    assert found.note == ""
    assert found.encode("the quick") == make_tokenizer()("the quick")["input_ids"]
    assert found.eos_ids == {1}


@pytest.mark.parametrize(
    "kind", [Kind.F16, Kind.BF16, Kind.Q8_0, Kind.Q4_1, Kind.Q5_0, Kind.Q4_0, Kind.MXFP4]
)
def test_each_type_is_unpacked_as_ggml_does(kind: Kind, tmp_path: Path) -> None:
    model = make_causal("llama")
    path = write_gguf(tmp_path / "tiny.gguf", model, kind=kind)
    found = load(path)
    reader = gguf.GGUFReader(path)
    for name, ours in [("ffn_gate", "mlp.gate_proj"), ("attn_v", "self_attn.v_proj")]:
        tensor = next(one for one in reader.tensors if one.name == f"blk.1.{name}.weight")
        whole = gguf.dequantize(tensor.data, tensor.tensor_type)
        parameter = f"model.layers.1.{ours}.weight"
        assert np.array_equal(found.model.get_parameter(parameter).numpy(), whole)
        assert found.stored[parameter] == kind.name


def test_the_library_s_newer_reader_says_how_weights_are_kept_too(tmp_path: Path) -> None:
    kept = load(write_gguf(tmp_path / "tiny.gguf", make_causal("lfm2"), kind=Kind.Q8_0)).stored
    assert kept["model.layers.0.conv.in_proj.weight"] == "Q8_0"
    assert kept["model.layers.1.self_attn.q_proj.weight"] == "Q8_0"


@pytest.mark.parametrize(
    ("family", "config", "metadata"),
    [
        ("llama", {"rope_type": "linear", "factor": 2.0}, {"type": "linear", "factor": 2.0}),
        (
            "qwen2",
            {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
            {"type": "yarn", "factor": 4.0, "original_context_length": 64},
        ),
    ],
)
def test_scaled_positions_are_scaled(
    family: str, config: dict[str, Any], metadata: dict[str, Any], tmp_path: Path
) -> None:
    model = make_causal(family, rope_parameters={"rope_theta": 1e4, **config})
    path = write_gguf(
        tmp_path / "tiny.gguf",
        model,
        metadata={f"rope.scaling.{key}": value for key, value in metadata.items()},
    )
    assert difference(load(path).model, model) == 0


def test_llama3_scales_frequencies_by_a_tensor(tmp_path: Path) -> None:
    scaling = {
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    model = make_causal("llama", rope_parameters={"rope_type": "llama3", "rope_theta": 5e5, **scaling})
    plain = make_causal("llama", rope_parameters={"rope_type": "default", "rope_theta": 5e5})
    factors = (plain.model.rotary_emb.inv_freq / model.model.rotary_emb.inv_freq).numpy()
    path = write_gguf(tmp_path / "tiny.gguf", model, tensors={"rope_freqs.weight": factors})
    assert difference(load(path).model, model) == 0
    odd = write_gguf(tmp_path / "odd.gguf", model, tensors={"rope_freqs.weight": factors * 1.5})
    with pytest.raises(ModelRefused, match="not Llama 3's"):
        load(odd)


def test_memory_is_known_before_a_weight_is_read(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "tiny.gguf", make_causal("llama"), kind=Kind.Q4_1)
    plan = plan_form(LoadOptions(device="cpu"), open_form(path))
    assert plan.needed_bytes == load(path).bytes > 4 * path.stat().st_size - 100_000


def test_a_wide_layout_of_tensors_makes_nothing_longer_but_the_file(tmp_path: Path) -> None:
    """The writer of the library aligns as `general.alignment` says; what stands in for the file does not."""
    model = make_causal("llama")
    path = write_gguf(tmp_path / "tiny.gguf", model, metadata={"general.alignment": 2**20})
    assert path.stat().st_size > 2**20
    assert len(make_stand_in(open_form(path).header)) < 2**16
    assert load(path).model.config.hidden_size == model.config.hidden_size


def test_how_far_it_is_is_told_while_weights_are_unpacked(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "tiny.gguf", make_causal("llama"), kind=Kind.Q4_1)
    form = open_form(path)
    shares: list[float] = []
    source = ModelSource(model_id="tiny", kind="folder", folder=path)
    load_form(source, form, plan_form(LoadOptions(device="cpu"), form), on_fraction=shares.append)
    assert shares == sorted(set(shares))
    assert len(shares) == len(form.header.tensors)
    assert shares[-1] == 1.0


def test_a_model_in_parts(tmp_path: Path) -> None:
    model = make_causal("llama")
    write_gguf(tmp_path / "tiny.gguf", model, split_max_tensors=9)
    parts = sorted(tmp_path.glob("tiny-*.gguf"))
    assert len(parts) == 3
    assert difference(load(parts[0]).model, model) == 0
    assert difference(gf.load(tmp_path).loaded.model, model) == 0
    with pytest.raises(ModelRefused, match="name its first part"):
        load(parts[1])
    parts[2].unlink()
    with pytest.raises(ModelRefused, match="lacks 1 of its 3 parts"):
        load(parts[0])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", make_causal("llama")).read_bytes()


@pytest.mark.parametrize("share", [0.0001, 0.001, 0.01, 0.05, 0.3, 0.999])
def test_a_file_that_is_cut_says_so(share: float, whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ModelRefused, match=r"cut off|no GGUF"):
        open_form(path)


def set_number(data: bytes, key: str, value: int) -> bytes:
    at = data.index(key.encode()) + len(key) + 4
    return data[:at] + struct.pack("<I", value) + data[at + 4 :]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda data: b"GGML" + data[4:], "no GGUF"),
        (lambda data: data[:4] + struct.pack("<I", 9) + data[8:], "version 9"),
        (lambda data: data[:4] + struct.pack(">I", 3) + data[8:], "big-endian"),
        (lambda data: data[:8] + struct.pack("<Q", 2**60) + data[16:], "announces"),
        (lambda data: data[:16] + struct.pack("<Q", 2**40) + data[24:], "announces"),
        (lambda data: data[:24] + struct.pack("<Q", 2**63) + data[32:], "cut off"),
        (lambda data: set_number(data, "llama.block_count", 2**30), "announces"),
        (lambda data: set_number(data, "llama.block_count", 7), "announces 7 blocks and holds 2"),
        (lambda data: set_number(data, "llama.feed_forward_length", 2**30), "of shape"),
        (lambda data: set_number(data, "llama.embedding_length", 2**20), "of shape"),
        (lambda data: data.replace(b"llama", b"lllma"), "lllma"),
    ],
)
def test_a_file_that_lies_is_refused_and_nothing_is_built(
    change: Any, sentence: str, whole: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(change(whole))
    with pytest.raises(GlassformerError, match=sentence) as caught:
        load(path)
    assert str(tmp_path) not in caught.value.message


def test_a_tensor_outside_the_file(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "tiny.gguf", make_causal("llama"))
    data = path.read_bytes()
    at = data.index(b"blk.0.ffn_up.weight") + len(b"blk.0.ffn_up.weight") + 4 + 16 + 4
    path.write_bytes(data[:at] + struct.pack("<Q", 2**62) + data[at + 8 :])
    with pytest.raises(ModelRefused, match=r"lies about its sizes: 'blk.0.ffn_up.weight'"):
        open_form(path)


HALF = {"attention.key_length": 16, "rope.dimension_count": 8}


def test_what_would_compute_something_else_is_refused(tmp_path: Path) -> None:
    model = make_causal("llama")
    extra = {"blk.0.attn_q_norm.weight": np.ones(16, dtype=np.float32)}
    with pytest.raises(ModelRefused, match=r"holds 'blk.0.attn_q_norm.weight'"):
        load(write_gguf(tmp_path / "extra.gguf", model, tensors=extra))
    with pytest.raises(ModelRefused, match="with 8 experts"):
        load(write_gguf(tmp_path / "experts.gguf", model, metadata={"expert_count": 8}))
    with pytest.raises(ModelRefused, match=r"logit_scale = 0.5"):
        load(write_gguf(tmp_path / "scaled.gguf", model, metadata={"logit_scale": 0.5}))
    with pytest.raises(ModelRefused, match="turns 8 of 16 features"):
        load(
            write_gguf(
                tmp_path / "turned.gguf",
                model,
                metadata=HALF,
            )
        )
    noted = load(write_gguf(tmp_path / "noted.gguf", model, metadata={"some.new_thing": 3}))
    assert "says some.new_thing of the model" in noted.note


@pytest.mark.parametrize(
    ("architecture", "sentence"),
    [
        ("granite", "not read here from GGUF; bloom, falcon"),
        ("clip", "what a multimodal model sees with"),
    ],
)
def test_an_architecture_that_is_not_read_is_named_with_those_that_are(
    architecture: str, sentence: str, tmp_path: Path
) -> None:
    writer = gguf.GGUFWriter(tmp_path / "tiny.gguf", architecture)
    writer.add_tensor("token_embd.weight", np.zeros((4, 4), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ModelRefused, match=sentence):
        open_form(tmp_path / "tiny.gguf")


def test_a_file_without_a_tokenizer(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "tiny.gguf", make_causal("llama"))
    path.write_bytes(path.read_bytes().replace(b"tokenizer.ggml.tokens", b"tokenizer.ggml.tokenz"))
    with pytest.raises(ModelRefused, match="has no tokenizer"):
        load(path)


def test_digits_are_tokens_each_where_the_file_says_so(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "tiny.gguf", make_causal("llama"), pre="smollm")
    tokenizer = open_form(path).read_tokenizer()
    cut = tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str("in 2024")
    assert [piece for piece, _ in cut] == ["in", "Ġ", "2", "0", "2", "4"]


def test_everything_works_on_it(tmp_path: Path) -> None:
    """A recording, its reading and explanations, and what its anatomy says of how weights are kept."""
    path = write_gguf(tmp_path / "tiny.gguf", make_causal("llama"), kind=Kind.Q8_0)
    model = gf.load(path)
    assert model.model_id == "tiny.gguf"
    made = model.trace("the quick brown fox", max_new_tokens=3)
    assert made.explain("attn_probs.1", (HEADS - 1, 3, 1)).difference < 1e-6
    reading = made.reading()
    assert sum(part.value for part in reading.parts) + reading.remainder == pytest.approx(
        reading.logit, abs=1e-4
    )
    kept = {weight.name: (weight.dtype, weight.stored) for weight in model.list_weights()}
    assert kept["model.layers.0.self_attn.q_proj.weight"] == ("float32", "Q8_0")
    assert kept["model.norm.weight"] == ("float32", None)
    statuses = {site.check.status for block in model.anatomy.blocks for site in block.sites}
    assert statuses <= {"exact", "close"}


def test_no_damage_is_met_by_anything_but_a_sentence(whole: bytes, tmp_path: Path) -> None:
    """Bytes of the header changed at random, one to eight at a time: refused, or read, and nothing else."""
    choose = random.Random(7)
    end = whole.index(b"blk.1.ffn_up.weight") + 200
    told: list[str] = []
    for _ in range(200):
        data = bytearray(whole)
        for place in choose.choices(range(4, end), k=choose.randrange(1, 9)):
            data[place] = choose.choice((0, 1, 0x7F, 0xFF, choose.randrange(256)))
        (tmp_path / "tiny.gguf").write_bytes(data)
        try:
            form = open_form(tmp_path / "tiny.gguf")
            form.read_config()
            form.read_tokenizer()
        except GlassformerError as error:
            told.append(error.message)
    assert 20 < len(told) < 200
    assert max(map(len, told)) < 1500
