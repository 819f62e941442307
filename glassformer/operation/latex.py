"""Equations in the notation of textbooks: one symbol a point, the block as a superscript.

Pure text; the page typesets it with KaTeX.
"""

from __future__ import annotations

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
    attributes = equation.attributes
    match equation.operation:
        case "lookup":
            return f"{parts[0]}[{'t' if attributes['by'] == 'token_ids' else r'i'}]"
        case "add":
            return " + ".join(parts)
        case "scale":
            return rf"{float(attributes['factor']):.4g}\,\left({parts[0]}\right)"
        case "norm":
            return _write_norm(parts, attributes["norm"], float(attributes.get("offset", 0.0)))
        case "matmul":
            return rf"{parts[1]}\,{parts[0]}" + (" + b" if len(parts) > 2 else "")
        case "rotary":
            return rf"R_{{\theta}}\left({parts[0]}\right)"
        case "dot":
            return rf"{parts[0]} \cdot {parts[1]}"
        case "softcap":
            cap = f"{float(attributes['cap']):.4g}"
            return rf"{cap}\tanh\left(\frac{{{parts[0]}}}{{{cap}}}\right)"
        case "mask":
            window = attributes.get("window")
            seen = r"j \le i" if window is None else rf"i - {window} < j \le i"
            return rf"\begin{{cases}}{parts[0]} & {seen} \\ -\infty & \text{{otherwise}}\end{{cases}}"
        case "softmax":
            if len(parts) > 1:
                sink = r"\exp(b_{\mathrm{sink}})"
                return rf"\frac{{\exp({{{parts[0]}}}_j)}}{{\sum_k \exp({{{parts[0]}}}_k) + {sink}}}"
            return rf"\operatorname{{softmax}}_j\left({parts[0]}\right)"
        case "weighted_sum":
            return rf"\sum_j {parts[0]}_{{j}}\,{parts[1]}_{{j}}"
        case "activation":
            return rf"\operatorname{{{attributes['function']}}}\left({parts[0]}\right)"
        case "multiply":
            return r" \odot ".join(parts)
    return rf"\operatorname{{{equation.operation}}}\left({', '.join(parts)}\right)"


def _write_norm(parts: list[str], kind: str, offset: float) -> str:
    x = parts[0]
    gain = "" if len(parts) < 2 else parts[1] if not offset else rf"\left({offset:g} + {parts[1]}\right)"
    if kind == "rms":
        return (
            rf"\frac{{{x}}}{{\operatorname{{rms}}({x})}} \odot {gain}"
            if gain
            else rf"\frac{{{x}}}{{\operatorname{{rms}}({x})}}"
        )
    shift = r" + \beta" if len(parts) > 2 else ""
    body = rf"\frac{{{x} - \mu}}{{\sigma}}"
    return (rf"{body} \odot {gain}" if gain else body) + shift
