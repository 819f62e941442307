"""Modules as the candidates of equations need them: named, and each once."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn


def name_function(module: nn.Module | None) -> str:
    """What a module of an activation is called in equations."""
    return type(module).__name__.removesuffix("Activation") or "act"


def unlike(modules: Iterable[nn.Module | None]) -> list[nn.Module]:
    """The modules there are, each once, in order."""
    return list({id(module): module for module in modules if module is not None}.values())


def find_eps(norm: nn.Module) -> float:
    """The constant that a norm holds; 0.0 where it holds none."""
    found = (getattr(norm, name, None) for name in ("variance_epsilon", "eps"))
    return next((float(value) for value in found if value is not None), 0.0)
