"""Models too large for most machines, as their published configs: what is drawn of them without weights."""

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "shapes"


@dataclass(frozen=True)
class BundledShape:
    """A config that ships with the program. `parameters` is what its makers say."""

    name: str
    title: str
    description: str
    parameters: int

    @property
    def config(self) -> Path:
        return FOLDER / f"{self.name}.json"


SHAPES: dict[str, BundledShape] = {
    shape.name: shape
    for shape in (
        BundledShape("gpt2", "GPT-2", "12 blocks of 12 heads (2019).", 124_000_000),
        BundledShape(
            "gpt3-175b", "GPT-3", "96 blocks of 96 heads (2020), as GPT-2 is built.", 175_000_000_000
        ),
        BundledShape("llama3-8b", "Llama 3 8B", "Grouped queries, gated MLPs (2024).", 8_030_000_000),
        BundledShape("llama3-70b", "Llama 3 70B", "The same in 80 wider blocks (2024).", 70_600_000_000),
        BundledShape("llama3-405b", "Llama 3.1 405B", "The same in 126 blocks (2024).", 405_000_000_000),
        BundledShape("mixtral-8x7b", "Mixtral 8x7B", "8 experts a block, 2 chosen (2023).", 46_700_000_000),
        BundledShape(
            "deepseek-v3-671b",
            "DeepSeek-V3",
            "Latent attention, 256 experts and a shared one a block, 8 chosen (2024).",
            671_000_000_000,
        ),
        BundledShape(
            "gpt-oss-120b", "gpt-oss-120b", "128 experts a block, 4 chosen, sinks (2025).", 116_800_000_000
        ),
        BundledShape(
            "qwen3-next-80b",
            "Qwen3-Next 80B",
            "Three blocks in four keep a state, 512 experts a block, 10 chosen (2025).",
            80_000_000_000,
        ),
    )
}
