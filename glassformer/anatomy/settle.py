"""Which sites may be shown: what the self-check found about each, weighed together.

A captured tensor is the model's own wherever the module was the right one. Two things show that it was: an equation
that gives it, or an equation of a later site that is computed from it. A site with neither is refused.
"""

from __future__ import annotations

from glassformer.anatomy.selfcheck import Finding
from glassformer.operation.equation import list_inputs
from glassformer.protocol.address import split_address
from glassformer.protocol.anatomy import Check, Equation

# For each point, the points whose equation shows what it is: operations that leave no room for another tensor (a sum,
# a projection, a dot product), unlike a norm, which forgets a factor, or a head layout, which its own equation shows.
SHOWN_BY: dict[str, frozenset[str]] = {
    "embeddings": frozenset({"resid_pre"}),
    "attn_in": frozenset({"q", "k", "v", "attn_gate"}),
    "q": frozenset({"attn_scores"}),
    "k": frozenset({"attn_scores"}),
    "v": frozenset({"z"}),
    "attn_probs": frozenset({"z"}),
    "attn_out": frozenset({"resid_mid", "resid_post"}),
    "resid_mid": frozenset({"resid_post"}),
    "mlp_in": frozenset({"mlp_pre", "mlp_pre_linear", "router_logits", "mlp_out"}),
    "mlp_pre": frozenset({"mlp_act"}),
    "mlp_act": frozenset({"mlp_out"}),
    "expert_weights": frozenset({"mlp_out"}),
    "shared_out": frozenset({"mlp_out"}),
    "mlp_out": frozenset({"resid_post"}),
    "final_norm": frozenset({"lm_head"}),
}
# What a block is given and what it hands on need no equation: they are its boundary, and running it alone from the one
# gives the other. Neither do the logits, nor attention probabilities where the model itself hands them on.
BOUNDARIES = frozenset({"resid_pre", "resid_post", "lm_head"})
UNKNOWN = "how it is computed is not known here; what is computed from it holds"
BOUNDARY = "how it is computed is not known here; it is what the model itself hands on"


def settle(findings: dict[str, Finding], *, hands_patterns: bool) -> dict[str, Finding]:
    """The findings with every accepted site's equation made of accepted sites only.

    `hands_patterns` says that attention probabilities are the model's own output, not made from queries and keys.
    """
    boundaries = BOUNDARIES | {"attn_probs"} if hands_patterns else BOUNDARIES
    equations = {address: f.equation for address, f in findings.items() if f.equation is not None}
    while True:
        accepted = set(equations) | _find_shown(equations, findings, boundaries)
        kept = {a: e for a, e in equations.items() if set(list_inputs(e)) <= accepted}
        if len(kept) == len(equations):
            break
        equations = kept
    return {
        address: _conclude(address, finding, equations.get(address), address in accepted)
        for address, finding in findings.items()
    }


def _find_shown(
    equations: dict[str, Equation], findings: dict[str, Finding], boundaries: frozenset[str]
) -> set[str]:
    shown = {a for a, f in findings.items() if f.stands and split_address(a)[0] in boundaries}
    for user, equation in equations.items():
        point = split_address(user)[0]
        for address in list_inputs(equation):
            finding = findings.get(address)
            if (
                finding is not None
                and finding.stands
                and point in SHOWN_BY.get(split_address(address)[0], ())
            ):
                shown.add(address)
    return shown


def _conclude(address: str, finding: Finding, equation: Equation | None, is_accepted: bool) -> Finding:
    if not is_accepted:
        check = finding.check
        if check.status != "refused":
            reason = "it is computed from what is refused here, and nothing else shows what it is"
            check = Check(status="refused", reason=reason)
        return Finding(finding.stands, None, check)
    if equation is not None:
        return Finding(True, equation, finding.check)
    reason = BOUNDARY if split_address(address)[0] in (*BOUNDARIES, "attn_probs") else UNKNOWN
    return Finding(True, None, Check(status="exact", max_abs_difference=0.0, reason=reason))
