"""`glassformer trace` and `glassformer doctor`: what they print and write is what transformers computes."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from rich.console import Console
from safetensors import safe_open
from tiny import make_models, read_model
from transformers import AutoTokenizer
from typer.testing import CliRunner

import glassformer as gf
from glassformer.cli import app
from glassformer.command.doctor import join_runs, tabulate_checks
from glassformer.command.trace_output import MOST_CSV_ROWS, check_sites, write_trace
from glassformer.errors import BadValue
from glassformer.protocol.anatomy import Check

PROMPT = "the quick brown fox"


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def expected(model_dir: Path) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(model_dir / "llama")
    model = read_model(model_dir / "llama", attn_implementation="eager")
    with torch.no_grad():
        return model(
            **tokenizer(PROMPT, return_tensors="pt"), output_attentions=True, output_hidden_states=True
        )


def run(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(app, list(arguments))


def trace(model_dir: Path, *arguments: str) -> Result:
    return run("trace", "llama", PROMPT, "--model-dir", str(model_dir), "--device", "cpu", *arguments)


def check_refusal(done: Result, sentence: str) -> None:
    assert done.exit_code in (1, 2), done.output
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_the_strongest_heads_of_each_kind_are_printed(model_dir: Path, expected: Any) -> None:
    done = trace(model_dir, "--heads")
    assert done.exit_code == 0, done.output
    scores = [
        (float(pattern[0, head].diagonal(-1).mean()), f"{block}.{head}")
        for block, pattern in enumerate(expected.attentions)
        for head in range(4)
    ]
    best = "   ".join(f"{place} {score:.2f}" for score, place in sorted(scores, reverse=True)[:5])
    line = next(line for line in done.stdout.splitlines() if line.strip().startswith("previous token"))
    assert best in line, (best, done.stdout)
    assert str(len(expected.attentions[0][0, 0]) - 1) in line.split()


def test_what_is_asked_for_is_printed_where_cells_are_written_too(model_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "cells.npy"
    arguments = ("--site", "resid_post.0", "--out", str(file))
    plain = trace(model_dir, *arguments).output
    for option in ("--reading", "--effects", "--heads"):
        done = trace(model_dir, option, *arguments)
        assert done.exit_code == 0, done.output
        assert len(done.output) > len(plain) + 200, option
    assert file.exists()


def test_sites_are_printed_with_their_largest_cells(model_dir: Path, expected: Any) -> None:
    done = trace(
        model_dir, "--site", "attn_probs.1", "--site", "mlp_act.0", "--site", "q.1", "--site", "lm_head"
    )
    assert done.exit_code == 0, done.stderr
    text = done.stdout
    assert text.startswith(PROMPT)
    last = expected.attentions[1][0, :, -1]
    for head in range(4):
        line = next(line for line in text.splitlines() if line.strip().startswith(f"{head} ") and "'" in line)
        assert f"{float(last[head].max()):.4g}" in line
    best = expected.logits[0, -1].max()
    assert f"{float(best):.4g}" in text
    assert "check exact" in text or "check close" in text
    assert "d_mlp" in text
    assert "d_head" in text


def test_without_a_site_it_says_what_there_is(model_dir: Path) -> None:
    done = trace(model_dir, "--max-new-tokens", "3")
    assert done.exit_code == 0
    assert "3 written" in done.stdout
    assert "embeddings, final_norm, lm_head" in done.stdout
    assert "attn_probs.B" in done.stdout
    assert "B = 0 to 1" in done.stdout


def test_a_long_prompt_is_cut_in_print(model_dir: Path) -> None:
    done = run("trace", "llama", "fox " * 60, "--model-dir", str(model_dir), "--site", "resid_pre.0")
    assert "positions before" in done.stdout


def test_cells_are_written_as_they_are(model_dir: Path, expected: Any, tmp_path: Path) -> None:
    probabilities = expected.attentions[1][0].numpy()
    assert trace(model_dir, "--site", "attn_probs.1", "--out", str(tmp_path / "a.npy")).exit_code == 0
    np.testing.assert_allclose(np.load(tmp_path / "a.npy"), probabilities, rtol=1e-4, atol=1e-5)

    done = trace(
        model_dir, "--site", "attn_probs.1", "--site", "resid_pre.1", "--out", str(tmp_path / "a.safetensors")
    )
    assert done.exit_code == 0
    assert done.stdout == ""
    with safe_open(tmp_path / "a.safetensors", framework="np") as file:
        assert set(file.keys()) == {"attn_probs.1", "resid_pre.1"}
        np.testing.assert_array_equal(file.get_tensor("attn_probs.1"), np.load(tmp_path / "a.npy"))
        metadata = file.metadata()
    assert json.loads(metadata["axes"])["attn_probs.1"] == ["head", "query", "key"]
    tokens = json.loads(metadata["tokens"])
    assert "".join(tokens) == PROMPT

    assert trace(model_dir, "--site", "attn_probs.1", "--out", str(tmp_path / "a.csv")).exit_code == 0
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == probabilities.size
    for row in rows[:: len(rows) // 9]:
        head, query, key = (int(row[axis]) for axis in ("head", "query", "key"))
        assert row["query_token"] == tokens[query]
        assert row["key_token"] == tokens[key]
        assert float(row["attn_probs.1"]) == pytest.approx(
            float(probabilities[head, query, key]), rel=1e-3, abs=1e-6
        )

    assert trace(model_dir, "--out", str(tmp_path / "all.zarr")).exit_code == 0
    np.testing.assert_array_equal(
        gf.open(tmp_path / "all.zarr").numpy("attn_probs.1"), np.load(tmp_path / "a.npy")
    )


def test_what_cannot_be_traced_is_one_sentence(model_dir: Path, tmp_path: Path) -> None:
    check_refusal(trace(model_dir, "--site", "attn_probs.9"), "This model has no site 'attn_probs.9'.")
    check_refusal(
        trace(model_dir, "--site", "q.0", "--out", str(tmp_path / "a.xls")), ".npy, .safetensors, .csv, .zarr"
    )
    check_refusal(trace(model_dir, "--out", str(tmp_path / "a.npy")), "--site")
    check_refusal(
        trace(model_dir, "--site", "q.0", "--site", "k.0", "--out", str(tmp_path / "a.csv")), "holds one site"
    )
    check_refusal(
        trace(model_dir, "--site", "q.0", "--out", str(tmp_path / "none" / "a.npy")), "cannot be written"
    )
    check_refusal(trace(model_dir, "--dtype", "float8"), "dtype")
    check_refusal(run("trace", "nonesuch/", "x"), "no such model")
    check_refusal(run("trace", "llama", "", "--model-dir", str(model_dir)), "prompt must not be empty")


def test_what_cannot_be_written_leaves_the_file_that_is_there(model_dir: Path, tmp_path: Path) -> None:
    made = gf.load(model_dir / "llama", device="cpu").trace(token_ids=[5, 6])
    for suffix in (".npy", ".csv", ".safetensors"):
        path = tmp_path / f"kept{suffix}"
        path.write_text("results")
        with pytest.raises(KeyError, match="no site"):
            write_trace(made, ["attn_probs.9"], path)
        check_refusal(
            trace(model_dir, "--site", "attn_probs.9", "--out", str(path)), "no site 'attn_probs.9'"
        )
        assert path.read_text() == "results"


def test_what_is_wrong_is_told_before_the_model_runs(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each wrong option meets an empty prompt too, which is refused where the run begins."""

    def refused(*arguments: str) -> str:
        done = run("trace", "llama", "", "--model-dir", str(model_dir), *arguments)
        assert done.exit_code == 1
        return done.stderr

    assert "prompt must not be empty" in refused()
    assert "no site" in refused("--site", "attn_probs.9")
    assert "no site" in refused("--site", "attn_probs.9", "--out", str(tmp_path / "a.npy"))
    assert "--out ends with" in refused("--site", "q.0", "--out", str(tmp_path / "a.xls"))
    assert "--site" in refused("--out", str(tmp_path / "a.npy"))
    model = gf.load(model_dir / "llama", device="cpu")
    with monkeypatch.context() as patched:
        site = model.site("z.1")
        patched.setattr(site, "check", Check(status="refused", reason="nobody knows"))
        with pytest.raises(KeyError, match=r"z\.1 is refused: nobody knows"):
            check_sites(model, ["z.1"])
    check_sites(model, ["z.1"])


def test_a_csv_that_no_spreadsheet_holds_is_refused(model_dir: Path, tmp_path: Path) -> None:
    made = gf.load(model_dir / "llama", device="cpu").trace(token_ids=[5] * 512)
    assert made["attn_probs.0"].size == MOST_CSV_ROWS  # and its header
    with pytest.raises(BadValue, match="too many for csv"):
        write_trace(made, ["attn_probs.0"], tmp_path / "a.csv")
    assert not (tmp_path / "a.csv").exists()


def test_the_doctor_tells_what_was_checked(model_dir: Path) -> None:
    done = run("doctor", "gpt2", "--model-dir", str(model_dir), "--device", "cpu")
    assert done.exit_code == 0, done.stderr
    assert f"torch {torch.__version__}" in done.stdout
    assert "<Model gpt2: gpt2" in done.stdout
    lines = done.stdout.splitlines()
    for point in ("embeddings", "attn_probs", "mlp_act", "resid_post", "lm_head"):
        assert any(line.split()[:1] == [point] for line in lines), point
    watched = next(line for line in lines if "watched against unwatched" in line)
    assert float(watched.split()[-1]) == 0.0
    eager = next(line for line in lines if "transformers' eager" in line)
    assert float(eager.split()[-1]) < 1e-3
    again = next(line for line in lines if "one block run again" in line)
    assert float(again.split()[-1]) == 0.0
    assert "refused: not shown" in done.stdout
    check_refusal(run("doctor", "nonesuch/"), "no such model")


def test_refusals_are_told_by_block_with_their_reason(model_dir: Path) -> None:
    anatomy = gf.load(model_dir / "llama", device="cpu").anatomy.model_copy(deep=True)
    for block in anatomy.blocks:
        site = next(site for site in block.sites if site.point == "z")
        site.check = Check(status="refused", reason="nobody knows")
    console = Console(width=200)
    with console.capture() as capture:
        console.print(tabulate_checks(anatomy))
    line = next(line for line in capture.get().splitlines() if "nobody knows" in line)
    assert line.split()[:3] == ["z", "refused", "0-1"]
    assert join_runs([4, 0, 1, 2, 6]) == "0-2, 4, 6"
