"""Asks a real server what its own document allows, and what it does not: thousands of generated requests (`make fuzz`).

schemathesis makes them from `/openapi.json`, in an environment of its own, and holds every answer to the document: no
500, no status, kind or shape that is not told of. The server is this checkout's with its bundled models, on loopback.
Exit code 1 where one answer is wrong, or where fewer requests were made than wanted.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / ".cache" / "fuzz"
WANTED = "schemathesis>=4.32,<5"
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
# They answer for as long as a model takes to load or to be checked.
LEFT_OUT = "/(load|checks)$"
FEWEST = 10_000


def install() -> Path:
    """The program, in an environment that has nothing else."""
    program = PLACE / "bin" / "schemathesis"
    if not program.exists():
        venv.create(PLACE, with_pip=True)
        subprocess.run([PLACE / "bin" / "python", "-m", "pip", "install", "--quiet", WANTED], check=True)
    return program


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=200, help="generated for each call")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument(
        "--fewest", type=int, default=FEWEST, help="requests below which the run counts as failed"
    )
    given = parser.parse_args()
    sys.path.insert(0, str(ROOT / "bench"))
    from lib.server import serving

    program = install()
    seed = [] if given.seed is None else ["--seed", str(given.seed)]
    models = PLACE / "models"
    models.mkdir(exist_ok=True)
    with serving(models, "sorter", GLASSFORMER_RATE_LIMIT="", GLASSFORMER_TILE_RATE_LIMIT="") as served:
        options = [
            "--checks",
            CHECKS,
            "--max-examples",
            str(given.examples),
            "--exclude-path-regex",
            LEFT_OUT,
        ]
        done = subprocess.run(
            [program, "run", f"{served.url}/openapi.json", *options, *seed, "--request-timeout", "60"],
            cwd=PLACE,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
    print(done.stdout)
    made = re.search(r"Test cases:\s+(\d+) generated", done.stdout)
    count = int(made[1]) if made else 0
    if done.returncode or count < given.fewest:
        sys.exit(f"{count} requests, of at least {given.fewest}; exit code {done.returncode}.")


if __name__ == "__main__":
    main()
