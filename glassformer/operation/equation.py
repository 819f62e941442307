"""Equations as data: what they read, and factors that are left open for a check to find."""

from __future__ import annotations

from collections.abc import Mapping

from glassformer.protocol.anatomy import Equation, EquationInput, Input, SiteInput


def find_open(equation: Equation) -> Equation | None:
    """The part of an equation whose factor has been left open, if there is one."""
    if "factor" in equation.attributes and equation.attributes["factor"] is None:
        return equation
    nested = (find_open(given.equation) for given in equation.inputs if isinstance(given, EquationInput))
    return next((found for found in nested if found is not None), None)


def close_factor(equation: Equation, factor: float) -> Equation:
    """The equation with its open factors set."""
    attributes = dict(equation.attributes)
    if "factor" in attributes and attributes["factor"] is None:
        attributes["factor"] = factor
    inputs = [
        EquationInput(equation=close_factor(given.equation, factor))
        if isinstance(given, EquationInput)
        else given
        for given in equation.inputs
    ]
    return equation.model_copy(update={"inputs": inputs, "attributes": attributes})


def list_inputs(equation: Equation) -> list[str]:
    """Addresses of all sites an equation reads."""
    found = []
    for given in equation.inputs:
        if isinstance(given, SiteInput):
            found.append(given.address)
        elif isinstance(given, EquationInput):
            found += list_inputs(given.equation)
    return found


def put_in(equation: Equation, known: Mapping[str, Equation]) -> Equation:
    """The equation with the sites that are `known` by an equation of their own replaced by that."""
    inputs: list[Input] = []
    for given in equation.inputs:
        if isinstance(given, SiteInput) and given.address in known:
            inputs.append(EquationInput(equation=put_in(known[given.address], known)))
        elif isinstance(given, EquationInput):
            inputs.append(EquationInput(equation=put_in(given.equation, known)))
        else:
            inputs.append(given)
    return equation.model_copy(update={"inputs": inputs})


def flatten_sums(equation: Equation) -> Equation:
    """The equation with sums of sums as one, their parts in an order that does not depend on how they were written."""
    inputs: list[Input] = []
    for given in equation.inputs:
        inner = flatten_sums(given.equation) if isinstance(given, EquationInput) else None
        if inner is None:
            inputs.append(given)
        elif inner.operation == "add" and (equation.operation == "add" or len(inner.inputs) == 1):
            inputs += inner.inputs
        else:
            inputs.append(EquationInput(equation=inner))
    if equation.operation == "add":
        inputs.sort(key=lambda given: given.model_dump_json())
    return equation.model_copy(update={"inputs": inputs})


def without_constants(equation: Equation) -> str:
    """What an equation computes from what, as text: the same for equations that differ in their constants alone."""
    parts = [
        without_constants(given.equation) if isinstance(given, EquationInput) else given.model_dump_json()
        for given in equation.inputs
    ]
    return f"{equation.operation}({', '.join(parts)})"


def has_constants(equation: Equation) -> bool:
    """Whether another equation may differ from it in its constants alone."""
    nested = (has_constants(given.equation) for given in equation.inputs if isinstance(given, EquationInput))
    return equation.operation in ADJUSTABLE or any(nested)


ADJUSTABLE = frozenset({"norm", "scale", "rotary", "softcap", "mask", "activation", "route"})
