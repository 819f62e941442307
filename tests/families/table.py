"""Writes docs/families.md: python tests/families/table.py (some minutes)."""

import sys
from pathlib import Path

import torch
import transformers

sys.path.insert(0, str(Path(__file__).parents[1]))

from building import FAMILIES
from measuring import Row, measure

PAGE = Path(__file__).parents[2] / "docs" / "families.md"
HEAD = "| family | served | drawn | attention | sites shown | sites refused |"


def render(rows: list[Row]) -> str:
    """The whole page."""
    built = [row for row in rows if row.not_built is None]
    missing = [row for row in rows if row.not_built is not None]
    shown = sum(row.accepted for row in built)
    refused = sum(row.refused_count for row in built)
    return "\n".join(
        [
            "# Which families open",
            "",
            f"Every causal language model of transformers {transformers.__version__} ({len(rows)} types), as a tiny "
            "random model with what training",
            "would set (multipliers, soft caps, gains, sinks) moved off its neutral value. Written by "
            "`python tests/families/table.py`;",
            "`tests/families` measures every row again and fails when one has changed.",
            "",
            f"- **{len(built)} built**: transformers makes and runs a model from a config ({len(missing)} cannot be, "
            "listed at the end).",
            f"- **{sum(row.served for row in built)} served**: loaded through Glassformer, its logits are those of "
            "transformers' own attention.",
            f"- **{sum(row.is_drawn for row in built)} drawn**: has an anatomy, recordings and explanations; "
            f"{sum(row.is_drawn and not row.reasons for row in built)} of them without a refused site.",
            f"- **{sum(row.is_attention_exact for row in built)} attention exact**: in every block that transformers "
            "gives attention probabilities for, ours are the same.",
            f"- **{shown} sites shown, {refused} refused**, each with its reason.",
            f"- **{sum(bool(row.wrong) for row in built)} silently wrong**: a shown value that is not the model's own.",
            "",
            "What is compared, on a prompt that the self-check at load has not seen: hidden states, attention "
            "probabilities and logits",
            "with plain transformers; every shown site, made by running its one block again, with one whole forward; "
            "and each site's",
            "equation with its value. A refused site is drawn opaque, with the reason given here.",
            "",
            HEAD,
            "|---|---|---|---|---|---|",
            *(render_row(row) for row in built),
            "",
            "## What transformers itself does not build or run",
            "",
            "| family | error |",
            "|---|---|",
            *(render_row(row) for row in missing),
            "",
        ]
    )


def render_row(row: Row) -> str:
    """One line of either table."""
    if row.not_built is not None:
        return f"| {row.family} | {quote(row.not_built)} |"
    if row.refused is not None:
        return f"| {row.family} | {tick(row.served)} | no: {quote(row.refused)} | | | |"
    attention = (
        "none" if not row.attention_blocks else f"{row.attention_exact} of {row.attention_blocks} blocks"
    )
    if row.is_attention_exact:
        attention = "exact"
    reasons = "; ".join(
        f"{', '.join(points)}: {quote(reason)}" for reason, points in sorted(row.reasons.items())
    )
    count = f"{row.accepted} of {row.accepted + row.refused_count}"
    return f"| {row.family} | {tick(row.served)} | yes | {attention} | {count} | {reasons} |"


def tick(value: bool) -> str:
    return "yes" if value else "no"


def quote(text: str) -> str:
    """Text that cannot break a table's cell."""
    return text.replace("|", "/").replace("\n", " ").strip()


def main() -> None:
    torch.set_num_threads(1)
    rows = []
    for family in FAMILIES:
        rows.append(measure(family))
        if rows[-1].wrong:
            print(f"{family}: {rows[-1].wrong}", file=sys.stderr)
    PAGE.write_text(render(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
