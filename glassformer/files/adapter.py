"""Adapters: folders that change another model's matrices a little, and name that model. Read from JSON and headers.

Only plain LoRA is read (Hu et al. 2021, section 4.1): each changed matrix W computes W x + s B(A x). The format is that
of the library peft, `adapter_config.json` beside `adapter_model.safetensors`; what is not this is refused with why.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from glassformer.errors import ModelRefused
from glassformer.files.safety import read_json_object, refuse_code, refuse_links_out
from glassformer.files.weight_files import INDEX
from glassformer.files.weight_files import PICKLED as PICKLED_WEIGHTS

CONFIG, WEIGHTS, PICKLED = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
# What adapters of other kinds do instead of adding s B(A x), by peft's name of them.
OTHER_WEIGHTS = {
    "IA3": "multiplies features by learnt factors",
    "LOHA": "multiplies two low-rank matrices cell by cell",
    "LOKR": "builds its change from a Kronecker product",
    "ADALORA": "scales each of its ranks by a learnt number",
    "VERA": "shares random matrices that it does not bring",
    "OFT": "turns a matrix instead of adding to it",
    "BOFT": "turns a matrix instead of adding to it",
    "HRA": "mirrors a matrix instead of adding to it",
    "LN_TUNING": "changes norms alone",
}
OTHER_KINDS = OTHER_WEIGHTS | {
    "PROMPT_TUNING": "puts learnt vectors before the text",
    "P_TUNING": "puts learnt vectors before the text",
    "PREFIX_TUNING": "puts learnt keys and values before those of the text",
    "MULTITASK_PROMPT_TUNING": "puts learnt vectors before the text",
    "ADAPTION_PROMPT": "puts learnt keys and values before those of the text",
    "XLORA": "mixes several adapters by what it reads",
}
# What helps where a change is one of weights.
MERGING = " Merged into its base (merge_and_unload and save_pretrained of peft) it opens."
# Switches of peft's LoRA that make it compute something else, and what.
VARIANTS = {
    "use_dora": "it scales each output feature of the changed matrix anew (DoRA)",
    "use_qalora": "it pools the input of A (QALoRA)",
    "use_bdlora": "its matrices are blocks on a diagonal (BD-LoRA)",
    "alora_invocation_tokens": "it begins in the middle of a text (activated LoRA)",
    "layer_replication": "it repeats blocks of its base",
    "target_parameters": "it changes stacked weights of experts",
    "trainable_token_indices": "it changes single rows of the table of token vectors",
    "arrow_config": "it is chosen among others token by token (Arrow)",
    "velora_config": "it is a variant (VeLoRA) that is not read here",
    "monteclora_config": "it is drawn at random (MonteCLoRA)",
    "kasa_config": "it scales its ranks (KaSA)",
}
# What a pattern repeats or leaves out: a group, a class of letters or one letter. Each multiplies how long it may take
# to find out that a name does not match; numbers of blocks, which are short, do not.
REPEATED = re.compile(r"(\\.|\[[^\]]*\]|[^\\(])[*+?{]")
MOST_REPEATED = 2
MOST_PATTERN_CHARACTERS = 500
# Ways to begin that take something out of the base's own weights, which then are not those of the base any more.
CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    """What an adapter's config says that its weights do not: its base, and how strongly each matrix counts."""

    base: str
    alpha: float
    rank: int
    alphas: Mapping[str, float]
    ranks: Mapping[str, int]
    is_rank_stabilised: bool

    def scale(self, module: str, rank: int) -> float:
        """The factor s of the change of the module of that dotted name, whose A has `rank` rows.

        Raises ModelRefused where the config says another rank.
        """
        said = int(find_pattern(self.ranks, module, self.rank))
        if said != rank:
            raise ModelRefused(
                f"The adapter's config says rank {said} for {module!r}, and its weights have {rank}."
            )
        alpha = float(find_pattern(self.alphas, module, self.alpha))
        return alpha / (math.sqrt(rank) if self.is_rank_stabilised else rank)


def find_pattern(patterns: Mapping[str, Any], module: str, usual: Any) -> Any:
    """The value of the first pattern that the end of a module's name matches, as peft matches them."""
    for pattern, value in patterns.items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return value
    return usual


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter and no whole model; a merged model may keep its adapter's files."""
    return (folder / CONFIG).is_file() and not has_whole_weights(folder)


def has_whole_weights(folder: Path) -> bool:
    """Whether a folder holds the weights of a whole model, complete or not."""
    return (folder / "config.json").is_file() and are_whole([path.name for path in folder.iterdir()])


def are_whole(names: Collection[str]) -> bool:
    """Whether files of these names are those of a whole model, complete or not."""
    return "config.json" in names and any(
        name == INDEX or name.endswith(".safetensors") or PICKLED_WEIGHTS.fullmatch(name)
        for name in set(names) - {WEIGHTS, PICKLED}
    )


def read_base(folder: Path) -> str:
    """The base that an adapter names, "" where it names none. Raises ModelRefused for a config that is none."""
    named = read_json_object(folder / CONFIG, CONFIG).get("base_model_name_or_path")
    return named.strip() if isinstance(named, str) else ""


def last_part(name: str) -> str:
    """The last part of a hub id or a path: what of a base's name may be told, and what its folder may be called."""
    return (PureWindowsPath(name) if "\\" in name else PurePosixPath(name)).name


def check_adapter(folder: Path, root: Path | None = None) -> AdapterConfig:
    """The config of the adapter in `folder`, if it is plain LoRA with weights that are safe to load.

    With `root`, files that a link places outside of it are refused. Raises ModelRefused.
    """
    raw = read_json_object(folder / CONFIG, CONFIG)
    refuse_code({key: item for key, item in raw.items() if key != "auto_mapping"}, CONFIG)
    refuse_other_kinds(raw)
    if not (folder / WEIGHTS).is_file():
        if (folder / PICKLED).is_file():
            raise ModelRefused(
                f"The adapter's weights are in {PICKLED}, which can carry code and is not loaded; save them as "
                f"{WEIGHTS} (peft does so by default)."
            )
        raise ModelRefused(f"The adapter has no {WEIGHTS}.")
    if root is not None:
        refuse_links_out(folder, root)
    return AdapterConfig(
        base=read_base(folder),
        alpha=read_number(raw, "lora_alpha", 8),
        rank=int(read_number(raw, "r", 8)),
        alphas=read_patterns(raw, "alpha_pattern"),
        ranks={name: int(rank) for name, rank in read_patterns(raw, "rank_pattern").items()},
        is_rank_stabilised=bool(raw.get("use_rslora")),
    )


def refuse_other_kinds(raw: Mapping[str, Any]) -> None:
    """Raise ModelRefused for an adapter that computes something else than plain LoRA, saying what."""
    kind = raw.get("peft_type")
    if kind != "LORA":
        named = repr(str(kind)[:40]) if kind else "no kind that it names"
        does = OTHER_KINDS.get(str(kind), "changes its base in another way")
        cure = MERGING if kind in OTHER_WEIGHTS else ""
        raise ModelRefused(
            f"This adapter is of kind {named}: it {does}. Read here is LoRA, W x + s B(A x).{cure}"
        )
    for key, reason in VARIANTS.items():
        if raw.get(key):
            cure = MERGING if key == "use_dora" else ""
            raise ModelRefused(f"This adapter is no plain LoRA ({key}): {reason}.{cure}")
    unknown = [key for key, value in raw.items() if key.startswith("use_") and value and key != "use_rslora"]
    if unknown:
        raise ModelRefused(
            f"This adapter is no plain LoRA ({unknown[0][:40]}), and what it does is not known."
        )
    begins = raw.get("init_lora_weights")
    if isinstance(begins, str) and begins.lower().startswith(CHANGES_BASE):
        raise ModelRefused(
            f"This adapter was begun from its base's own weights (init_lora_weights={begins[:40]!r}) and fits a base "
            "that was changed for it; convert it to plain LoRA when saving "
            "(peft: path_initial_model_for_weight_conversion)."
        )


def read_number(raw: Mapping[str, Any], key: str, usual: float) -> float:
    """A positive number of an adapter's config. Raises ModelRefused."""
    value = raw.get(key, usual)
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not math.isfinite(value)
        or value <= 0
    ):
        raise ModelRefused(f"The adapter's {key} is not a positive number.")
    return float(value)


def read_patterns(raw: Mapping[str, Any], key: str) -> dict[str, float]:
    """A table of numbers by the ends of module names. Raises ModelRefused for one that cannot be read."""
    table = raw.get(key) or {}
    if not isinstance(table, dict):
        raise ModelRefused(f"The adapter's {key} is not a table.")
    try:
        for pattern in table:
            repeated = [part for part in REPEATED.findall(pattern) if part != r"\d"]
            if ")" in repeated or len(repeated) > MOST_REPEATED or len(pattern) > MOST_PATTERN_CHARACTERS:
                raise ModelRefused(
                    f"The adapter's {key} holds a pattern that repeats a group or more than {MOST_REPEATED} parts, "
                    f"or is longer than {MOST_PATTERN_CHARACTERS} characters, which is not tried here."
                )
            re.compile(pattern)
    except re.error:
        raise ModelRefused(f"The adapter's {key} holds a pattern that cannot be read.") from None
    return {pattern: read_number(table, pattern, 1) for pattern in table}
