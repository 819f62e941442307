"""Names that clients of the OpenAI-shaped surface send and that are no parameter here.

Each is ignored (it says nothing about the text, or nobody knows it), refused by name (it would change the answer) or,
at the value that asks for nothing, left out. `null` is as good as left out, for every name.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from glassformer.errors import BadValue

# They change nothing about the text; whoever sends them need not be told.
IGNORED = frozenset(
    "user metadata store service_tier safety_identifier prompt_cache_key prompt_cache_options "
    "prompt_cache_retention prediction verbosity max_tool_calls".split()
)
OLD_TOOLS = "Functions of this older form are not supported; send tools."
TEXT_ONLY = "Audio is not supported: this server answers with text only."
# What OpenAI's own clients know and what is not done here.
REFUSED = {
    "functions": OLD_TOOLS,
    "function_call": OLD_TOOLS,
    "audio": TEXT_ONLY,
    "moderation": "Moderation is not supported.",
    "web_search_options": "Web search is not supported.",
    "suffix": "A suffix is not supported: the model only continues a text.",
    "chat_template": "The model's own chat template is used; a request cannot bring one.",
}
# What other servers' clients send and what would change the answer, with our own name for it where there is one.
OURS = {
    "repeat_penalty": "repetition_penalty",
    "rep_pen": "repetition_penalty",
    "n_predict": "max_tokens",
    "num_predict": "max_tokens",
    "max_new_tokens": "max_tokens",
    "max_length": "max_tokens",
    "max_output_tokens": "max_tokens",
    "typical": "typical_p",
    "stop_sequences": "stop",
    "stopping_strings": "stop",
    "json_schema": "guided_json",
    "regex": "guided_regex",
    "tools": "them with a chat completion",
    "tool_choice": "it with a chat completion",
    "parallel_tool_calls": "it with a chat completion",
    "structured_outputs": "guided_json, guided_regex or guided_choice",
    "grammar": "guided_grammar, in llguidance's form",
    "do_sample": "temperature: 0",
    "bad_words": "logit_bias",
    "banned_tokens": "logit_bias",
    "custom_token_bans": "logit_bias",
    "allowed_token_ids": "logit_bias",
    "options": "the same names outside of it",
    "prompt_logprobs": "echo with logprobs",
    "system": "a message of the role system",
    "prompt": "messages, or ask for a completion",
    "messages": "a prompt, or ask for a chat completion",
    "best_of": "n",
    **dict.fromkeys(
        "skip_special_tokens include_stop_str_in_output ignore_eos ban_eos_token add_bos_token min_tokens mirostat "
        "use_beam_search num_beams truncate_prompt_tokens tfs tfs_z top_a top_n_sigma epsilon_cutoff eta_cutoff "
        "dynatemp_range dynamic_temperature smoothing_factor xtc_probability dry_multiplier no_repeat_ngram_size "
        "encoder_repetition_penalty penalty_alpha guidance_scale negative_prompt documents".split(),
        "",
    ),
}
NOTHING: tuple[Any, ...] = (None, False, 0, -1, "", [], {})
# Values that ask for nothing, as clients send them by habit, where they are others than `NOTHING`.
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "functions": ([],),
    "function_call": ("none", "auto"),
    "suffix": ("",),
    "audio": (),
    "web_search_options": (),
    "moderation": (),
    "chat_template": (),
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "repeat_penalty": (1, 0),
    "rep_pen": (1, 0),
    "encoder_repetition_penalty": (1,),
    "guidance_scale": (1,),
    "typical": (1, 0),
    "tfs": (1, 0),
    "tfs_z": (1, 0),
    "do_sample": (True,),
    "skip_special_tokens": (True,),
    "add_bos_token": (True,),
    "num_beams": (1, 0),
    "best_of": (1, 0),
}
# What clients send for "none" under names that are honoured.
UNSET: Mapping[str, tuple[Any, ...]] = {
    "seed": (-1,),
    "stop": ("",),
    "response_format": ({},),
    "logprobs": (False,),
}


def is_one_of(value: object, values: Collection[object]) -> bool:
    """Whether `value` is among `values`. True is 1 in Python, and here not."""
    return any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in values)


def is_neutral(name: str, value: object) -> bool:
    """Whether `value` asks for nothing under a name that is not honoured."""
    return is_one_of(value, NEUTRAL.get(name, NOTHING))


def refuse(name: str, known: Collection[str], ours: str | None = None) -> BadValue:
    """Why a name that would change the answer cannot be followed, with ours for it."""
    if name in REFUSED and ours is None:
        return BadValue(REFUSED[name], field=name)
    ours = OURS[name] if ours is None else ours
    if ours and (ours in known or not ours.isidentifier()):
        return BadValue(f"{name} is not supported here; send {ours}.", field=name)
    return BadValue(f"{name} is not supported here, and leaving it out would change the answer.", field=name)


def weed(
    data: Mapping[Any, Any], known: Collection[str], renamed: Mapping[str, str] = MappingProxyType({})
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The parameters among `data` that say something, and the names nobody here knows.

    `renamed` are names that this call alone has under others of ours.

    Raises BadValue for what is not done and would change the answer.
    """
    kept: dict[str, Any] = {}
    ignored: list[str] = []
    for name, value in data.items():
        if name in known:
            if value is not None and not is_one_of(value, UNSET.get(name, ())):
                kept[name] = value
        elif (name in IGNORED and name not in renamed) or value is None:
            continue
        elif name in REFUSED or name in OURS or name in renamed:
            if not is_neutral(name, value):
                raise refuse(name, known, renamed.get(name))
        else:
            ignored.append(str(name))
    return kept, tuple(ignored)


def refuse_unknown(names: Collection[str], known: Collection[str]) -> None:
    """For servers that are strict: no name that nobody knows. Raises BadValue for the first."""
    if names:
        name = next(iter(names))
        likely = get_close_matches(name[:100], known, n=1)
        advice = f" Did you mean {likely[0]}?" if likely else ""
        raise BadValue(f"This call has no parameter of that name.{advice}", field=name[:200])
