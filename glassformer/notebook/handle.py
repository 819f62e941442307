"""`Trace`: a recording in Python, of a model in memory or from a folder; any tensor of it by its address.

Asking costs what it costs behind the server: residuals are there, another site runs its block once, and cells of large
arrays are read when they are used. xarray is imported by the first array that is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glassformer.errors import BadValue, UnknownAddress
from glassformer.notebook.cell_source import NoSite, Source
from glassformer.notebook.explained import Explained, describe_tokens
from glassformer.protocol.anatomy import Anatomy, Site
from glassformer.protocol.messages import Intervention, Sampling
from glassformer.protocol.parse import parse
from glassformer.protocol.reading import Off
from glassformer.tiles.level import Array

if TYPE_CHECKING:
    import pandas
    import xarray

    from glassformer.notebook.readout import Readout
    from glassformer.notebook.tested_parts import SwitchedOff, TestedParts
    from glassformer.reading.decision import Question
    from glassformer.run.run import Run

LENS_TOP = 5
FRAME_HEIGHT_PX = 720


def require_xarray() -> None:
    """Raise BadValue where the optional libraries of the handle are missing."""
    try:
        import xarray  # noqa: F401
    except ImportError:
        raise BadValue("Named arrays need xarray: pip install 'glassformer[notebook]'.") from None


class Trace:
    """What a model did with some tokens: `t["attn_probs.3"]`, `t.explain(...)`, `t.logit_lens()`, `t.show()`."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.token_ids: list[int] = source.token_ids
        self.tokens: list[str] = source.tokens
        """The text of each token as it reads in the middle of a text."""
        self.text: str = source.text
        """Prompt and continuation, special tokens left out."""
        self.prompt_count: int = source.prompt_count
        """How many of the tokens were given; the rest was written by the model."""
        self.positions: int = source.positions
        """How many positions are recorded: all but a last token past the context."""
        self.interventions: tuple[Intervention, ...] = source.interventions
        self.anatomy: Anatomy = source.anatomy

    @property
    def live(self) -> Run | None:
        """The recording as the server knows it; None for one from a folder."""
        return self._source.live

    # --- arrays ------------------------------------------------------------------------------------

    def __getitem__(self, address: str) -> xarray.DataArray:
        """A site with named axes, and tokens as labels. Raises KeyError with the reason for one that is not there."""
        require_xarray()
        from glassformer.notebook.labelled import label_cells

        site = self._require_site(address)
        return label_cells(
            lambda region: self._source.read(address, region),
            self._source.shape(site),
            site.axes,
            name=address,
            tokens=self.tokens,
            attributes=describe_site(site, self.anatomy.model_id),
        )

    def numpy(self, address: str) -> Array:
        """A site as a plain array of float32, all of it, in the order of its axes. Raises KeyError."""
        shape = self._source.shape(self._require_site(address))
        return self._source.read(address, tuple(slice(0, size) for size in shape))

    def __contains__(self, address: object) -> bool:
        return address in self.keys()

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.keys())

    def keys(self) -> list[str]:
        """The addresses that can be asked for, in order of computation."""
        return [address for address in self._list_addresses() if self._find_fault(address) is None]

    def _ipython_key_completions_(self) -> list[str]:
        return self.keys()

    def _list_addresses(self) -> list[str]:
        from glassformer.protocol.anatomy import list_sites

        return list(list_sites(self.anatomy))

    def _find_fault(self, address: str) -> str | None:
        try:
            self._source.require_site(address)
        except UnknownAddress as error:
            return error.message
        return None

    def _require_site(self, address: str) -> Site:
        try:
            return self._source.require_site(str(address))
        except UnknownAddress as error:
            raise NoSite(error.address, error.message) from None

    # --- questions ---------------------------------------------------------------------------------

    def explain(self, address: str, index: Sequence[int] | None = None, **axes: int) -> Explained:
        """Where one cell comes from: `t.explain("mlp_act.2", pos=5, d_mlp=120)`, or its index in axis order.

        Counts from the end where negative. Raises KeyError and BadValue.
        """
        from glassformer.explain.explain import explain

        site = self._require_site(address)
        live = self._require_live("explain")
        place = find_place(site, self._source.shape(site), index, axes)
        with live.looking():
            return Explained.model_validate(explain(live, address, place).model_dump())

    def distribution(self, pos: int = -1, *, top: int = 10, **sampling: Any) -> pandas.DataFrame:
        """What could follow position `pos`, best first, before and after the filters that `sampling` sets.

        `sampling` are the fields of `Sampling`, by default what the trace was drawn with. Raises BadValue.
        """
        require_xarray()  # brings pandas along
        import pandas

        from glassformer.engine.distribution import describe

        live = self._require_live("distribution")
        place = pos + self.positions if pos < 0 else pos
        drawn = parse(Sampling, {**live.sampling.model_dump(), **sampling})
        found = describe(
            live.read_logits(place),
            self.token_ids,
            drawn,
            loaded=live.loaded,
            pos=place,
            prompt_count=self.prompt_count,
            limit=top,
        )
        rows = [
            {
                "token": one.token.text,
                "token_id": one.token.id,
                "logit": one.logit,
                "probability": one.probability,
                "filtered_probability": one.filtered_probability,
                "pruned_by": one.pruned_by,
                "chosen": one.token.id == found.chosen,
            }
            for one in found.candidates
        ]
        frame = pandas.DataFrame(rows)
        frame.attrs = {
            "pos": place,
            "entropy_bits": found.entropy_bits,
            "rest_probability": found.rest_probability,
        }
        return frame

    def logit_lens(
        self, addresses: Sequence[str] | None = None, top: int | None = LENS_TOP
    ) -> xarray.Dataset | xarray.DataArray:
        """What the model would write if it stopped after each block (nostalgebraist 2020).

        A Dataset [block, pos, rank] of the `top` predictions, or with `top` None the logits [block, pos, vocab], formed
        where they are used. `block` counts the blocks that have written: 0 is the embeddings, the last the model's own
        prediction. Reads every recorded residual, or those given. Raises KeyError and BadValue.
        """
        require_xarray()
        from glassformer.notebook.labelled_lens import lens_dataset, lens_logits

        live = self._require_live("logit_lens")
        for address in addresses or ():
            self._require_site(address)
        if top is None:
            return lens_logits(live, self.tokens, addresses)
        with live.looking():
            return lens_dataset(live, self.tokens, addresses, top)

    def heads(self) -> pandas.DataFrame:
        """All heads at a glance: a row for each, by block and head, with what it reads over the text.

        `previous`, `first`, `induction` and `duplicate` are mean attention to the position before, to the first one, to
        what followed earlier occurrences of the token, and to those themselves (NaN in a text without any); then the
        mean entropy in bits and as a share of the most. Of long texts the last 512 positions count; `attrs` says over
        which positions, and which blocks are refused.
        """
        require_xarray()  # brings pandas along
        from glassformer.notebook.labelled_heads import heads_frame

        live = self._require_live("heads")
        with live.looking():
            return heads_frame(live)

    def reading(
        self, pos: int | None = None, *, token: int | str | None = None, versus: int | str = "none"
    ) -> Readout:
        """What mattered for one word at `pos`: what each part adds to its logit, words at each depth, what heads read.

        By default the last position (negative counts from the end) and the token that was written after it, else the
        likeliest. `token` and `versus` are ids or texts of single tokens; `versus` may be "mean", the average word.
        A recording from a folder has the one that is asked for without any of these. Raises BadValue.
        """
        from glassformer.notebook.readout import read_out
        from glassformer.reading.reading import read

        stored = self._source.find_reading()
        if stored is not None and (pos, token, versus) == (None, None, "none"):
            return read_out(stored, self.tokens)
        live = self._require_live("reading")
        question = self._make_question(live, pos, token, versus)
        with live.looking():
            return read_out(read(live, question), self.tokens)

    def effects(
        self,
        pos: int | None = None,
        *,
        token: int | str | None = None,
        versus: int | str = "mean",
        off: Off = "zero",
        blocks: str | None = None,
    ) -> TestedParts:
        """What each word of the text and each part of the model is worth to one word at `pos`: each taken out.

        By default of the last position (negative counts from the end) and the token that was written after it, else the
        likeliest. `token` and `versus`, which the margin is over unless it is "mean", are ids or texts of tokens.
        `off` is what stands in for a part, "zero" or the "mean" of what it writes before. `blocks` is "20-29" for their
        parts alone, "none" for the words alone. Raises BadValue.
        """
        from glassformer.notebook.tested_parts import show_effects
        from glassformer.reading.effects import read_effects

        live = self._require_live("effects")
        question = self._make_question(live, pos, token, versus)
        with live.looking():
            return show_effects(read_effects(live, question, off=off, blocks=blocks), self.tokens)

    def without(
        self, *parts: str, pos: int | None = None, token: int | str | None = None, off: Off = "zero"
    ) -> SwitchedOff:
        """The word at `pos` with parts switched off together: `t.without("head.24.4", "token.17")`. Raises BadValue."""
        from glassformer.notebook.tested_parts import SwitchedOff
        from glassformer.reading.without import read_without

        live = self._require_live("without")
        question = self._make_question(live, pos, token, "none")
        with live.looking():
            found = read_without(live, parts, question, off=off)
        return SwitchedOff.model_validate(found.model_dump())

    def _make_question(
        self, live: Run, pos: int | None, token: int | str | None, versus: int | str
    ) -> Question:
        """What is asked of a recording, from what may count from the end and be the texts of tokens."""
        from glassformer.reading.decision import Question, find_token, parse_versus

        place = pos + self.positions if pos is not None and pos < 0 else pos
        chosen = find_token(live.loaded, token, "token") if isinstance(token, str) else token
        against = (
            parse_versus(str(versus))
            if isinstance(versus, int) or versus in ("none", "mean")
            else find_token(live.loaded, versus, "versus")
        )
        return Question(place, chosen, against)

    # --- keeping and showing -----------------------------------------------------------------------

    def save(
        self, path: str | Path, *, addresses: Sequence[str] | None = None, overwrite: bool = False
    ) -> Path:
        """Write the recording as a Zarr v3 folder that `glassformer.open`, zarr and xarray open without a model.

        All sites, with attention patterns of heads x positions x positions, or only the `addresses` given; on disk
        about five thirds of their cells in float32. With a path that ends in `.html` it is the page on the recording in
        one file, as `glassformer export` writes it: what mattered is all there, cells as far as 25 MB hold them. Raises
        KeyError, and BadValue for a place that cannot be written.
        """
        live = self._require_live("save")
        if Path(path).suffix.lower() == ".html":
            return self._save_page(live, Path(path).expanduser(), addresses, overwrite=overwrite)
        for address in addresses or ():
            self._require_site(address)
        from glassformer.notebook.recording_folder import ANATOMY
        from glassformer.reading.group import with_reading
        from glassformer.tiles.store_folder import write_store

        target = Path(path).expanduser()
        with live.looking():
            store = with_reading(live, live.freeze(addresses))
        files = {ANATOMY: self.anatomy.model_dump_json().encode()}
        write_store(store, target, files=files, overwrite=overwrite, with_sums=True)
        return target

    def _save_page(
        self, live: Run, target: Path, addresses: Sequence[str] | None, *, overwrite: bool
    ) -> Path:
        from glassformer.export.export import write_export
        from glassformer.export.exportable import Exportable
        from glassformer.notebook.session import SESSION

        if addresses is not None:
            raise BadValue(
                "A page takes along what fits into a file; addresses are for a folder.", field="addresses"
            )
        with live.looking():
            write_export(Exportable(live, SESSION.summarise(live.loaded)), target, overwrite=overwrite)
        return target

    @property
    def url(self) -> str:
        """The address of the page on this recording; starts a server on this machine if none runs yet."""
        from glassformer.notebook.page_server import serve_page

        live = self._require_live("show")
        return serve_page(live).url(f"trace={live.id}")

    def show(self, *, height: int = FRAME_HEIGHT_PX) -> None:
        """The real page on this recording, inside the notebook; outside of one, in the browser."""
        from glassformer.notebook.page_server import serve_page
        from glassformer.notebook.place import display_page

        live = self._require_live("show")
        display_page(serve_page(live), f"trace={live.id}", height_px=height)

    def _require_live(self, what: str) -> Run:
        if self._source.live is None:
            raise BadValue(
                f"{what} needs the model, and this recording comes from a folder: load "
                f"{self.anatomy.model_id!r} and trace its token_ids again."
            )
        return self._source.live

    # --- telling -----------------------------------------------------------------------------------

    def __repr__(self) -> str:
        written = len(self.token_ids) - self.prompt_count
        changed = f", {len(self.interventions)} interventions" if self.interventions else ""
        return (
            f"<Trace of {self.anatomy.model_id}: {self.prompt_count} tokens read, {written} written, "
            f"{len(self)} sites{changed}>\n{self.text!r}"
        )

    def _repr_html_(self) -> str:
        return describe_tokens(self.tokens, self.prompt_count, repr(self).splitlines()[0])


def open_recording(path: str | Path) -> Trace:
    """The recording in the folder `path`, as `Model.trace` gave it, less what only a model can do.

    Raises BadValue for a folder that is not a recording or is damaged.
    """
    from glassformer.notebook.recording_folder import open_folder

    return Trace(open_folder(Path(path)))


def find_place(
    site: Site, shape: Sequence[int], index: Sequence[int] | None, axes: dict[str, int]
) -> list[int]:
    """An index in axis order, from either way of saying it. Raises BadValue."""
    names = ", ".join(site.axes)
    if index is not None and axes:
        raise BadValue("An index is given either in the order of the axes or by their names.", field="index")
    if index is None:
        for axis in axes:
            if axis not in site.axes:
                raise BadValue(f"{site.address} has the axes {names}, and no {axis!r}.", field=axis)
        missing = [axis for axis in site.axes if axis not in axes]
        if missing:
            raise BadValue(
                f"{site.address} has the axes {names}; {missing[0]} is not given.", field=missing[0]
            )
        index = [axes[axis] for axis in site.axes]
    sizes = [*shape, *[0] * len(index)]  # a wrong number of indices is told where they are checked
    return [int(place) + size if place < 0 else int(place) for place, size in zip(index, sizes, strict=False)]


def describe_site(site: Site, model_id: str) -> dict[str, Any]:
    """What is known of a site, as attributes."""
    check = site.check
    found = {
        "address": site.address,
        "model_id": model_id,
        "provenance": site.provenance,
        "equation": site.equation.latex if site.equation else "",
        "check": check.status,
        "check_difference": check.max_abs_difference,
        "units": "1",
    }
    return {name: value for name, value in found.items() if value is not None}
