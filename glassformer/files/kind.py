"""What a model is by its config, and in words why some kinds are not served; no weights are read for it."""

from __future__ import annotations

from typing import Any

from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    MODEL_FOR_MULTIMODAL_LM_MAPPING,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
    MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING,
)

from glassformer.errors import ModelRefused

# A config of a family keeps the name of the class that its weights were saved from.
DECODER_ENDINGS = ("ForCausalLM", "LMHeadModel", "WithLMHead", "Decoder")
# Heads that give a text, its words or its answers a label, on the trunk of any family.
CLASSIFIER_ENDINGS = (
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
    "ForMultipleChoice",
    "RewardModel",
)


def is_known(model_type: object) -> bool:
    """Whether transformers has a class of its own for a model type."""
    return isinstance(model_type, str) and model_type in CONFIG_MAPPING


def refuse_unless_causal(config: Any) -> None:
    """Raise ModelRefused, saying what it is instead, for a model that is not read as a causal language model."""
    name = name_class(config)
    if name.endswith(CLASSIFIER_ENDINGS):
        raise ModelRefused(
            f"This is a classifier ({name}): its head labels texts in place of predicting the next token."
        )
    is_causal = find_plain_class(config) is not None
    is_encoder = is_causal and fills_in(config) and not names_decoder(config)
    if (
        is_causal
        and not is_encoder
        and not (getattr(config, "is_encoder_decoder", False) and not names_decoder(config))
    ):
        return
    if holds_encoder_decoder(config):
        raise ModelRefused(
            f"This is an encoder-decoder ({name}): it reads one whole text and writes another. Served here are models "
            "that go on with a text."
        )
    if (is_causal and not is_encoder) or find_whole_class(config) is not None:
        return
    if type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING or holds_language_model(config):
        raise ModelRefused(
            f"This is a language model inside a model that also reads pictures or sound ({name}), and where in it is "
            "not known here; a model of text alone is read."
        )
    if type(config) in MODEL_FOR_MASKED_LM_MAPPING:
        raise ModelRefused(
            f"This is an encoder ({name}): it fills in masked words and sees later tokens, so it does not predict the "
            "next token."
        )
    raise ModelRefused(f"This model ({name}) does not predict the next token, so it cannot be served.")


def name_class(config: Any) -> str:
    """The class that its weights were saved from, else its model type."""
    return (read_architecture(config) or f"model type {config.model_type!r}")[:80]


def names_decoder(config: Any) -> bool:
    name = read_architecture(config)
    return name is None or name.endswith(DECODER_ENDINGS)


def read_architecture(config: Any) -> str | None:
    """The first class that a config names, if it names any."""
    names = getattr(config, "architectures", None)
    return str(names[0]) if isinstance(names, list | tuple) and names else None


def fills_in(config: Any) -> bool:
    """Whether a family that can be either was set up to fill in words, as its configs say by themselves."""
    return type(config) in MODEL_FOR_MASKED_LM_MAPPING and getattr(config, "is_decoder", None) is False


def holds_encoder_decoder(config: Any) -> bool:
    """Whether a model, or the text part of one that reads pictures, reads one whole text and writes another."""
    is_one = any(getattr(part, "is_encoder_decoder", False) for part in (config, config.get_text_config()))
    return is_one and (
        type(config) in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING
        or type(config) in MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING
        or find_whole_class(config) is not None
    )


def holds_language_model(config: Any) -> bool:
    """Whether one of a config's parts is that of a causal language model."""
    text = config.get_text_config()
    return text is not config and type(text) in MODEL_FOR_CAUSAL_LM_MAPPING


def list_other_parts(config: Any) -> list[str]:
    """The names of a config's parts that are not its text's."""
    text = config.get_text_config()
    parts = {name: getattr(config, name, None) for name in getattr(type(config), "sub_configs", {})}
    return [name for name, part in parts.items() if part is not None and part is not text]


def find_plain_class(config: Any) -> Any | None:
    """transformers' class for a config that is read as a causal language model; None where it has none."""
    for mapping in (MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING):
        if type(config) in mapping and (
            mapping is MODEL_FOR_CAUSAL_LM_MAPPING or not type(config).sub_configs
        ):
            return mapping[type(config)]
    return None


def find_whole_class(config: Any) -> Any | None:
    """The class of a whole model of whose parts the language model is but one; None for a model of text alone."""
    if not list_other_parts(config):
        return None
    kind = type(config)
    for mapping in (
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
        MODEL_FOR_MULTIMODAL_LM_MAPPING,
        MODEL_FOR_CAUSAL_LM_MAPPING,
    ):
        if kind in mapping:
            found: Any = mapping[kind]
            return found[0] if isinstance(found, tuple) else found
    return None
