"""Writes glassformer/tested.txt: the newest version of every package that the project's ranges allow, to be tested.

pip alone decides; nothing is installed. The file holds versions only, no addresses, and no local labels: `2.13.0` is
met by every build of that release. What only another platform or a newer Python needs is not in it and stays free.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TESTED = ROOT / "glassformer" / "tested.txt"
HEAD = """\
# The versions that are tested together: `make` installs these, `glassformer doctor` compares with them.
# Written by `make lock`.
"""


def list_requirements(project: dict[str, Any]) -> list[str]:
    """Everything that is installed for some target: the package with every extra, the tools, and what builds it."""
    sys.path.insert(0, str(ROOT))
    from hatch_build import NODE_WHEEL

    table = project["project"]
    extras = [requirement for extra in table["optional-dependencies"].values() for requirement in extra]
    return [*table["dependencies"], *extras, *project["build-system"]["requires"], NODE_WHEEL, "pip"]


def resolve(requirements: list[str]) -> dict[str, str]:
    """The version of each package that pip would install into an empty environment, by normalised name."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
    done = subprocess.run(
        [*command, "--report", "-", *requirements], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.returncode)
    chosen = [item["metadata"] for item in json.loads(done.stdout)["install"]]
    return {normalise(one["name"]): one["version"].partition("+")[0] for one in chosen}


def normalise(name: str) -> str:
    """A package's name as every index knows it (PyPA, "Names and normalization")."""
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    oldest = project["project"]["requires-python"].partition(",")[0].removeprefix(">=")
    if ".".join(map(str, sys.version_info[:2])) != oldest:
        sys.exit(
            f"Versions are locked with Python {oldest}, the oldest that is supported, since newer ones may be offered "
            f"packages that it cannot install: make clean, then make lock PYTHON=python{oldest}"
        )
    found = resolve(list_requirements(project))
    lines = [f"{name}=={version}\n" for name, version in sorted(found.items())]
    TESTED.write_text(HEAD + "".join(lines))
    print(f"{TESTED.relative_to(ROOT)}: {len(lines)} packages. Next: make test")


if __name__ == "__main__":
    main()
