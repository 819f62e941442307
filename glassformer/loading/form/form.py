"""What every form of a model on a disk can be asked: the one thing that loading knows of files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from glassformer.files.size import StoredTensor
from glassformer.loading.plan import Plan

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Form(Protocol):
    """One model as it lies on a disk, found safe to be read.

    Asked in the order of its members: only `read_weights` reads weights, and what comes before it says what they take.
    """

    @property
    def place(self) -> Path:
        """The folder or file it lies in; never told to anybody."""

    @property
    def stored(self) -> Mapping[str, str]:
        """How the files keep weights that they keep in fewer bits than they are read as, known once they are read."""

    def list_tensors(self) -> list[StoredTensor]:
        """What its files say they hold, as it will lie in memory before numbers are converted. Raises ModelRefused."""

    def read_config(self) -> Any:
        """The transformers config, anew each time. Raises ModelRefused or ModelFailed."""

    def read_tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer. Raises ModelRefused where there is none that can be read."""

    def read_weights(self, config: Any, plan: Plan) -> tuple[PreTrainedModel, Any]:
        """The model and what transformers found on loading it (`missing_keys`, `mismatched_keys`).

        For the holder of `BUILDING`. May raise anything.
        """

    def describe(self, model: PreTrainedModel) -> str:
        """What whoever looks at the model should know of how it was read, in sentences; mostly nothing."""
