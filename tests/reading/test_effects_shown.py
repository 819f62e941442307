"""Effects in Python and on the command line, of the bundled story teller."""

from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import glassformer as gf
from glassformer.cli import app
from glassformer.errors import BadValue

STORY = "Mia gives the ball to Tom. Who has the ball?"


@pytest.fixture(scope="module")
def trace() -> gf.Trace:
    return gf.load("tales").trace(STORY, max_new_tokens=4)


def find(trace: gf.Trace, text: str) -> int:
    return next(pos for pos, token in enumerate(trace.tokens) if token.strip() == text)


def test_a_table_of_every_word_and_part(trace: gf.Trace) -> None:
    pos = trace.prompt_count - 1
    effects = trace.effects(pos)
    frame = effects.table()
    assert len(frame) == len(effects.parts)
    assert frame["margin"].is_monotonic_increasing
    assert frame.attrs["probability"] == effects.base.probability
    written = trace.tokens[pos + 1]
    assert effects.token.text == written
    assert frame[frame["kind"] == "token"]["position"].tolist() != []
    heads = trace.anatomy.blocks[0]
    assert set(frame["kind"]) == {"token", "attention", "head", "mlp"}, heads
    told = repr(effects)
    assert told.splitlines()[0].startswith(f"{written!r} after ")
    assert "<table>" in effects._repr_html_()
    least = min(effects.parts, key=lambda effect: effect.margin)
    assert repr(least.token.text) in told


def test_from_the_end_and_in_pieces(trace: gf.Trace) -> None:
    assert trace.effects(-1).position == trace.positions - 1
    words = trace.effects(-1, blocks="none")
    assert {effect.kind for effect in words.parts} == {"token"}
    other = trace.effects(-1, versus=5, blocks="0").base.margin
    logits = torch.tensor(trace.numpy("lm_head")[-1]).log_softmax(-1)
    assert other == pytest.approx(float(logits[words.token.id] - logits[5]), abs=1e-3)


def test_without_a_word(trace: gf.Trace) -> None:
    pos = trace.prompt_count
    while trace.tokens[pos].strip() != "Tom":
        pos += 1
    found = trace.without(f"token.{find(trace, 'Tom')}", pos=pos - 1)
    assert found.token.text.strip() == "Tom"
    assert found.probability < 0.5 < trace.effects(pos - 1, blocks="none").base.probability
    assert found.tokens[0].text.strip() == "Mia"
    assert repr(found).startswith("Without token.")
    with pytest.raises(BadValue, match="no part"):
        trace.without("Tom")


def test_on_the_command_line(trace: gf.Trace) -> None:
    done: Any = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(
        app, ["trace", "tales", STORY, "--effects"]
    )
    assert done.exit_code == 0, done.output
    effects = trace.effects(trace.prompt_count - 1)
    assert effects.title in done.output
    for name, what, change, _, says in effects.list_rows(words=12, parts=24):
        row = next(line for line in done.output.splitlines() if line.split()[:1] == [name])
        assert what in row
        assert f"{change:+.4f}" in row
        assert row.rstrip().endswith(says.rstrip())
