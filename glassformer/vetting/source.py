"""What loading asks of vetting: nothing of bundled models, which are this program's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from glassformer.files.catalog import ModelSource
from glassformer.files.size import StoredTensor
from glassformer.importing import import_torch
from glassformer.loading.options import LoadOptions
from glassformer.loading.room import plan_download
from glassformer.vetting.vet import VETTER, vet_config, vet_model

if TYPE_CHECKING:
    from glassformer.loading.plan import Plan


def vet_source(source: ModelSource, folder: Path) -> None:
    """Raise ModelRefused or ModelFailed unless what lies in `folder` may be loaded. Brings torch in."""
    if source.kind == "bundled":
        import_torch()
        return
    VETTER.start()
    import_torch()  # while the other process does
    # What came from the hub lies in a cache, and may lead to nothing but its own blobs.
    vet_model(folder, source.root or folder)


def plan_stranger(options: LoadOptions, config: Path, tensors: list[StoredTensor]) -> Plan:
    """As `plan_download`, once the config has been vetted."""
    vet_config(config)
    return plan_download(options, config, tensors)
