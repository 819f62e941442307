"""Constrained choice: which tokens may come next so that the whole text fits a schema, a pattern or a list.

llguidance does it, on derivatives of the grammar: no automaton is built beforehand, so what a small text asks for
cannot take long or much memory, and its own limits bound the rest. The first constraint of a model costs a trie of
its vocabulary (about 0.03 s for 2,000 tokens and 0.75 s for 128,000, kept with the model; Python waits meanwhile),
a grammar up to some hundredths of a second, and each token some tens of microseconds.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from llguidance import LLMatcher, LLParserLimits, LLTokenizer, grammar_from
from torch import Tensor

from glassformer.conversation.call_grammar import Vocabulary
from glassformer.conversation.json_schema import prepare_schema
from glassformer.engine.schema_fault import find_schema_fault, shorten
from glassformer.errors import BadValue
from glassformer.loading.loaded import LoadedModel
from glassformer.protocol.messages import Constraint

FIELD = "constraint"
# Characters of a schema, a regular expression, a list or a grammar. A schema of this size compiles in about 0.4 s.
LONGEST_SOURCE = 262_144
# A compiled grammar is some tens of kilobytes; a session asks for the same few again and again.
MOST_GRAMMARS = 16
# Smaller than llguidance's own, which allow a second for a grammar and 50 ms for a token (its LLParserLimits).
LIMITS = LLParserLimits(
    initial_lexer_fuel=500_000,
    step_lexer_fuel=100_000,
    step_max_items=20_000,
    max_lexer_states=50_000,
    max_grammar_size=100_000,
    verbose_errors=False,
)
# Between the parts of a JSON text. Without a bound a small model may write white space for ever.
JSON_DEFAULTS: Any = {"whitespace_pattern": r"[ \t\n\r]{0,8}"}


class Matcher:
    """Follows one text through its grammar. Ends with an end token, which is allowed where the text may end."""

    def __init__(self, matcher: LLMatcher, end_ids: frozenset[int]) -> None:
        self._matcher = matcher
        self._end_ids = end_ids
        self.is_over = False

    def allowed(self, vocab: int) -> Tensor:
        """Which tokens may come next, Bool[Tensor, "vocab"]. Raises BadValue where the grammar is a dead end."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        if self._matcher.is_error() or not bits.any():
            raise BadValue("No token can follow that fits the constraint.", field=FIELD)
        mask = np.zeros(vocab, dtype=np.bool_)
        known = np.unpackbits(bits, bitorder="little", count=min(vocab, 8 * len(bits)))
        mask[: len(known)] = known
        if not mask.any():  # only tokens that the tokenizer has and the model has not
            raise BadValue("No token of the model can follow that fits the constraint.", field=FIELD)
        return torch.from_numpy(mask)

    def consume(self, token_ids: list[int]) -> None:
        """Go on past `token_ids`; those after an end token count no more. Raises BadValue where they do not fit."""
        for token_id in token_ids:
            if self.is_over:
                return
            if not self._matcher.consume_token(token_id):
                raise BadValue("The text does not fit the constraint.", field=FIELD)
            self.is_over = token_id in self._end_ids


class Compiler:
    """One model's vocabulary as llguidance wants it, and the grammars last used with it. Any thread."""

    def __init__(self, loaded: LoadedModel) -> None:
        if not loaded.eos_ids:
            raise BadValue("This model has no end token, so a constrained text could not end.", field=FIELD)
        backend = getattr(loaded.tokenizer, "backend_tokenizer", None)
        try:
            if backend is None:
                raise TypeError("no fast tokenizer")
            # Tokens may have been added to the tokenizer alone.
            count = max(loaded.vocab, 1 + max(backend.get_vocab().values(), default=0))
            ends = [end for end in sorted(loaded.eos_ids) if end < count]
            self.tokenizer = LLTokenizer(backend.to_str(), n_vocab=count, eos_token=ends)
        except (ValueError, TypeError) as exc:
            raise BadValue("This model's tokenizer cannot be held to a constraint.", field=FIELD) from exc
        self.end_ids = loaded.eos_ids
        added = {at: str(token.content) for at, token in loaded.tokenizer.added_tokens_decoder.items()}
        self.vocabulary = Vocabulary(
            {
                name: at
                for at, name in added.items()
                if at < loaded.vocab and self.tokenizer.is_special_token(at)
            },
            loaded.eos_ids,
        )
        self._grammars: OrderedDict[str, LLMatcher] = OrderedDict()
        self._lock = threading.Lock()

    def compile(self, constraint: Constraint) -> Matcher:
        """A matcher at the start of its text. Raises BadValue for what is too large or makes no sense."""
        grammar = write_grammar(constraint)
        with self._lock:
            found = self._grammars.pop(grammar, None)
        if found is None:
            found = LLMatcher(self.tokenizer, grammar, log_level=0, limits=LIMITS)
            if found.is_error():
                raise BadValue(explain_fault(constraint, found.get_error()), field=FIELD)
            if not any(found.compute_bitmask()) or found.is_error():
                raise BadValue("The constraint cannot be used: no text fits it.", field=FIELD)
        with self._lock:
            self._grammars[grammar] = found
            while len(self._grammars) > MOST_GRAMMARS:
                self._grammars.popitem(last=False)
            return Matcher(found.deep_copy(), self.end_ids)


_compilers: WeakKeyDictionary[LoadedModel, Compiler] = WeakKeyDictionary()
_making = threading.Lock()


def make_matcher(constraint: Constraint, loaded: LoadedModel) -> Matcher:
    """What holds a text of `loaded` to `constraint`. Raises BadValue. May take a second the first time."""
    return find_compiler(loaded).compile(constraint)


def read_vocabulary(loaded: LoadedModel) -> Vocabulary:
    """The tokens that a grammar of `loaded` sees whole. Raises and takes as `make_matcher`."""
    return find_compiler(loaded).vocabulary


def find_compiler(loaded: LoadedModel) -> Compiler:
    with _making:
        compiler = _compilers.get(loaded)
        if compiler is None:
            compiler = _compilers[loaded] = Compiler(loaded)
        return compiler


def write_grammar(constraint: Constraint) -> str:
    """The constraint in llguidance's own form. Raises BadValue."""
    try:
        if constraint.json_schema is not None:
            schema = require_short(json.dumps(prepare_schema(constraint.json_schema), allow_nan=False))
            return LLMatcher.grammar_from_json_schema(schema, defaults=JSON_DEFAULTS)
        if constraint.regex is not None:
            return grammar_from("regex", require_short(constraint.regex))
        if constraint.grammar is not None:
            return LLMatcher.grammar_from_lark(require_short(constraint.grammar))
        return grammar_from("choice", require_short(json.dumps(constraint.choices)))
    except (ValueError, RecursionError) as exc:  # a lone surrogate is a ValueError, too
        raise BadValue(f"The constraint cannot be used: {shorten(str(exc))}.", field=FIELD) from exc


def explain_fault(constraint: Constraint, message: str) -> str:
    """Why a grammar cannot be used; of a schema, with the place inside it."""
    fault = find_schema_fault(constraint.json_schema) if constraint.json_schema is not None else None
    if fault is None:
        return f"The constraint cannot be used: {shorten(message)}."
    return (
        f"The constraint cannot be used: {fault.reason}{' at ' + '.'.join(fault.path) if fault.path else ''}."
    )


def require_short(source: str) -> str:
    if len(source) > LONGEST_SOURCE:
        raise BadValue(f"A constraint has at most {LONGEST_SOURCE} characters.", field=FIELD)
    source.encode()
    return source
