"""Which decision is read: a position, the token that is weighed there, and what it is held against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from glassformer.errors import BadValue
from glassformer.protocol.reading import Versus, Word

if TYPE_CHECKING:
    from glassformer.loading.loaded import LoadedModel
    from glassformer.run.run import Run


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked: None stands for the last recorded position, and for the token that was written after it."""

    pos: int | None = None
    token: int | None = None
    versus: Versus = "none"


@dataclass(frozen=True, slots=True)
class Decision:
    """A question with its gaps filled; `token` is None while only the model's own words can tell the likeliest."""

    position: int
    token: int | None
    versus: Versus

    def settle(self, logits: Tensor) -> int:
        """The token, by the logits [vocab] at the position where nobody named one."""
        return int(logits.argmax()) if self.token is None else self.token

    def measure(self, logits: Tensor, token: int) -> float:
        """The logit of the token, less that of what it is held against."""
        wide = logits.double()
        if self.versus == "none":
            return float(wide[token])
        other = wide.mean() if self.versus == "mean" else wide[self.versus]
        return float(wide[token] - other)


def parse_versus(text: str) -> Versus:
    """What a word is held against, from text: `none`, `mean` or a token id. Raises BadValue."""
    if text == "none":
        return "none"
    if text == "mean":
        return "mean"
    if text.isascii() and text.isdecimal():
        return int(text)
    raise BadValue("versus must be none, mean, or the id of a token.", field="versus")


def find_token(loaded: LoadedModel, text: str, field: str) -> int:
    """The one token that a text is. Raises BadValue for a text of none, or of several."""
    ids, affixes = loaded.tokenize(text), loaded.affixes
    found = ids[len(affixes.before) : len(ids) - len(affixes.after)]
    if len(found) != 1:
        # Some tokenizers put a space before every text: the token may still read so in the middle of one.
        found = [token_id for token_id in range(loaded.vocab) if loaded.texts[token_id].text == text]
    if len(found) != 1:
        raise BadValue(f"{field} {text!r} is not one token of this model; give a token's id.", field=field)
    return found[0]


def decide(run: Run, question: Question) -> Decision:
    """Fill the gaps of a question. Raises BadValue, naming the field, for what the run does not have."""
    count, vocab = run.positions, run.loaded.vocab
    if not count:
        raise BadValue("Nothing has been recorded yet.", field="pos")
    position = count - 1 if question.pos is None else question.pos
    if not 0 <= position < count:
        raise BadValue(f"pos must be from 0 to {count - 1}, the positions recorded so far.", field="pos")
    written = run.token_ids[position + 1 : position + 2]
    token = question.token if question.token is not None else (written[0] if written else None)
    for field, given in (("token", token), ("versus", question.versus)):
        if isinstance(given, int) and not 0 <= given < vocab:
            raise BadValue(f"{field} must be from 0 to {vocab - 1}, the ids of this model.", field=field)
    return Decision(position, token, question.versus)


def find_word(run: Run, token_id: int) -> Word:
    """A token with its text in the middle of a text."""
    return Word(id=token_id, text=run.loaded.token(token_id).text)
