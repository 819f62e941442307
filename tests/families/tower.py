"""The language model in every family that also reads pictures or sound: built whole, saved, and loaded as we load it.

The reference is transformers' own whole model, asked with text alone. The other parts are as small as their configs
allow; what only a family of its own kind states is among the `WHOLES`, by the names of fields, never of families.
"""

import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from building import (
    VARIANTS,
    VOCAB,
    NotBuilt,
    describe,
    make_config,
    make_prompt,
    unsettle,
)
from measuring import is_close, measure_model
from tiny import make_tokenizer
from transformers import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES,
)

from glassformer.compute.attention import select_attention
from glassformer.errors import GlassformerError
from glassformer.files.catalog import ModelSource
from glassformer.files.kind import find_whole_class, list_other_parts
from glassformer.loading.form.recognise import open_form
from glassformer.loading.load import load_form
from glassformer.loading.options import LoadOptions
from glassformer.loading.plan import plan_load
from glassformer.loading.tower import leaving_out

WHOLE_FAMILIES = sorted({*MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES, *MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES})
MOST_PARAMETERS = 25_000_000
POSITIONS = 12
ROPE = {"rope_type": "default", "rope_theta": 10000.0}
SMALL: dict[str, Any] = {
    **dict.fromkeys(
        (
            *(
                "out_hidden_size",
                "text_hidden_size",
                "codebook_dim",
                "audio_hidden_size",
                "embed_dim",
                "image_size",
            ),
            *(
                "mm_hidden_size",
                "lm_hidden_size",
                "projection_dim",
                "output_dim",
                "hidden_dim",
                "base_channels",
            ),
            "projection_hidden_size",
        ),
        32,
    ),
    **dict.fromkeys(("num_patches", "num_embeddings"), 16),
    **dict.fromkeys(("index_kpool", "patch_size"), 8),
    **dict.fromkeys(("video_temporal_patch_size", "depth"), 2),
    "vocabulary_map": {"<image>": 5, "<|image_token|>": 5},
    "channel_multiplier": [1, 1],
    "blank_token_id": 5,
    "adaptor_config": {"intermediate_size": 8},
}


def turn(*sections: int) -> dict[str, Any]:
    """How many features of a head turn with time, height and width."""
    return {"text_config": {"rope_parameters": {**ROPE, "mrope_section": list(sections)}}}


# Tried in order, as `building.VARIANTS`.
WHOLES: tuple[dict[str, Any], ...] = (
    SMALL,
    {**SMALL, **turn(2, 1, 1)},
    {**SMALL, **turn(1, 1, 0)},
    {**SMALL, **turn(1, 1, 2), "moe_intermediate_size": [24, 24]},
    {**SMALL, "adapter_config": {"vision_feature_layer": [1, 0]}, "vision_config": {"image_size": [32, 32]}},
    {**SMALL, "rope_parameters": {"full_attention": ROPE, "sliding_attention": ROPE}},
    {**SMALL, "qk_rope_head_dim": 0},
    {
        **SMALL,
        "text_config": {
            "mlp_layer_types": ["dense", "sparse"] * 2,
            "layer_types": ["full_attention"] * 4,
        },
    },
    {},
    *({**SMALL, **variant} for variant in VARIANTS[1:]),
)


@dataclass
class TowerRow:
    """One family in the table of towers. `wrong` must be empty."""

    family: str
    not_built: str | None = None
    refused: str | None = None
    served_as: str = ""
    is_causal: bool = False
    drawn: str = ""
    wrong: tuple[str, ...] = ()


def build_whole(family: str) -> Any:
    """A tiny random whole model in float32 that goes on with text alone. Raises NotBuilt."""
    reasons: list[str] = []
    for variant in WHOLES:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return make_whole(make_config(CONFIG_MAPPING[family], variant, whole=True))
        except Exception as exc:
            reasons.append(describe(exc))
    raise NotBuilt(reasons[0])


def make_whole(config: Any) -> Any:
    kind = find_whole_class(config)
    if kind is None:
        raise NotBuilt("its config has no part beside its text's")
    others = {type(getattr(config, name)) for name in list_other_parts(config)}
    try:
        with torch.device("meta"):
            empty = kind._from_config(config)
    except ImportError:
        # Of a library that is not here, which only makes a part for pictures: the rest is whole.
        with leaving_out(others):
            return make_checked(kind, config)
    size = sum(parameter.numel() for parameter in empty.parameters())
    if size > MOST_PARAMETERS:
        raise NotBuilt(f"the smallest model has {size} parameters")
    return make_checked(kind, config)


def make_checked(kind: Any, config: Any) -> Any:
    """The model with numbers, if it runs on text alone."""
    torch.manual_seed(11)
    model = kind._from_config(config, dtype=torch.float32).eval().requires_grad_(False)
    with torch.no_grad():
        for parameter in model.parameters():
            unsettle(parameter)
    before = model.config._attn_implementation
    select_attention(model, "eager")  # which not every family runs with every size
    ask(model)
    select_attention(model, before)
    logits = ask(model)
    if not torch.isfinite(logits).all() or logits.shape != (POSITIONS, VOCAB):
        raise NotBuilt(f"its logits are not finite, or have the shape {list(logits.shape)}")
    return model


def ask(model: Any) -> Any:
    """The logits [pos, vocab] of a text without pictures."""
    with torch.inference_mode():
        return model(input_ids=make_prompt(POSITIONS)[None], use_cache=False).logits[0].float()


def measure_tower(family: str) -> TowerRow:
    """Build one family whole, load its language model, and hold it to the whole."""
    try:
        whole = build_whole(family)
    except NotBuilt as exc:
        return TowerRow(family, not_built=str(exc))
    expected = ask(whole)
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(place) / "whole"
        whole.save_pretrained(folder)
        make_tokenizer().save_pretrained(folder)
        del whole
        return measure_folder(family, folder, expected)


def measure_folder(family: str, folder: Path, expected: Any) -> TowerRow:
    source = ModelSource(model_id=family, kind="folder", folder=folder, root=folder.parent)
    try:
        form = open_form(folder)
        plan = plan_load(form.read_config(), form.list_tensors(), LoadOptions(device="cpu"))
        loaded = load_form(source, form, plan)
    except GlassformerError as exc:
        return TowerRow(family, refused=exc.message)
    wrong = []
    if not is_close(ask(loaded.model), expected):
        wrong.append("its logits are not those of the whole model")
    if loaded.bytes != plan.needed_bytes:
        wrong.append(f"{plan.needed_bytes} bytes were planned and {loaded.bytes} are held")
    name = type(loaded.model).__name__
    is_causal = name.endswith("ForCausalLM")
    row = TowerRow(family, served_as=name, is_causal=is_causal, wrong=tuple(wrong))
    if not is_causal:
        inside = measure_model(family, loaded.model)
        row.wrong += tuple(inside.wrong)
        row.drawn = "yes" if inside.is_drawn else f"no: {inside.refused}"
    else:
        row.drawn = f"as {loaded.config.model_type}"
    return row
