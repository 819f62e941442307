"""Checkpoints in GPTQ, AWQ, MLX's affine and MXFP4 packing load as the matrices that they stand for.

The packing is written here anew, number by number, from what each format says of itself:
AutoGPTQ's `QuantLinear.pack`, AutoAWQ's `WQLinear_GEMM.from_linear`, MLX's `mlx.core.quantize`, and OCP Microscaling
Formats 1.0 with the layout of gpt-oss' weights.
"""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_tower import make_whole
from tiny import make_model
from torch import Tensor
from transformers import AutoModelForCausalLM

from glassformer.anatomy.checkup import build_anatomy
from glassformer.errors import GlassformerError, ModelRefused
from glassformer.files.catalog import ModelSource
from glassformer.loading.form.recognise import open_form
from glassformer.loading.load import load_model
from glassformer.loading.options import LoadOptions
from glassformer.loading.plan import Plan, plan_load
from glassformer.loading.reading import BUILDING

GROUP = 16
SHAPE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
Parts = dict[str, Tensor]


def load(folder: Path, **options: Any) -> Any:
    source = ModelSource(model_id="tiny", kind="folder", folder=folder, root=folder.parent)
    return load_model(source, folder, device="cpu", **options)


def plan(folder: Path) -> Plan:
    form = open_form(folder)
    return plan_load(form.read_config(), form.list_tensors(), LoadOptions(device="cpu"))


def put(numbers: list[list[int]], bits: int, order: tuple[int, ...] | None = None) -> Tensor:
    """Rows of whole numbers, packed along each row from the lowest bits of a word up, as int32."""
    count = 32 // bits
    rows = []
    for row in numbers:
        words = []
        for start in range(0, len(row), count):
            word = 0
            for place in range(count):
                word |= row[start + (order[place] if order else place)] << (bits * place)
            words.append(word - 2**32 if word >= 2**31 else word)
        rows.append(words)
    return torch.tensor(rows, dtype=torch.int32)


def draw(d_out: int, d_in: int, bits: int, choose: random.Random, groups: int) -> tuple[Any, Any, Tensor]:
    """Numbers [d_in][d_out], zeros [group][d_out] and scales [group, d_out] that a float16 holds."""
    numbers = [[choose.randrange(2**bits) for _ in range(d_out)] for _ in range(d_in)]
    zeros = [[choose.randrange(2**bits) for _ in range(d_out)] for _ in range(groups)]
    scales = torch.tensor([[choose.uniform(0.01, 0.1) for _ in range(d_out)] for _ in range(groups)]).half()
    return numbers, zeros, scales


def transpose(rows: list[list[int]]) -> list[list[int]]:
    return [list(column) for column in zip(*rows, strict=True)]


def stand_for(numbers: Any, zeros: Any, scales: Tensor, groups: list[int]) -> Tensor:
    """(number - zero) * scale, [d_out, d_in], in double precision, and then float32."""
    rows = [
        [(number - zeros[group][o]) * float(scales[group][o]) for o, number in enumerate(row)]
        for row, group in zip(numbers, groups, strict=True)
    ]
    return torch.tensor(rows, dtype=torch.float64).T.float()


def pack_gptq(
    shape: tuple[int, int],
    choose: random.Random,
    *,
    bits: int,
    is_first: bool,
    is_shuffled: bool,
    has_index: bool,
) -> tuple[Parts, Tensor]:
    d_out, d_in = shape
    count = d_in // GROUP
    numbers, zeros, scales = draw(d_out, d_in, bits, choose, count)
    groups = [i // GROUP for i in range(d_in)]
    if is_shuffled:  # act-order: the inputs of a group lie anywhere
        choose.shuffle(groups)
    kept = [[(zero - 1) % 2**bits for zero in row] for row in zeros] if is_first else zeros
    parts = {
        "qweight": put(transpose(numbers), bits).T.contiguous(),
        "qzeros": put(kept, bits),
        "scales": scales,
        "g_idx": torch.tensor(groups, dtype=torch.int32),
    }
    if not has_index:
        del parts["g_idx"]
    return parts, stand_for(numbers, zeros, scales, groups)


def pack_awq(shape: tuple[int, int], choose: random.Random) -> tuple[Parts, Tensor]:
    d_out, d_in = shape
    numbers, zeros, scales = draw(d_out, d_in, 4, choose, d_in // GROUP)
    order = (0, 2, 4, 6, 1, 3, 5, 7)
    parts = {"qweight": put(numbers, 4, order), "qzeros": put(zeros, 4, order), "scales": scales}
    return parts, stand_for(numbers, zeros, scales, [i // GROUP for i in range(d_in)])


def pack_mlx(shape: tuple[int, int], choose: random.Random, *, bits: int) -> tuple[Parts, Tensor]:
    d_out, d_in = shape
    numbers = [[choose.randrange(2**bits) for _ in range(d_in)] for _ in range(d_out)]
    scales, biases = (
        torch.tensor(
            [[choose.uniform(-0.1, 0.1) for _ in range(d_in // 32)] for _ in range(d_out)]
        ).bfloat16()
        for _ in range(2)
    )
    rows = [
        [float(scales[o][i // 32]) * number + float(biases[o][i // 32]) for i, number in enumerate(row)]
        for o, row in enumerate(numbers)
    ]
    parts = {"weight": put(numbers, bits).view(torch.uint32), "scales": scales, "biases": biases}
    return parts, torch.tensor(rows, dtype=torch.float64).float()


def write(
    folder: Path, pack: Callable[..., tuple[Parts, Tensor]], settings: dict[str, Any], **more: Any
) -> Any:
    """A checkpoint whose linear maps (and tables, where `more` says so) are packed; gives the model it stands for."""
    tables = more.pop("tables", False)
    make_model(folder, "llama", num_key_value_heads=2, **SHAPE)
    with BUILDING:
        model: Any = AutoModelForCausalLM.from_pretrained(folder).eval()
    choose = random.Random(5)
    tensors = load_file(folder / "model.safetensors")
    for name in [
        name for name in tensors if name.endswith("_proj.weight") or (tables and "embed_tokens" in name)
    ]:
        parts, whole = pack(tuple(tensors.pop(name).shape), choose, **more)
        base = name.removesuffix(".weight")
        tensors |= {f"{base}.{part}": value for part, value in parts.items()}
        model.get_parameter(name).data.copy_(whole)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **settings}))
    return model


def compare(folder: Path, model: Any) -> Any:
    loaded = load(folder)
    for name, whole in model.named_parameters():
        assert torch.equal(loaded.model.get_parameter(name), whole), name
    ids = torch.arange(5, 25)[None]
    with torch.inference_mode():
        assert torch.equal(loaded.model(ids).logits, model(ids).logits)
    assert plan(folder).needed_bytes == loaded.bytes
    return loaded


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize(
    ("kind", "is_shuffled", "has_index"),
    [("gptq", False, True), ("gptq", True, True), ("GPTQ_V2", True, True), (None, False, False)],
)
def test_gptq(tmp_path: Path, bits: int, kind: str | None, is_shuffled: bool, has_index: bool) -> None:
    settings = {"quant_method": "gptq", "bits": bits, "group_size": GROUP, "desc_act": is_shuffled}
    if kind:
        settings["checkpoint_format"] = kind
    more = {"bits": bits, "is_first": kind != "GPTQ_V2", "is_shuffled": is_shuffled, "has_index": has_index}
    model = write(tmp_path / "tiny", pack_gptq, {"quantization_config": settings}, **more)
    assert compare(tmp_path / "tiny", model).quantize == "gptq"


def test_awq(tmp_path: Path) -> None:
    settings = {"quant_method": "awq", "bits": 4, "group_size": GROUP, "version": "gemm", "zero_point": True}
    loaded = compare(tmp_path / "tiny", write(tmp_path / "tiny", pack_awq, {"quantization_config": settings}))
    anatomy = build_anatomy(loaded)
    kept = {weight.stored for block in anatomy.blocks for weight in block.weights if "_proj" in weight.name}
    assert (anatomy.refused, kept) == (None, {"AWQ 4 bit"})
    assert all(weight.stored is None for weight in anatomy.weights)


def test_the_language_model_inside_a_packed_whole(tmp_path: Path) -> None:
    """The two ways of reading meet: packed weights under the names of a whole model."""
    folder = tmp_path / "whole"
    make_whole(folder)
    plain = load(folder)
    choose = random.Random(2)
    tensors = load_file(folder / "model.safetensors")
    whole: dict[str, Tensor] = {}
    for name in [name for name in tensors if "language_model" in name and name.endswith("_proj.weight")]:
        parts, whole[name] = pack_awq(tuple(tensors.pop(name).shape), choose)
        tensors |= {f"{name.removesuffix('.weight')}.{part}": value for part, value in parts.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    settings = {"quant_method": "awq", "bits": 4, "group_size": GROUP, "version": "gemm"}
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": settings}))
    loaded = load(folder)
    assert plan(folder).needed_bytes == loaded.bytes == plain.bytes
    for name, expected in whole.items():
        tail = name[name.index("layers.") :]
        assert torch.equal(loaded.model.get_parameter(f"model.{tail}"), expected)
        assert loaded.stored[f"model.{tail}"] == "AWQ 4 bit"


@pytest.mark.parametrize("bits", [4, 8])
def test_mlx(tmp_path: Path, bits: int) -> None:
    """Which says so under a name of its own, packs its tables too, and may say otherwise of one layer."""
    settings = {"group_size": 32, "bits": 12 - bits, "model.embed_tokens": {"bits": bits, "group_size": 32}}
    every = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
    every += ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
    settings |= {f"model.layers.{i}.{name}": {"bits": bits} for i in range(2) for name in every}
    model = write(tmp_path / "tiny", pack_mlx, {"quantization": settings}, tables=True, bits=bits)
    assert compare(tmp_path / "tiny", model).quantize == "mlx"


def write_mxfp4(folder: Path) -> Any:
    """gpt-oss, whose experts are stored the other way round than transformers holds them; gives what it stands for."""
    shape = {
        **SHAPE,
        "intermediate_size": 32,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "num_local_experts": 4,
    }
    make_model(folder, "gpt_oss", num_experts_per_tok=2, **shape)
    with BUILDING:
        model: Any = AutoModelForCausalLM.from_pretrained(folder).eval()
    choose = random.Random(3)
    values = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]
    tensors = load_file(folder / "model.safetensors")
    for name in [name for name in tensors if name.endswith(("experts.gate_up_proj", "experts.down_proj"))]:
        experts, d_in, d_out = tensors.pop(name).shape
        codes = torch.tensor([choose.randrange(16) for _ in range(experts * d_out * d_in)]).view(
            experts, d_out, d_in
        )
        scales = torch.tensor([choose.randrange(118, 126) for _ in range(experts * d_out * (d_in // 32))])
        scales = scales.view(experts, d_out, d_in // 32)
        whole = torch.zeros(experts, d_in, d_out)
        blocks = torch.zeros(experts, d_out, d_in // 32, 16, dtype=torch.uint8)
        for e in range(experts):
            for o in range(d_out):
                for i in range(d_in):
                    code = int(codes[e, o, i])
                    value = values[code % 8] * (-1 if code >= 8 else 1)
                    whole[e, i, o] = value * 2.0 ** (int(scales[e, o, i // 32]) - 127)
                    blocks[e, o, i // 32, i % 32 // 2] |= code << (4 * (i % 2))
        tensors |= {f"{name}_blocks": blocks, f"{name}_scales": scales.to(torch.uint8)}
        model.get_parameter(name).data.copy_(whole)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    settings = {"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]}
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": settings}))
    return model


def test_mxfp4(tmp_path: Path) -> None:
    model = write_mxfp4(tmp_path / "tiny")
    assert compare(tmp_path / "tiny", model).quantize == "mxfp4"


@pytest.mark.parametrize(
    ("part", "change", "sentence"),
    [
        ("qzeros", lambda value: None, "it has no qzeros"),
        ("scales", lambda value: value[:, :-8], "does not fit together"),
        ("qweight", lambda value: value[:-1], "does not fit together"),
        ("g_idx", lambda value: value + 7, "groups that it does not have"),
    ],
)
def test_parts_that_do_not_fit_are_told(
    tmp_path: Path, part: str, change: Callable[[Tensor], Tensor | None], sentence: str
) -> None:
    folder = tmp_path / "tiny"
    settings = {"quant_method": "gptq", "bits": 4, "group_size": GROUP}
    more = {"bits": 4, "is_first": True, "is_shuffled": False, "has_index": True}
    write(folder, pack_gptq, {"quantization_config": settings}, **more)
    tensors = load_file(folder / "model.safetensors")
    name = f"model.layers.0.self_attn.q_proj.{part}"
    changed = change(tensors.pop(name))
    tensors |= {} if changed is None else {name: changed.contiguous()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(GlassformerError, match=sentence) as caught:
        load(folder)
    assert "q_proj" in caught.value.message


@pytest.mark.parametrize(
    "settings",
    [
        {"quant_method": "gptq", "bits": 3, "group_size": GROUP},
        {"quant_method": "gptq", "bits": 4, "checkpoint_format": "marlin"},
        {"quant_method": "awq", "bits": 4, "version": "gemv"},
        {"bits": 4, "group_size": 32, "mode": "nvfp4"},
        {"quant_method": "hqq"},
    ],
)
def test_other_kinds_are_refused_with_the_cure(tmp_path: Path, settings: dict[str, Any]) -> None:
    make_model(tmp_path / "tiny", "llama", **SHAPE)
    config = json.loads((tmp_path / "tiny" / "config.json").read_text())
    (tmp_path / "tiny" / "config.json").write_text(json.dumps({**config, "quantization_config": settings}))
    with pytest.raises(ModelRefused, match="GGUF of it"):
        load(tmp_path / "tiny")
