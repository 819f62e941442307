"""A tokenizer that has the control tokens of every chat template here."""

import pytest
from chat_templates import make_knowing_tokenizer
from transformers import PreTrainedTokenizerFast


@pytest.fixture(scope="session")
def knowing() -> PreTrainedTokenizerFast:
    return make_knowing_tokenizer()
