"""The command line: `glassformer serve`, `trace`, `shape`, `doctor`, `export`, `models`, `train`.

Options of `serve` are made from the settings, so the two cannot drift. Heavy libraries are imported by the
commands that need them; `--help` stays quick.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

import typer
from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo

from glassformer.errors import GlassformerError
from glassformer.settings import Settings, check_model_dirs

if TYPE_CHECKING:
    from glassformer.notebook import Model

app = typer.Typer(
    help="A transformer made of glass: watch any causal language model at work.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"glassformer {version('glassformer')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=print_version, is_eager=True),
    ] = False,
) -> None:
    """A transformer made of glass: watch any causal language model at work."""


# Lists are given one at a time: --model-dir A --model-dir B.
SINGULAR = {
    "api_keys": "api-key",
    "allowed_hosts": "allowed-host",
    "cors_origins": "cors-origin",
    "trusted_proxies": "trusted-proxy",
    "model_dirs": "model-dir",
    "pinned_models": "pinned-model",
}
METAVARS: dict[Any, str] = {
    int: "NUMBER",
    float: "NUMBER",
    str: "TEXT",
    list[str]: "TEXT",
    list[Path]: "FOLDER",
}


def stop(error: GlassformerError) -> typer.Exit:
    """Say the one sentence; the exit code is 1."""
    typer.echo(f"glassformer: {error.message}", err=True)
    return typer.Exit(1)


def read_settings(**given: Any) -> Settings:
    """The settings with the options that were given. Ends the program with one sentence for a wrong one."""
    try:
        settings = Settings(**{name: value for name, value in given.items() if value not in (None, [])})
        check_model_dirs(settings)
    except GlassformerError as error:
        raise stop(error) from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = str(first["loc"][0]) if first["loc"] else "settings"
        message = str(first["msg"]).removeprefix("Value error, ")
        typer.echo(f"glassformer: {field}: {message}", err=True)
        raise typer.Exit(2) from None
    return settings


def serve(**given: Any) -> None:
    """Serve the page and the API; prints the address once it answers."""
    settings = read_settings(**given)
    from glassformer.server.startup import build_server, check_start, page_address, take_port

    try:
        check_start(settings)
        listener = take_port(settings)
    except GlassformerError as error:
        raise stop(error) from None
    from glassformer.server.log import configure_logging

    configure_logging(settings)
    server = build_server(settings, on_ready=lambda: typer.echo(page_address(settings, listener)))
    server.run(sockets=[listener])


def add_setting_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give `command` one option for each setting; options that are not given stay None."""
    parameters = [make_option(name, field) for name, field in Settings.model_fields.items()]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def make_option(name: str, field: FieldInfo) -> inspect.Parameter:
    kind, default = option_type(field.annotation), field.get_default(call_default_factory=True)
    shown = ", ".join(map(str, default)) if isinstance(default, list) else str(default)
    known = f" (default: {shown})" if default not in (None, [], False, "") else ""
    flag = SINGULAR.get(name, name.replace("_", "-"))
    option = typer.Option(
        # Both ways, so that the command line wins over the environment whatever that says.
        f"--{flag}/--no-{flag}" if kind is bool else f"--{flag}",
        help=f"{field.description}{known}",
        show_default=False,
        metavar=METAVARS.get(kind),
    )
    annotation = Annotated[kind | None, option]  # type: ignore[valid-type]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def option_type(annotation: Any) -> Any:
    """What typer is to read for a setting; the settings check the value themselves."""
    if get_origin(annotation) is list:
        (item,) = get_args(annotation)
        return list[str] if item is SecretStr else list[item]  # type: ignore[valid-type]
    return annotation if annotation in (bool, int, float) else str


app.command()(add_setting_options(serve))


@app.command()
def train(
    name: Annotated[str, typer.Argument(help="sorter or tales")],
    out: Annotated[Path | None, typer.Option(help="Folder to write to. [default: ./NAME]")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides weights and data.")] = 0,
    steps: Annotated[int | None, typer.Option(min=1, help="Fewer or more steps than the recipe's.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda...")] = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the folder's checkpoint.")] = False,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Train tales faster; on a CPU that needs a C++ compiler.")
    ] = False,
) -> None:
    """Train a bundled model from its seed."""
    from glassformer import training

    try:
        training.train(
            name,
            out_dir=out or Path(name),
            seed=seed,
            steps=steps,
            device=device,
            resume=resume,
            compile_model=compiled,
        )
    except (GlassformerError, ValueError, OSError) as error:
        typer.echo(f"glassformer: {error}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        typer.echo("Stopped; --resume goes on from the last checkpoint.", err=True)
        raise typer.Exit(130) from None


@app.command()
def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
    model_dir: Annotated[list[Path] | None, typer.Option(help="Folders with models of your own.")] = None,
) -> None:
    """List the models on this machine, how large they are, and whether they open and fit."""
    from rich.console import Console

    from glassformer.command.models_output import list_here, print_models
    from glassformer.files.catalog import open_catalog

    settings = read_settings(model_dirs=model_dir)
    print_models(list_here(open_catalog(settings), settings), Console(), as_json=as_json)


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="A bundled model, one of your own, or a hub id.")],
    prompt: Annotated[str, typer.Argument(help="What the model reads.")],
    out: Annotated[Path, typer.Option(help="Folder to write, or one file that ends in .html.")],
    max_new_tokens: Annotated[int, typer.Option(min=0, help="How many tokens it writes at most.")] = 24,
    temperature: Annotated[float, typer.Option(min=0, max=100, help="0 takes the likeliest.")] = 0.0,
    top_p: Annotated[float, typer.Option(min=0.0, max=1, help="As in the page.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Decides the draws.")] = 0,
    weights: Annotated[str, typer.Option(help="none, coarse, full, or auto: full where small.")] = "auto",
    point: Annotated[
        list[str] | None,
        typer.Option(help="In a file: keep every cell of this point, such as q; may be repeated."),
    ] = None,
    max_mb: Annotated[
        int | None,
        typer.Option(min=1, help="Write no more than this; by default 2000, or 25 where it is one file."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export.")] = False,
    model_dir: Annotated[list[Path] | None, typer.Option(help="Folders with models of your own.")] = None,
) -> None:
    """Write a recording that needs no server: a folder for any static host, or one HTML file that opens from a disk."""
    settings = read_settings(model_dirs=model_dir)
    from glassformer.export.export import run_export

    try:
        size = run_export(
            settings,
            model,
            prompt,
            out=out,
            max_new_tokens=max_new_tokens,
            sampling={"temperature": temperature, "top_p": top_p, "seed": seed},
            weights=weights,
            points=point or (),
            largest_bytes=None if max_mb is None else max_mb * 10**6,
            overwrite=overwrite,
        )
    except GlassformerError as error:
        raise stop(error) from None
    how = "open it in a browser" if out.is_file() else f"python -m http.server -d {out}"
    typer.echo(f"{out}: {size / 1e6:.1f} MB. To look at it: {how}")


DEVICE = typer.Option(help="auto, cpu, cuda...", metavar="TEXT")
DTYPE = typer.Option(help="auto, float32, bfloat16 or float16.", metavar="TEXT")
MODEL_DIRS = typer.Option(help="Folders with models of your own.")


@app.command()
def trace(
    model: Annotated[str, typer.Argument(help="A bundled model, a folder, or a hub id.")],
    prompt: Annotated[str, typer.Argument(help="What the model reads.")],
    site: Annotated[list[str] | None, typer.Option(help="An address, such as attn_probs.3.")] = None,
    reading: Annotated[
        bool, typer.Option("--reading", help="Print what each part adds to a word, by default the next one.")
    ] = False,
    versus: Annotated[
        str,
        typer.Option(help="What the word is held against: none, mean (the average word), or a token's text."),
    ] = "none",
    max_new_tokens: Annotated[int, typer.Option(min=0, help="How many tokens it writes at most.")] = 0,
    temperature: Annotated[float, typer.Option(min=0, max=100, help="0 takes the likeliest.")] = 0.0,
    top_p: Annotated[float, typer.Option(min=0.0, max=1, help="As in the page.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Decides the draws.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Write the cells: .npy or .csv (one site), .safetensors, .zarr.")
    ] = None,
    effects: Annotated[
        bool,
        typer.Option(
            "--effects", help="Print what words and parts are worth to the next word, each taken out."
        ),
    ] = False,
    heads: Annotated[
        bool, typer.Option("--heads", help="Print what the heads read: the strongest of each kind.")
    ] = False,
    device: Annotated[str | None, DEVICE] = None,
    dtype: Annotated[str | None, DTYPE] = None,
    model_dir: Annotated[list[Path] | None, MODEL_DIRS] = None,
) -> None:
    """Run a prompt and print what some sites of the model say, or write their cells to a file."""
    from rich.console import Console

    from glassformer.command.effects_output import print_effects
    from glassformer.command.heads_output import print_heads
    from glassformer.command.reading_output import print_reading
    from glassformer.command.trace_output import check_file, check_sites, print_trace, write_trace

    addresses = list(dict.fromkeys(site or []))
    try:
        if out is not None:
            check_file(addresses, out)
        handle = open_model(model, device=device, dtype=dtype, model_dirs=model_dir)
        check_sites(handle, addresses)
        made = handle.trace(
            prompt, max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p, seed=seed
        )
        if reading:
            print_reading(made.reading(versus=versus), Console())
        elif out is None:
            print_trace(made, addresses, Console())
        if effects:
            print_effects(made.effects(versus=versus), Console())
        if heads:
            print_heads(made, Console())
        if out is not None:
            write_trace(made, addresses, out)
    except GlassformerError as error:
        raise stop(error) from None


@app.command()
def shape(
    model: Annotated[
        str | None, typer.Argument(help="A shape's name, a model, or a config.json. [default: list them]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the message that the API gives.")] = False,
    model_dir: Annotated[list[Path] | None, MODEL_DIRS] = None,
) -> None:
    """Tell how large a model is, part by part, from its config alone: no weights are needed."""
    from rich.console import Console

    from glassformer.command.shape_output import find_shape, print_list, print_shape
    from glassformer.files.catalog import open_catalog

    settings = read_settings(model_dirs=model_dir)
    if model is None:
        print_list(Console())
        return
    try:
        found = find_shape(open_catalog(settings), model)
    except GlassformerError as error:
        raise stop(error) from None
    if as_json:
        typer.echo(found.model_dump_json())
    else:
        print_shape(found, Console())


@app.command()
def doctor(
    model: Annotated[str | None, typer.Argument(help="A bundled model, a folder, or a hub id.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Stop before any weight is read.")] = False,
    device: Annotated[str | None, DEVICE] = None,
    dtype: Annotated[str | None, DTYPE] = None,
    model_dir: Annotated[list[Path] | None, MODEL_DIRS] = None,
) -> None:
    """Tell what of a model works here, then load it and tell what of it can be trusted, site by site.

    Without a model: whether what is installed works, and what to do where it does not.
    """
    from rich.console import Console

    from glassformer.command.doctor import print_environment, print_health
    from glassformer.command.installation import print_installation
    from glassformer.command.outlook import print_outlook
    from glassformer.files.catalog import open_catalog
    from glassformer.notebook.session import SESSION

    console = Console(soft_wrap=False)
    print_environment(console)
    try:
        SESSION.settings = read_settings(device=device, dtype=dtype, model_dirs=model_dir)
        if model is None:
            if not print_installation(SESSION.settings, console):
                raise typer.Exit(1)
            return
        settings, source = SESSION.locate(model)
        print_outlook(open_catalog(settings), source, settings, console)
        if not quick:
            print_health(open_model(model, device=device, dtype=dtype, model_dirs=model_dir), console)
    except GlassformerError as error:
        raise stop(error) from None


def open_model(model: str, **given: Any) -> Model:
    """A model for one command, with the settings of the environment and the options that were given."""
    from glassformer.notebook.model import load
    from glassformer.notebook.session import SESSION

    SESSION.settings = read_settings(**given)
    return load(model)
