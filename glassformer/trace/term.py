"""Addends of an explained cell, and how their numbers are written: pure functions on messages and text."""

from __future__ import annotations

import math

from glassformer.protocol.messages import Term


def scaled(terms: list[Term], factor: float) -> list[Term]:
    """Terms of a sum after multiplying the sum by a constant."""
    return [term.model_copy(update={"contribution": term.contribution * factor}, deep=True) for term in terms]


def merged_terms(first: list[Term], second: list[Term]) -> list[Term]:
    """Terms of two sums over the same things, added label by label."""
    merged = {term.label: term for term in first}
    for term in second:
        held = merged.get(term.label)
        if held is None:
            merged[term.label] = term
            continue
        held.contribution += term.contribution
        held.operands += [operand for operand in term.operands if operand not in held.operands]
    return [*merged.values()]


def label_of(place: list[int]) -> str:
    """How an input feature of a linear map is called: its last index, with its head where it has one."""
    return f"feature {place[-1]}" if len(place) == 2 else f"head {place[0]}, feature {place[-1]}"


def number(value: float) -> str:
    """Four significant digits in LaTeX."""
    if not math.isfinite(value):
        return r"-\infty" if value < 0 else r"\infty"
    text = f"{value:.4g}"
    mantissa, e, exponent = text.partition("e")
    return rf"{mantissa} \cdot 10^{{{int(exponent)}}}" if e else text


def bracket(text: str) -> str:
    """Negative numbers in brackets, so that signs do not collide."""
    return f"({text})" if text.startswith("-") else text
