"""The models that ship inside the package: where they lie, what they are, what to ask them. Loads nothing."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Bundled:
    name: str
    description: str
    prompts: tuple[str, ...]
    """Samples, the best first; each ends just before what the model should write."""

    @property
    def folder(self) -> Path:
        """A folder that `from_pretrained` loads."""
        return Path(__file__).parent / self.name


TALES = Bundled(
    name="tales",
    description="Tells small stories and follows who holds what (Llama-shaped, 5 blocks, 1.0M parameters).",
    prompts=(
        "Mia and Tom are in the garden. Mia has a new ball. She gives the ball to Tom. Mia is glad. Who has the ball?",
        "Ana has three apples. Ben gives Ana two more. How many apples does Ana have?",
        "Zoe finds a key under the bench. Zoe hides the key behind the tree. Leo wants it. Where is the key?",
        "One day, Nina and Hugo are in the forest. Nina finds a lantern.",
    ),
)
SORTER = Bundled(
    name="sorter",
    description="Writes six letters A, B, C again in order (GPT-2-shaped, 3 blocks, 85k parameters).",
    prompts=("CBABBC", "BCACBA", "CCCABA", "ABCABC"),
)
MODELS: dict[str, Bundled] = {model.name: model for model in (TALES, SORTER)}
