"""Which versions of other people's packages were tested together, and which of those installed here are newer.

`tested.txt` is the one list of them: `make lock` writes it, `make` installs from it, the wheel carries it. The ranges
that the package asks for stay open, so newer versions may be there; whoever runs into trouble then should know.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

LIST = Path(__file__).with_name("tested.txt")
# Extras that the program itself uses; that of the developers' tools is left out.
EXTRAS = ("notebook", "quantized", "sentencepiece")


@dataclass(frozen=True, slots=True)
class Newer:
    """A package that is installed in a newer version than the one that was tested."""

    name: str
    installed: Version
    tested: Version

    def __str__(self) -> str:
        return f"{self.name} {self.installed} (tested: {self.tested})"


def read_tested() -> dict[str, Version]:
    """The tested version of every package, by its normalised name."""
    lines = (line.partition("==") for line in LIST.read_text().splitlines() if "==" in line)
    return {canonicalize_name(name): Version(version) for name, _, version in lines}


def list_newer() -> list[Newer]:
    """What Glassformer stands on and is newer here than tested; local builds of a tested release are not."""
    tested = read_tested()
    found = []
    for name in sorted(set(list_dependencies())):
        try:
            installed = Version(metadata.version(name))
        except (metadata.PackageNotFoundError, InvalidVersion):
            continue
        if name in tested and Version(installed.public) > tested[name]:
            found.append(Newer(name, installed, tested[name]))
    return found


def list_dependencies(package: str = "glassformer") -> Iterator[str]:
    """The normalised names of all that `package` stands on and that is installed here, each once."""
    seen: set[str] = set()
    asked: list[tuple[str, tuple[str, ...]]] = [(package, ("", *EXTRAS))]
    while asked:
        package, extras = asked.pop()
        try:
            lines = metadata.requires(package) or []
        except metadata.PackageNotFoundError:
            continue
        for requirement in map(Requirement, lines):
            marker, name = requirement.marker, canonicalize_name(requirement.name)
            if name in seen or (marker and not any(marker.evaluate({"extra": extra}) for extra in extras)):
                continue
            seen.add(name)
            asked.append((name, ("", *requirement.extras)))
            yield name
