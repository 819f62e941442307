"""Equations in the notation of textbooks: one symbol a point, the block as a superscript.

Pure text; the page typesets it with KaTeX.
"""

from __future__ import annotations

from glassformer.operation.closed_set import OPERATIONS
from glassformer.protocol.address import split_address
from glassformer.protocol.anatomy import Equation, EquationInput, Input, SiteInput

SYMBOLS = {
    "embeddings": "e",
    "resid_pre": "x",
    "attn_in": r"\hat{x}",
    "q": "q",
    "k": "k",
    "v": "v",
    "attn_scores": "s",
    "attn_probs": "a",
    "z": "z",
    "attn_out": "o",
    "resid_mid": "x'",
    "mlp_in": r"\hat{x}'",
    "mlp_pre": "g",
    "mlp_pre_linear": "u",
    "mlp_act": "h",
    "mlp_out": "m",
    "resid_post": "x''",
    "final_norm": "f",
    "lm_head": r"\ell",
    # What an adapter's A makes of what the matrix of that role reads.
    **{
        f"lora_{role}": rf"c_{{\mathrm{{{role}}}}}"
        for role in ("q", "k", "v", "qkv", "o", "gate", "up", "down")
    },
    "lora_gate_up": r"c_{\mathrm{gate\,up}}",
}
WEIGHT_SYMBOLS = {
    "token_embedding": "E",
    "position_embedding": "P",
    "unembedding": "U",
    "attn_norm": r"\gamma",
    "mlp_norm": r"\gamma",
    "final_norm": r"\gamma",
    "q_norm": r"\gamma_q",
    "k_norm": r"\gamma_k",
    "lora_a": "A",
    "lora_b": "B",
}


def write_symbol(address: str) -> str:
    """The symbol of a site, for example `q^{(3)}`."""
    point, block = split_address(address)
    symbol = SYMBOLS.get(point, rf"\mathrm{{{point}}}".replace("_", r"\_"))
    return symbol if block is None else f"{symbol}^{{({block})}}"


def write_latex(address: str, equation: Equation, roles: dict[str, str]) -> str:
    """`address = ...` in LaTeX; `roles` gives the role of each weight name."""
    return f"{write_symbol(address)} = {_write(equation, roles)}"


def _write_input(given: Input, roles: dict[str, str]) -> str:
    if isinstance(given, SiteInput):
        return write_symbol(given.address)
    if isinstance(given, EquationInput):
        return _write(given.equation, roles)
    role = roles.get(given.name, "other")
    return WEIGHT_SYMBOLS.get(role, rf"W_{{\mathrm{{{role}}}}}")


def _write(equation: Equation, roles: dict[str, str]) -> str:
    parts = [_write_input(given, roles) for given in equation.inputs]
    return OPERATIONS[equation.operation].latex(parts, equation.attributes)
