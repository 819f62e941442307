"""From a config to a drawn model: the message that page, command line and API share.

Costs about a second of one core for a model of a hundred blocks, and no memory for weights.
"""

from __future__ import annotations

import copy
import logging
import re
from pathlib import Path
from typing import Any, Literal

from glassformer.anatomy.outline import Outline, describe_unread
from glassformer.errors import GlassformerError
from glassformer.loading.field import first_number
from glassformer.protocol.anatomy import Anatomy, Block, Check, Site, Weight
from glassformer.protocol.shape import BlockTemplate, ModelShape
from glassformer.shape.likeness import group_blocks
from glassformer.shape.measurement import ShapeMeasurement
from glassformer.shape.parts import count_block, count_outside
from glassformer.shape.skeleton import Skeleton, build_skeleton
from glassformer.structure.naming import say_plainly, teach_names
from glassformer.structure.structure import Structure

log = logging.getLogger(__name__)

REASON = "The model is drawn from its config; there are no weights here to compute this."
UNTOLD = "what its blocks are made of cannot be told from its config"
# Weights of one block that differ only in a number are the experts' own modules: from so many on they are one.
MOST_ALIKE = 4


def describe_shape(
    config_path: Path, shape_id: str, *, title: str = "", source: Literal["bundled", "model", "file"] = "file"
) -> ModelShape:
    """The shape of the model that a config describes. Raises ModelRefused, ModelFailed or Unavailable."""
    skeleton = build_skeleton(config_path, shape_id, title)
    teach_names()
    try:
        return describe_parts(skeleton, source)
    except GlassformerError:
        raise
    except Exception as exc:  # whatever a config makes of a family's modules
        log.info("the parts of a shape could not be described", exc_info=exc)
        return describe_bare(skeleton, UNTOLD, source)


def describe_parts(skeleton: Skeleton, source: Literal["bundled", "model", "file"]) -> ModelShape:
    """The shape of a skeleton. Raises ModelRefused, and what a family's own code raises."""
    try:
        tokenizer: Any = NO_TOKENIZER
        structure = Structure(skeleton.model, tokenizer)
        groups = group_blocks(structure)
        measurement = ShapeMeasurement(structure, groups, skeleton.context)
    except (ValueError, AttributeError, LookupError, NotImplementedError, RuntimeError) as exc:
        return describe_bare(skeleton, say_plainly(exc), source)
    measurement.run()
    if measurement.fault is not None:
        return describe_bare(skeleton, measurement.fault, source)
    outline = Outline(skeleton, structure, measurement)
    stem = find_stem(structure)
    templates = [
        BlockTemplate(
            block=settle_block(outline.describe_block(group[0]), measurement.refusals),
            blocks=group,
            parts=count_block(structure, group[0], attends=f"k.{group[0]}" in measurement.values),
        )
        for group in groups
    ]
    whole = outline.describe_with([template.block for template in templates])
    anatomy = whole.model_copy(
        update={
            "blocks": [],
            "before": [settle_site(site, measurement.refusals) for site in whole.before],
            "after": [settle_site(site, measurement.refusals) for site in whole.after],
            "parts": 0,
        }
    )
    outside = count_outside(whole.weights, structure)
    active = sum(part.active for part in outside) + sum(
        part.active * len(template.blocks) for template in templates for part in template.parts
    )
    return ModelShape(
        shape_id=skeleton.model_id,
        source=source,
        anatomy=anatomy,
        stem=stem,
        templates=templates,
        parts=outside,
        active=active,
        cached=count_cached(templates),
        latent=count_latent(skeleton.config, templates),
    )


class NoTokenizer:
    """Stands where no text is read."""

    all_special_ids: tuple[int, ...] = ()
    eos_token_id = None
    chat_template = None


NO_TOKENIZER = NoTokenizer()


def describe_bare(skeleton: Skeleton, reason: str, source: Literal["bundled", "model", "file"]) -> ModelShape:
    """What can be said of a model whose parts are not found: how large it is."""
    return ModelShape(
        shape_id=skeleton.model_id,
        source=source,
        anatomy=describe_unread(skeleton, reason),
        stem="",
        templates=[],
        parts=[],
        active=skeleton.parameters,
        cached=0,
    )


def find_stem(structure: Structure) -> str:
    """What stands before a block's number in the names of its weights."""
    return structure.name_of(structure.blocks[0]).rpartition(".")[0]


def settle_site(site: Site, refusals: dict[str, str]) -> Site:
    """A site of a shape: nothing to check, or refused where the model has no place for it."""
    reason = refusals.get(site.address)
    if reason is not None and None in site.shape and all(size is None for size in site.shape):
        return site.model_copy(update={"check": Check(status="refused", reason=reason)})
    return site.model_copy(update={"check": Check(status="shape", reason=REASON)})


def settle_block(block: Block, refusals: dict[str, str]) -> Block:
    return block.model_copy(
        update={
            "sites": [settle_site(site, refusals) for site in block.sites],
            "weights": stack_alike(block.weights),
        }
    )


def stack_alike(weights: list[Weight]) -> list[Weight]:
    """Weights of many modules that are alike, as those of experts, as one with an axis more; others as they are."""
    groups: dict[tuple[str, tuple[int, ...]], list[Weight]] = {}
    for weight in weights:
        head, _, tail = weight.name.partition(f".{weight.block}.")
        groups.setdefault(
            (head + "|" + re.sub(r"(?<=\.)\d+(?=\.)", "*", tail), tuple(weight.shape)), []
        ).append(weight)
    stacked: list[Weight] = []
    for (key, _), alike in groups.items():
        if len(alike) < MOST_ALIKE or "*" not in key:
            stacked += alike
            continue
        first = copy.copy(alike[0])
        head, _, tail = key.partition("|")
        stacked.append(
            first.model_copy(
                update={
                    "name": f"{head}.{first.block}.{tail}",
                    "axes": ["expert", *first.axes],
                    "shape": [len(alike), *first.shape],
                }
            )
        )
    return stacked


def count_cached(templates: list[BlockTemplate]) -> int:
    """Numbers of keys and values that attention is handed for one position, in all blocks."""
    total = 0
    for template in templates:
        for site in template.block.sites:
            if site.point in ("k", "v") and site.shape[0] and site.shape[2]:
                total += site.shape[0] * site.shape[2] * len(template.blocks)
    return total


def count_latent(config: Any, templates: list[BlockTemplate]) -> int | None:
    """Numbers that latent attention can keep in place of keys and values; None where a config has none of it."""
    text = config.get_text_config()
    rank, rotary = first_number(text, ("kv_lora_rank",)), first_number(text, ("qk_rope_head_dim",))
    if rank is None or rotary is None:
        return None
    attending = sum(
        len(template.blocks)
        for template in templates
        if any(site.point == "k" and site.shape[0] for site in template.block.sites)
    )
    return attending * (rank + rotary)


def expand_shape(shape: ModelShape) -> Anatomy:
    """The whole anatomy with every block written out, as of a model that is loaded."""
    blocks = [
        renumber_block(template.block, index, shape.stem)
        for template in shape.templates
        for index in template.blocks
    ]
    return shape.anatomy.model_copy(update={"blocks": sorted(blocks, key=lambda block: block.index)})


def renumber_block(block: Block, index: int, stem: str) -> Block:
    """A block as another that is like it."""
    before, after = f"{stem}.{block.index}.", f"{stem}.{index}."
    return block.model_copy(
        update={
            "index": index,
            "sites": [
                site.model_copy(update={"address": f"{site.point}.{index}", "block": index})
                for site in block.sites
            ],
            "weights": [
                weight.model_copy(update={"name": weight.name.replace(before, after, 1), "block": index})
                for weight in block.weights
            ],
        }
    )
