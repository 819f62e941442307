"""Every setting, its environment name (`GLASSFORMER_` and the field's name in capitals) and its meaning.

`glassformer serve` has an option for each (`--` and the field's name with dashes, `--no-` for off); an option given
there wins over the environment. Lists are separated by commas in the environment and repeated on the command line.
Imports neither torch nor a web framework, so that `glassformer --help` stays quick.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from glassformer.errors import StartError

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class Settings(BaseSettings):
    """The whole configuration of a server."""

    model_config = SettingsConfigDict(env_prefix="GLASSFORMER_", extra="forbid", frozen=True)

    # --- where it listens and who may ask --------------------------------------------------------
    host: str = Field(
        default="127.0.0.1", description="Address to listen on; only this machine can reach the default."
    )
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    insecure: bool = Field(default=False, description="Allow listening beyond this machine without API keys.")
    api_keys: Annotated[list[SecretStr], NoDecode] = Field(
        default_factory=list,
        description="Keys that clients send as `Authorization: Bearer KEY`; none means that no key is asked for.",
    )
    allowed_hosts: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="Names this server may be called by in the Host header, beside its own address; `*` for any.",
    )
    cors_origins: Annotated[list[str], NoDecode] = Field(
        default_factory=lambda: ["localhost"],
        description="Web origins whose pages may call the server and show its page in a frame; `localhost` means any "
        "port there, `*` any origin.",
    )
    root_path: str = Field(
        default="",
        pattern=r"^(/[A-Za-z0-9._~-]+)*$",
        description="What a proxy puts before every path, such as `/glass`, whether it takes it off again or not.",
    )
    page_url: str | None = Field(
        default=None,
        description="For notebooks: the address under which a browser reaches a port of the kernel's machine, with "
        "`{port}` in its place, such as `https://host/proxy/{port}`.",
    )
    trusted_proxies: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="Addresses of proxies whose X-Forwarded-For names the client.",
    )

    # --- models ----------------------------------------------------------------------------------
    default_model: str = Field(
        default="tales", description="Model that is loaded at the start and that the page opens with."
    )
    model_dirs: Annotated[list[Path], NoDecode] = Field(
        default_factory=list,
        description="Folders whose models may be loaded by name; nothing outside them is read.",
    )
    local_models: bool = Field(
        default=True,
        description="Offer what other programs keep on this machine as well: the hub's cache, Ollama's store, "
        "LM Studio's folder.",
    )
    offline: bool = Field(
        default=False, description="Never ask the model hub; models already in its cache still load."
    )
    hub_endpoint: str | None = Field(
        default=None, description="Address of the model hub, where it is not the usual one."
    )
    hub_token: SecretStr | None = Field(
        default=None,
        description="Token for the model hub, for gated and private models; without it HF_TOKEN or a login counts.",
    )
    hub_cache: Path | None = Field(
        default=None, description="Folder that keeps downloaded models; none is the hub library's own."
    )
    pinned_models: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="Models that are loaded at the start and never unloaded to make room.",
    )
    device: str = Field(
        default="auto",
        description="Device the models run on: auto, cpu, cuda, cuda:1, mps; "
        "auto spreads over several GPUs what one cannot hold.",
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto",
        description="Number format of the weights; auto is float32 on a CPU and the model's own elsewhere.",
    )
    quantize: Literal["none", "int8", "int4"] = Field(
        default="none",
        description="Keep linear maps in fewer bits, made while loading: less memory, less exact. "
        "Needs the extra `quantized`.",
    )
    model_bytes: int = Field(
        default=0,
        ge=0,
        description="Memory for weights; 0 is 60 % of the machine's, 85 % of the GPUs'. "
        "Idle models are unloaded to stay below.",
    )

    copy_weights: bool = Field(
        default=True,
        description="On a CPU, keep copies of a model's weights in the order or format that it multiplies quickest, "
        "where half of the memory that is left holds them.",
    )
    compile_blocks: bool = Field(
        default=False,
        description="On a CPU, compile a model's blocks while loading it, so that a text that is written alone comes "
        "quicker; needs a C++ compiler, and copies weights as `copy_weights` allows.",
    )

    # --- limits ----------------------------------------------------------------------------------
    trace_bytes: int = Field(
        default=2**30,
        ge=2**20,
        description="Memory for recordings, those under way with their keys and values, and for what models have read "
        "before; what was looked at longest ago is given up first, and a recording that cannot fit is refused.",
    )
    max_traces: int = Field(
        default=64,
        ge=1,
        le=512,
        description="Recordings kept at the same time; those looked at longest ago are given up first.",
    )
    max_new_tokens: int = Field(default=16_384, ge=1, description="Largest `max_new_tokens` of one request.")
    max_prompt_tokens: int = Field(
        default=131_072, ge=1, description="Longest prompt, where the model's context is longer."
    )
    max_running: int = Field(
        default=32, ge=1, description="Generations of one model that are computed at the same time."
    )
    max_waiting: int = Field(
        default=64,
        ge=0,
        description="Generations of one model that wait for a place, for each client (an API key, else an address); "
        "more get a 429.",
    )
    prefix_bytes: int = Field(
        default=512 * 2**20,
        ge=0,
        description="The most of `trace_bytes` that one model may take for what it has read before, so that a prompt "
        "that goes on from there computes only what is new; 0 keeps nothing.",
    )
    response_bytes: int = Field(
        default=64 * 2**20,
        ge=0,
        description="Memory for answers of `/v1/responses` that later requests go on from; those asked for longest ago "
        "are given up first, and 0 keeps none.",
    )
    max_responses: int = Field(
        default=1000, ge=0, description="Answers of `/v1/responses` kept at the same time."
    )
    strict_fields: bool = Field(
        default=False,
        description="Refuse a field under `/v1` that nobody knows, so that a typing slip is heard, instead of ignoring "
        "it and telling so in the header `X-Glassformer-Ignored`.",
    )
    max_body_bytes: int = Field(default=2 * 2**20, ge=1024, description="Largest request body.")
    max_header_bytes: int = Field(default=32 * 1024, ge=1024, description="Largest sum of request headers.")
    max_connections: int = Field(
        default=768,
        ge=2,
        description="Connections at a time, of which half may come from one address that is no proxy.",
    )
    head_timeout_secs: float = Field(
        default=10.0, gt=0, description="Time a client has until the head of its request has arrived."
    )
    max_sockets: int = Field(
        default=128,
        ge=1,
        description="Live connections (WebSockets and event streams) at a time, of which half may be one client's.",
    )
    load_timeout_secs: float = Field(
        default=7200.0,
        gt=0,
        description="Longest time that a model may take from its first byte until it can write.",
    )
    body_timeout_secs: float = Field(
        default=30.0, gt=0, description="Time a client has to send its request body."
    )
    request_timeout_secs: float = Field(
        default=600.0,
        gt=0,
        description="Longest time until a request is answered, and for a generation until its last token; "
        "a recording's run goes on for as long as somebody follows it or has asked about it since, and its streams, "
        "or a model's loading, have no end but their own.",
    )
    rate_limit: str = Field(
        default="1200/minute",
        description="Requests of one client: so many at once, and as many again in each while; "
        "empty for no limit. Cells have a limit of their own.",
    )
    tile_rate_limit: str = Field(
        default="60000/minute",
        description="The same for cells of recordings and of models that are loaded: many more than a page asks for.",
    )
    wrong_key_limit: str = Field(
        default="20/minute",
        description="The same for wrong API keys, each of them once; past it no key of that client is looked at.",
    )

    # --- running ---------------------------------------------------------------------------------
    ping_secs: float = Field(
        default=15.0, gt=0, description="Pause after which a quiet stream sends a comment as keep-alive."
    )
    shutdown_timeout_secs: float = Field(
        default=3.0, gt=0, description="Time that open requests have to end at a stop."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level that is logged."
    )
    log_format: Literal["auto", "console", "json"] = Field(
        default="auto", description="auto is coloured text on a terminal and JSON lines elsewhere."
    )

    @field_validator(
        "api_keys",
        "allowed_hosts",
        "cors_origins",
        "trusted_proxies",
        "model_dirs",
        "pinned_models",
        mode="before",
    )
    @classmethod
    def split_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return [part.strip() for part in value.split(",") if part.strip()]
        return value

    @field_validator("api_keys", mode="before")
    @classmethod
    def refuse_empty_keys(cls, value: object) -> object:
        """Who gives a key of nothing, an empty variable perhaps, would be left with a server that asks for none."""
        if isinstance(value, str):
            is_empty = not value.replace(",", "").strip()
        else:
            is_empty = isinstance(value, list) and any(
                isinstance(key, str) and not key.strip() for key in value
            )
        if is_empty:
            raise ValueError("an API key is empty; leave the setting out to ask for none")
        return value

    @field_validator("api_keys")
    @classmethod
    def refuse_short_keys(cls, keys: list[SecretStr]) -> list[SecretStr]:
        if any(len(key.get_secret_value()) < 8 for key in keys):
            raise ValueError("an API key has at least 8 characters")
        if any(key.get_secret_value() != key.get_secret_value().strip() for key in keys):
            raise ValueError("an API key has no spaces at its ends")
        if not all(key.get_secret_value().isascii() and key.get_secret_value().isprintable() for key in keys):
            raise ValueError("an API key consists of printable ASCII characters")
        return keys

    @field_validator("rate_limit", "tile_rate_limit", "wrong_key_limit")
    @classmethod
    def check_rate_limit(cls, value: str) -> str:
        if value:
            from limits import parse

            parse(value)
        return value

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def check_model_dirs(settings: Settings) -> None:
    """Raise StartError for a folder of models that is none."""
    for folder in settings.model_dirs:
        place = folder.expanduser()
        if not place.is_dir():
            fault = "is no folder" if place.exists() else "does not exist"
            raise StartError(f"The model directory {folder} {fault}.", field="model_dirs")
