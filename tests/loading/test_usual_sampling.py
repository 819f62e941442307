"""Which of a generation_config.json's values count."""

import pytest
from transformers import GenerationConfig

from glassformer.loading.usual_sampling import read_usual_sampling


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, {}),
        ({"do_sample": True, "temperature": 0.6, "top_p": 0.9}, {"temperature": 0.6, "top_p": 0.9}),
        ({"temperature": 0.6, "top_p": 0.9}, {}),
        ({"do_sample": False, "temperature": 0.6, "repetition_penalty": 1.1}, {"repetition_penalty": 1.1}),
        ({"do_sample": True, "temperature": -3.0, "top_k": 20, "min_p": 7.0}, {"top_k": 20}),
    ],
)
def test_what_counts(given: dict[str, float], found: dict[str, float]) -> None:
    assert read_usual_sampling(GenerationConfig(**given)) == found
    assert read_usual_sampling(None) == {}
