"""The committed models, loaded as a user would load them."""

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from glassformer import bundled


@pytest.fixture(scope="session")
def tales_folder() -> Path:
    return bundled.TALES.folder


@pytest.fixture(scope="session")
def tales_pair() -> tuple[Any, Any]:
    folder = bundled.TALES.folder
    return AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="session")
def sorter_pair() -> tuple[Any, Any]:
    folder = bundled.SORTER.folder
    return AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
