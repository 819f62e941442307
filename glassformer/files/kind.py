"""What a model is by its config, and in words why some kinds are not served; no weights are read for it."""

from __future__ import annotations

from typing import Any

from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
    MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING,
)

from glassformer.errors import ModelRefused

# A config of a family keeps the name of the class that its weights were saved from.
DECODER_ENDINGS = ("ForCausalLM", "LMHeadModel", "Decoder")


def is_known(model_type: object) -> bool:
    """Whether transformers has a class of its own for a model type."""
    return isinstance(model_type, str) and model_type in CONFIG_MAPPING


def refuse_unless_causal(config: Any) -> None:
    """Raise ModelRefused, saying what it is instead, for a model that is not read as a causal language model."""
    is_causal = type(config) in MODEL_FOR_CAUSAL_LM_MAPPING
    if is_causal and not (getattr(config, "is_encoder_decoder", False) and not names_decoder(config)):
        return
    name = name_class(config)
    if getattr(config, "is_encoder_decoder", False) and is_text_to_text(config):
        raise ModelRefused(
            f"This is an encoder-decoder ({name}): it reads one whole text and writes another. Served here are models "
            "that go on with a text."
        )
    if is_causal:
        return
    if type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING or holds_language_model(config):
        raise ModelRefused(
            f"This is a language model inside a model that also reads pictures or sound ({name}). Such models are not "
            "read here yet; a model of text alone is."
        )
    if type(config) in MODEL_FOR_MASKED_LM_MAPPING:
        raise ModelRefused(
            f"This is an encoder ({name}): it fills in masked words and sees later tokens, so it does not predict the "
            "next token."
        )
    raise ModelRefused(f"This model ({name}) does not predict the next token, so it cannot be served.")


def name_class(config: Any) -> str:
    """The class that its weights were saved from, else its model type."""
    names = getattr(config, "architectures", None) or [f"model type {config.model_type!r}"]
    return str(names[0])[:80]


def names_decoder(config: Any) -> bool:
    names = getattr(config, "architectures", None)
    return not names or str(names[0]).endswith(DECODER_ENDINGS)


def is_text_to_text(config: Any) -> bool:
    kind = type(config)
    return kind in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING or kind in MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING


def holds_language_model(config: Any) -> bool:
    """Whether one of a config's parts is that of a causal language model."""
    text = config.get_text_config()
    return text is not config and type(text) in MODEL_FOR_CAUSAL_LM_MAPPING
