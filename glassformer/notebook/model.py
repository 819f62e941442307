"""`load` and `Model`: a model in memory, ready to be traced; loaded as the server does, with the same safety."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glassformer.errors import ModelFailed, UnknownAddress
from glassformer.notebook.cell_source import LiveSource, NoSite
from glassformer.notebook.handle import Trace, require_xarray
from glassformer.notebook.intervene import as_interventions, as_numbers
from glassformer.notebook.session import SESSION
from glassformer.protocol.anatomy import Anatomy, Weight, list_sites
from glassformer.protocol.messages import Intervention, TraceRequest
from glassformer.protocol.parse import parse

if TYPE_CHECKING:
    import pandas
    import xarray

    from glassformer.loading.loaded import LoadedModel


def load(
    model: str | Path,
    *,
    adapter: str | Path | None = None,
    device: str | None = None,
    dtype: str | None = None,
) -> Model:
    """A model by a bundled name (`tales`, `sorter`), a folder, or a hub id; asked for again, the same one.

    With an `adapter` (a LoRA's folder, or its name under a model directory) that is over it, and the model itself is as
    it was: both share its weights. An adapter's folder in place of a model is over the base that it names.

    `device` (auto, cpu, cuda...) and `dtype` (auto, float32, bfloat16, float16), and where models come from, are as in
    the server's settings unless given. Raises BadValue, UnknownModel, ModelRefused, ModelFailed and Unavailable.
    """
    return Model(SESSION.load(model, device=device, dtype=dtype, adapter=adapter))


class Model:
    """A causal language model that can be looked into."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded = loaded
        """The model as the server has it: `loaded.model` and `loaded.tokenizer` are those of transformers."""

    @property
    def model_id(self) -> str:
        return self.loaded.model_id

    @property
    def anatomy(self) -> Anatomy:
        """The model as data: blocks, sites, weights, equations. Raises ModelFailed where looking into it failed."""
        if self.loaded.anatomy is None:
            raise ModelFailed("The model can write, but looking into it failed.")
        return self.loaded.anatomy

    def trace(
        self,
        prompt: str | None = None,
        *,
        messages: Sequence[Mapping[str, str]] | None = None,
        token_ids: Sequence[int] | None = None,
        max_new_tokens: int = 0,
        stop: str | Sequence[str] = (),
        interventions: Intervention | Sequence[Intervention | Mapping[str, Any]] = (),
        **sampling: Any,
    ) -> Trace:
        """Run a prompt (or chat `messages`, or `token_ids`), write up to `max_new_tokens` after it, record all of it.

        `sampling` are the fields of `Sampling`: temperature (0 is greedy), top_k, top_p, repetition_penalty, seed...
        `interventions` come from `change`. Raises BadValue and TooLong, naming the field.
        """
        from glassformer.run.record import open_run, record

        body = parse(
            TraceRequest,
            {
                "model_id": self.model_id,
                "prompt": prompt,
                "messages": messages,
                "token_ids": as_numbers(token_ids),
                "max_new_tokens": max_new_tokens,
                "stop": [stop] if isinstance(stop, str) else list(stop),
                "interventions": as_interventions(interventions),
                "sampling": sampling,
            },
        )
        live = open_run(SESSION.store, self.loaded, body)
        try:
            record(live)
        except BaseException:
            SESSION.store.delete(live.id)
            raise
        handle = Trace(LiveSource(live))
        SESSION.forget_with(handle, live)
        return handle

    def weight(self, name: str) -> xarray.DataArray:
        """A parameter by its state-dict name, with named axes. Raises KeyError for one the model does not have."""
        require_xarray()
        from glassformer.notebook.labelled import label_cells
        from glassformer.run.recording import to_numpy

        weight = next((one for one in self.list_weights() if one.name == name), None)
        if weight is None:
            raise NoSite(name, f"This model has no weight {name!r}.")
        return label_cells(
            lambda region: to_numpy(self.loaded.structure.parameter(name)[region]).copy(),
            weight.shape,
            weight.axes,
            name=name,
            attributes={"name": name, "role": weight.role, "dtype": weight.dtype, "model_id": self.model_id},
        )

    def list_weights(self) -> list[Weight]:
        """Every parameter, those of the blocks last."""
        return [*self.anatomy.weights, *(one for block in self.anatomy.blocks for one in block.weights)]

    def checks(self) -> pandas.DataFrame:
        """What the self-check found when the model was loaded, a row for each site."""
        require_xarray()  # brings pandas along
        import pandas

        rows = [
            {"address": site.address, "block": site.block, **site.check.model_dump()}
            for site in list_sites(self.anatomy).values()
        ]
        return pandas.DataFrame(rows).astype({"block": "Int64"})

    def site(self, address: str) -> Any:
        """A site of the anatomy: axes, shape, equation, check. Raises KeyError."""
        found = list_sites(self.anatomy).get(address)
        if found is None:
            raise NoSite(address, UnknownAddress(address).message)
        return found

    def __repr__(self) -> str:
        loaded = self.loaded
        dtype = str(loaded.dtype).removeprefix("torch.")
        sites = list_sites(loaded.anatomy).values() if loaded.anatomy else []
        refused = sum(site.check.status == "refused" for site in sites)
        return (
            f"<Model {self.model_id}: {loaded.config.model_type}, {loaded.parameters:,} parameters, {dtype} on "
            f"{loaded.device}, {len(sites)} sites, {refused} refused>"
        )
