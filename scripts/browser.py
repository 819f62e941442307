"""Prints the path of a Chromium for the browser tests, installing one the platform's way if there is none.

`$CHROMIUM` wins, then what is on PATH, then where macOS keeps applications. Only the path goes to standard
output.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MAC_APPLICATIONS = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
ADVICE = "Install Chromium or Google Chrome, or set CHROMIUM to the path of one, and run this again."


def find_browser() -> str | None:
    """The first candidate that answers `--version`: Ubuntu's apt package is only a pointer to a snap."""
    chosen = os.environ.get("CHROMIUM")
    candidates = [chosen] if chosen else [shutil.which(name) for name in NAMES] + list(MAC_APPLICATIONS)
    return next((path for path in candidates if path and answers(path)), None)


def answers(path: str) -> bool:
    try:
        outcome = subprocess.run([path, "--version"], capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return outcome.returncode == 0


def install_browser() -> None:
    """Ask the platform's package manager; raises CalledProcessError or SystemExit with one clear sentence."""
    if platform.system() == "Darwin" and shutil.which("brew"):
        install(["brew", "install", "--cask", "chromium"])
    elif shutil.which("apt-get"):
        as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
        if as_root and not shutil.which("sudo"):
            sys.exit(f"No Chromium found, and installing one with apt-get needs root. {ADVICE}")
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        install([*as_root, "apt-get", "update", "-q"], env=quiet)
        install(
            [*as_root, "apt-get", "install", "-q", "-y", "--no-install-recommends", "chromium"], env=quiet
        )
    else:
        sys.exit(f"No Chromium found, and no package manager known here to install one. {ADVICE}")


def install(command: list[str], env: dict[str, str] | None = None) -> None:
    print("No Chromium found; running:", *command, file=sys.stderr)
    subprocess.run(command, env=env, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=True)


def main() -> None:
    path = find_browser()
    if path is None and os.environ.get("CHROMIUM"):
        sys.exit(f"CHROMIUM is set to {os.environ['CHROMIUM']}, which does not start. {ADVICE}")
    if path is None:
        try:
            install_browser()
        except (OSError, subprocess.CalledProcessError) as error:
            sys.exit(f"Installing Chromium failed ({error}). {ADVICE}")
        path = find_browser()
    if path is None:
        sys.exit(f"Chromium was installed but does not start. {ADVICE}")
    print(path)


if __name__ == "__main__":
    main()
