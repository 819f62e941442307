"""The reading in Python and on the command line."""

import pytest
from click.testing import Result
from typer.testing import CliRunner

import glassformer as gf
from glassformer.cli import app
from glassformer.errors import BadValue

PROMPT = "Mia gives the ball to Tom. Who has the ball?"


@pytest.fixture(scope="module")
def trace() -> gf.Trace:
    return gf.load("tales").trace(PROMPT, max_new_tokens=1, temperature=0)


def test_it_is_about_the_word_that_was_written(trace: gf.Trace) -> None:
    reading = trace.reading(-2)
    assert (reading.position, reading.token.text) == (trace.prompt_count - 1, " Tom")
    assert reading.probability > 0.9
    assert reading.lens[-1].tokens[0].text == " Tom"
    table = reading.table()
    assert list(table.columns) == ["kind", "block", "head", "expert", "value"]
    assert table.value.sum() + reading.remainder == pytest.approx(reading.logit)
    # Against the other name, heads that read Tom decide.
    other = trace.reading(-2, token=" Tom", versus=" Mia")
    best = max((part for part in other.parts if part.kind == "head"), key=lambda part: part.value)
    head = next(head for head in other.attention if (head.block, head.head) == (best.block, best.head))
    assert trace.tokens[head.positions[head.carried.index(max(head.carried))]] == " Tom"
    text = repr(other)
    assert text.startswith(f"' Tom' after '?' (position {trace.prompt_count - 1}): ")
    assert f"head {best.head} of block {best.block}  reads ' Tom'" in text
    assert "remainder" in text
    assert f"<td style='text-align:left'>head {best.head} of block {best.block}</td>" in other._repr_html_()


def test_what_is_no_token_is_refused(trace: gf.Trace) -> None:
    for given, field in (
        ({"token": " Tom has"}, "token"),
        ({"versus": "hippopotamus"}, "versus"),
        ({"token": -1}, "token"),
        ({"pos": 99}, "pos"),
        ({"pos": -99}, "pos"),
    ):
        with pytest.raises(BadValue) as caught:
            trace.reading(**given)
        assert caught.value.field == field


def run(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(
        app, ["trace", "tales", PROMPT, *arguments]
    )


def test_the_command_line_prints_a_table() -> None:
    done = run("--reading", "--versus", " Mia")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("' Tom' after '?'")
    assert "reads ' Tom' " in done.stdout
    assert "remainder" in done.stdout
    assert "What it would say after so many blocks: '?' from 0" in done.stdout
    refused = run("--reading", "--versus", "two words")
    assert refused.exit_code == 1
    assert "versus 'two words' is not one token" in refused.stderr
