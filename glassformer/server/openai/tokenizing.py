"""Text to token ids and back, as clients of other servers ask for it; and what a conversation reads as to the model.

`/tokenize` has two forms, told apart by what is sent: the classic one names its model by `model_id`, that of other
servers by `model`, or by nothing: then it speaks of the default model, if the server was told one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from glassformer.errors import BadValue
from glassformer.server.openai.chat_plan import ChatPlan
from glassformer.server.openai.choices import plan
from glassformer.server.openai.openai_request import ChatRequest, CompletionRequest
from glassformer.server.openai.weeded import Weeded
from glassformer.server.services import Services
from glassformer.server.text_field import Text

# Any of these in a request says that it is of the other servers' form.
OTHERS = ("model", "messages", "add_special_tokens", "return_token_strs")
SPECIALS = ("bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token")

Model = Annotated[Text, Field(max_length=512, description="the default model where left out, if one was set")]


class TokenizeText(Weeded):
    model: Model = ""
    prompt: Text
    add_special_tokens: bool = True
    return_token_strs: bool = False


class TokenizeChat(ChatRequest):
    model: Model = ""
    add_special_tokens: bool = Field(False, description="the template brings its own")
    return_token_strs: bool = False


class DetokenizeRequest(Weeded):
    model: Model = ""
    tokens: list[int] = Field(max_length=1_000_000)


def choose_model(named: str, services: Services) -> str:
    """The model that is meant. Raises BadValue where none is named and nobody has said which one that means.

    Harnesses take the tokenizer that such a request finds for that of whatever model they score.
    """
    if named:
        return named
    if "default_model" in services.settings.model_fields_set:
        return services.settings.default_model
    raise BadValue(
        "model is missing; without one the setting default_model is meant, and it has not been set.",
        field="model",
    )


def choose_form(data: Mapping[str, Any]) -> type[TokenizeText] | type[TokenizeChat]:
    return TokenizeChat if data.get("messages") is not None else TokenizeText


async def tokenize(body: TokenizeText | TokenizeChat, services: Services) -> dict[str, Any]:
    """The ids, `count` and the longest text of the model, as those servers answer."""
    loaded = await services.load(choose_model(body.model, services))
    if isinstance(body, TokenizeChat):
        if body.add_special_tokens:
            raise BadValue(
                "The chat template brings its own special tokens; leave add_special_tokens out.",
                field="add_special_tokens",
            )
        ids = (await services.quick(plan, body, loaded))[0].ids
    else:
        ids = await services.quick(loaded.tokenize, body.prompt, adds_special=body.add_special_tokens)
    strings = None
    if body.return_token_strs:
        strings = await services.quick(lambda: list(loaded.tokenizer.convert_ids_to_tokens(ids)))
    return {"count": len(ids), "max_model_len": loaded.context, "tokens": ids, "token_strs": strings}


async def detokenize(body: DetokenizeRequest, services: Services) -> dict[str, Any]:
    """The text of the ids, control tokens by their names."""
    loaded = await services.load(choose_model(body.model, services))
    if not body.tokens:
        return {"prompt": ""}
    ids = loaded.check_ids(body.tokens, field="tokens")
    return {"prompt": await services.quick(lambda: loaded.decode(ids, keep_special=True))}


async def describe_tokenizer(model: str, services: Services) -> dict[str, Any]:
    """What a client needs that encodes and renders by itself."""
    loaded = await services.load(choose_model(model, services))
    tokenizer = loaded.tokenizer
    specials = {name: getattr(tokenizer, name, None) for name in SPECIALS}
    return {
        "model": loaded.model_id,
        "tokenizer_class": type(tokenizer).__name__,
        **{name: None if value is None else str(value) for name, value in specials.items()},
        "add_bos_token": bool(loaded.affixes.before),
        "add_eos_token": bool(loaded.affixes.after),
        "vocab_size": loaded.vocab,
        "max_model_len": loaded.context,
        "model_max_length": loaded.context,
        "chat_template": loaded.chat_template.choose_source(has_tools=False) if loaded.chats else None,
    }


async def render(body: ChatRequest | CompletionRequest, services: Services) -> dict[str, Any]:
    """What the model would read, without running it: of each prompt the text and its token ids."""
    loaded = await services.load(body.model)
    plans = await services.quick(plan, body, loaded)

    def describe(one: ChatPlan) -> dict[str, Any]:
        text = one.rendered or loaded.decode(one.ids, keep_special=True)
        return {"prompt": text, "token_ids": one.ids, "count": len(one.ids)}

    found = await services.quick(lambda: [describe(one) for one in plans])
    head = {"model": loaded.model_id, "max_model_len": loaded.context}
    return {**head, **found[0]} if isinstance(body, ChatRequest) else {**head, "prompts": found}
