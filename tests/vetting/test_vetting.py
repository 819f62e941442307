"""Folders that a stranger made: each is refused in one sentence, in bounded time, and others load meanwhile."""

import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from serving import serving
from tiny import make_model

from glassformer.errors import ModelFailed, ModelRefused, NobodyWaits
from glassformer.files.plain import LIMITS
from glassformer.vetting import vet
from glassformer.vetting.vet import Vetter


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    make_model(root / "llama", "llama")
    make_model(root / "gpt2", "gpt2")
    return root


@pytest.fixture
def folder(root: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(root / "llama", tmp_path / "model"))


@pytest.fixture(scope="module")
def vetter() -> Iterator[Vetter]:
    found = Vetter()
    yield found
    found.close()


def change(folder: Path, name: str = "config.json", **changes: Any) -> None:
    raw = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps({**raw, **changes}))


def write_header(folder: Path, count: int) -> None:
    tensors = {f"t{at}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for at in range(count)}
    header = json.dumps(tensors).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)


def put_pipe(folder: Path, name: str) -> None:
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)


def put_circle(folder: Path, name: str) -> None:
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(folder / name)


def put_link_out(folder: Path, name: str) -> None:
    secret = Path(tempfile.mkdtemp(dir=folder.parent.parent)) / "secret"
    secret.write_text(json.dumps({"model_type": "secret"}))
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(secret)


def put_sparse(folder: Path, name: str, size: int) -> None:
    with (folder / name).open("wb") as file:
        file.truncate(size)


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "a thousand million blocks": (
        lambda f: change(f, num_hidden_layers=10**9),
        "num_hidden_layers is 1000000000",
    ),
    "fewer blocks than none": (lambda f: change(f, num_hidden_layers=-5), "num_hidden_layers is -5"),
    "kinds of ten million blocks": (
        lambda f: change(f, layer_types=["full_attention"] * 10**7),
        "config.json is too large",
    ),
    "kinds of more blocks than there are": (
        lambda f: change(f, layer_types=["full_attention"] * 100_000),
        "config",
    ),
    "a config of 31 MB": (
        lambda f: change(f, note="x" * 31_000_000),
        "config.json is too large to be one: it has 31",
    ),
    "a thousand million labels": (lambda f: change(f, num_labels=10**9), "num_labels is 1000000000"),
    "millions of labels": (
        lambda f: change(f, id2label={str(at): "x" for at in range(2_000_000)}),
        "config.json is too large",
    ),
    "a nest of lists": (
        lambda f: (f / "config.json").write_text("[" * 100_000 + "]" * 100_000) and None,
        "cannot be read as JSON",
    ),
    "wider than its weights": (
        lambda f: change(f, intermediate_size=2**20, hidden_size=2**14, num_hidden_layers=64, head_dim=128),
        "weights do not fit the config",
    ),
    "a million tensors": (lambda f: write_header(f, 1_000_000), "lists its tensors in"),
    "a pipe for a tokenizer": (
        lambda f: put_pipe(f, "tokenizer.json"),
        "'tokenizer.json' is not a plain file",
    ),
    "a pipe for a vocabulary": (lambda f: put_pipe(f, "vocab.txt"), "'vocab.txt' is not a plain file"),
    "a link in a circle": (lambda f: put_circle(f, "tokenizer.json"), "tokenizer.json"),
    "a gigabyte of nothing": (
        lambda f: put_sparse(f, "tokenizer.json", 10**9),
        "tokenizer.json is too large",
    ),
    "a config elsewhere": (
        lambda f: put_link_out(f, "config.json"),
        "outside its model directory: 'config.json'",
    ),
    "a vocabulary elsewhere": (
        lambda f: put_link_out(f, "vocab.txt"),
        "outside its model directory: 'vocab.txt'",
    ),
    "a template elsewhere": (
        lambda f: put_link_out(f, "additional_chat_templates/tool.jinja"),
        "outside its model directory: 'tool.jinja'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_model_is_refused_by_what_it_is(case: str, folder: Path, vetter: Vetter) -> None:
    spoil, sentence = REFUSED[case]
    spoil(folder)
    with pytest.raises((ModelRefused, ModelFailed)) as refused:
        vetter.vet("model", folder, folder, most_secs=20)
    assert sentence in refused.value.message
    assert str(folder.parent) not in refused.value.message
    assert "\n" not in refused.value.message


def explode(text: str, rounds: int) -> dict[str, Any]:
    return {
        "type": "Sequence",
        "normalizers": [
            {"type": "Replace", "pattern": {"String": "a"}, "content": text} for _ in range(rounds)
        ],
    }


def spoil_tokenizer(folder: Path, **changes: Any) -> None:
    change(folder, "tokenizer.json", **changes)


ENDLESS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a normalizer that multiplies": (
        lambda f: spoil_tokenizer(f, normalizer=explode("a" * 100, 12)),
        "tokenizer",
    ),
    "a decoder that multiplies": (
        lambda f: spoil_tokenizer(
            f,
            decoder={
                "type": "Sequence",
                "decoders": [
                    {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
                    *[{"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 100}] * 12,
                ],
            },
        ),
        "tokenizer",
    ),
    "a pattern that goes back for ever": (
        lambda f: spoil_tokenizer(
            f,
            pre_tokenizer={
                "type": "Split",
                "pattern": {"Regex": "(?:a|a|aa)+[^a! ]"},
                "behavior": "Isolated",
                "invert": False,
            },
        ),
        "tokenizer",
    ),
}


@pytest.mark.parametrize("case", ENDLESS)
def test_what_comes_to_no_end_is_ended(case: str, folder: Path, vetter: Vetter) -> None:
    spoil, part = ENDLESS[case]
    vetter.vet("model", folder, folder)
    spoil(folder)
    began = time.monotonic()
    with pytest.raises(ModelRefused, match=f"The model's {part}") as refused:
        vetter.vet("model", folder, folder, most_bytes=2**30, most_secs=5)
    assert "\n" not in refused.value.message
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
        "{{ 'x' * 10**12 }}",
        "{{ 'x' | center(10**12) }}",
        "{% set n = namespace(t='x') %}{% for a in range(99) %}{% set n.t = n.t ~ n.t %}{% endfor %}{{ n.t }}",
        "{{ range(99999) | map('string') | join('x' * 99999) }}",
        "{{ '%0999999999d' | format(1) }}",
        "{% for a in range(99999) %}{% set b = range(99999) | list | sort %}{% endfor %}",
    ],
)
def test_a_template_without_end_is_stopped_beside_the_server(
    template: str, folder: Path, vetter: Vetter
) -> None:
    """Such a model is let in, for prompts: who sends a conversation is told."""
    (folder / "chat_template.jinja").write_text(template)
    began = time.monotonic()
    vetter.vet("model", folder, folder, most_secs=30)
    assert time.monotonic() - began < 25


def test_a_snapshot_may_link_to_its_own_blobs(folder: Path, vetter: Vetter) -> None:
    repo = folder.parent / "models--someone--model"
    snapshot, blobs = repo / "snapshots" / "abc", repo / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for path in folder.iterdir():
        path.rename(blobs / path.name)
        (snapshot / path.name).symlink_to(Path("..", "..", "blobs", path.name))
    vetter.vet("model", snapshot, snapshot)


def test_the_process_reaches_nothing_outside() -> None:
    """In a process of its own: what is shut stays shut."""
    code = (
        "import socket, subprocess\n"
        "from glassformer.vetting.confine import confine\n"
        "confine(most_bytes=2**28, most_secs=20)\n"
        "for ask in (lambda: socket.create_connection(('127.0.0.1', 9)), lambda: subprocess.run(['true'])):\n"
        "    try: ask()\n"
        "    except PermissionError: print('shut')\n"
        "try: bytearray(2**29)\n"
        "except MemoryError: print('bounded')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=vet.make_environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["shut", "shut", "bounded"]


def test_a_program_needs_no_guard(folder: Path, tmp_path: Path) -> None:
    """A script asks without `if __name__ == "__main__"`, as a notebook's kernel does, and leaves nothing behind."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\nfrom glassformer.vetting.vet import VETTER, vet_model\n"
        "vet_model(Path(sys.argv[1]), None)\nprint(VETTER._process.pid)\n"
    )
    done = subprocess.run(
        [sys.executable, str(script), str(folder)],
        env=vet.make_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    (pid,) = done.stdout.split()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


def test_who_no_longer_waits_ends_it(folder: Path, vetter: Vetter) -> None:
    """The process that reads one model ends with the wait for it; the next is read as ever."""
    vetter.vet("model", folder, folder)
    sound = Path(shutil.copytree(folder, folder.parent / "sound"))
    spoil_tokenizer(folder, normalizer=explode("a" * 100, 12))

    def leave() -> None:
        if time.monotonic() > began + 1:
            raise NobodyWaits("Nobody waits.")

    began = time.monotonic()
    with pytest.raises(NobodyWaits):
        vetter.vet("model", folder, folder, most_bytes=2**40, look_up=leave)
    assert time.monotonic() - began < 10
    vetter.vet("model", sound, sound)


def test_others_load_and_answer_meanwhile(root: Path) -> None:
    """Over HTTP: hostile folders are refused with a 422 in one sentence while others are loaded and answer."""
    for name in ("exploding", "deep", "linked"):
        shutil.copytree(root / "llama", root / name)
    spoil_tokenizer(root / "exploding", normalizer=explode("a" * 100, 12))
    change(root / "deep", num_hidden_layers=10**9)
    put_link_out(root / "linked", "config.json")
    with serving(root) as running, running.client() as client, ThreadPoolExecutor() as pool:
        asked = [
            pool.submit(client.post, "/tokenize", json={"model_id": name, "prompt": "Mia"}, timeout=120)
            for name in ("exploding", "deep", "linked")
        ]
        met = client.post("/tokenize", json={"model_id": "gpt2", "prompt": "Mia has a ball."}, timeout=120)
        assert met.status_code == 200
        refused = [one.result() for one in asked]
        for answer in refused:
            assert (answer.status_code, "\n" in answer.json()["error"]) == (422, False), answer.text
        for name in ("deep", "linked"):
            config = client.post("/config", json={"model_id": name})
            assert config.status_code == 422
            assert "secret" not in config.text
        assert client.post(
            "/generate", json={"model_id": "gpt2", "prompt": "Mia", "max_new_tokens": 2}
        ).is_success


def test_the_limits_of_files_are_in_the_docs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()
    for pattern, limit in LIMITS:
        row = next(
            (line for line in page.splitlines() if f"`{pattern}`" in line and line.endswith("MiB |")), ""
        )
        assert row.endswith(f"| {limit // 2**20} MiB |"), pattern
