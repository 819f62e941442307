"""Text in which a control token and text that reads like one are told apart.

In *marked* text a name that stands between OPEN and CLOSE is of the other kind than usual: in what a conversation says
it is text, though it reads like a control token; in what a model wrote it is a control token, though text can read like
it. Both are noncharacters of Unicode (U+FDD0, U+FDD1: "for internal use", never in a text that is interchanged).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

OPEN, CLOSE = "\ufdd0", "\ufdd1"
EITHER = re.compile(f"[{OPEN}{CLOSE}]")
MARKED = re.compile(f"{OPEN}([^{OPEN}{CLOSE}]*){CLOSE}")


def unmark(text: str) -> str:
    """`text` as it reads."""
    return EITHER.sub("", text)


def mark_names(value: Any, names: re.Pattern[str] | None) -> Any:
    """Every string inside `value`, keys aside, with the `names` in it marked; marks it came with are gone."""
    if isinstance(value, str):
        value = unmark(value)
        return value if names is None else names.sub(f"{OPEN}\\g<0>{CLOSE}", value)
    if isinstance(value, dict):
        return {key: mark_names(item, names) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [mark_names(item, names) for item in value]
    return value


def compile_names(names: Iterable[str]) -> re.Pattern[str] | None:
    """What finds each of `names` in a text, the longest first; None where there are none."""
    longest_first = sorted({name for name in names if name}, key=len, reverse=True)
    if not longest_first:
        return None
    # Some vocabularies have thousands of names, and they begin alike: most places need no more than a look.
    firsts = "".join(sorted({re.escape(name[0]) for name in longest_first}))
    return re.compile(f"(?=[{firsts}])(?:{'|'.join(map(re.escape, longest_first))})")


def find_control_names(tokenizer: PreTrainedTokenizerBase, template: str) -> re.Pattern[str] | None:
    """The names that nobody but a chat template may spell: of special tokens, and of others that it writes.

    Tokens of white space are ordinary text in many templates.
    """
    added = tokenizer.added_tokens_decoder.values()
    return compile_names(
        token.content
        for token in added
        if token.special or (token.content in template and not token.content.isspace())
    )


def encode_marked(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The ids of `text`, without special tokens around it; what is marked is never a control token.

    A mark that was torn from its other half, as by a template that splits text, still parts what stands beside it.
    """
    if not EITHER.search(text):
        return encode_piece(tokenizer, text, follows=False)
    ids: list[int] = []
    end = 0
    for match in MARKED.finditer(text):
        for piece in EITHER.split(text[end : match.start()]):
            ids += encode_piece(tokenizer, piece, follows=bool(ids))
        ids += encode_plain(tokenizer, match[1])
        end = match.end()
    for piece in EITHER.split(text[end:]):
        ids += encode_piece(tokenizer, piece, follows=bool(ids))
    return ids


def encode_piece(tokenizer: PreTrainedTokenizerBase, text: str, *, follows: bool) -> list[int]:
    """The ids of a piece of a text, which `follows` others or begins it."""
    if not text:
        return []
    if not follows:
        return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
    # Many tokenizers put a space before a text's first word. After a line break there is none, and it goes off again.
    line = list(tokenizer("\n", add_special_tokens=False, verbose=False)["input_ids"])
    ids = list(tokenizer("\n" + text, add_special_tokens=False, verbose=False)["input_ids"])
    if ids[: len(line)] == line:
        return ids[len(line) :]
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def encode_plain(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The ids of text that reads like a control token, none of which is one."""
    added = set(tokenizer.added_tokens_decoder)
    for pieces in ([text], [text[:1], text[1:]], list(text)):
        ids: list[int] = []
        for piece in pieces:
            ids += tokenize_bare(tokenizer, piece)
        # Some vocabularies hold a control token's name as a piece of text, too.
        if not added & set(ids):
            return ids
    return [token_id for token_id in ids if token_id not in added]


def tokenize_bare(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The ids that the tokenizer's parts give behind its added tokens, which are not looked for."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if not text:
        return []
    if backend is None:
        return list(
            tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
        )
    line = "\n"

    def run(piece: str) -> list[int]:
        normal = piece if backend.normalizer is None else backend.normalizer.normalize_str(piece)
        splits = [normal]
        if backend.pre_tokenizer is not None:
            splits = [split for split, _ in backend.pre_tokenizer.pre_tokenize_str(normal)]
        return [token.id for split in splits for token in backend.model.tokenize(split)]

    before, ids = run(line), run(line + text)
    return ids[len(before) :] if ids[: len(before)] == before else run(text)
