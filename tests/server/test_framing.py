"""Cutting text into events: both readers end with the right text, however it comes."""

import random
import re
import time

import pytest
from serving import JAVASCRIPT_SPACE, read_standard, read_trimming

from glassformer.server.framing import PING, TextFramer, event, json_event

TEXTS = [
    "plain words with single spaces",
    "  two leading spaces",
    "\n\nleading newlines",
    "trailing spaces   ",
    "trailing newlines\n\n\n",
    "a\nb\n\nc\n\n\nd",
    "  indented\n    code\n\tand tabs\n",
    "spaces before newlines   \n  and after",
    "漢字かな交じり文。改行\n全角　スペース",
    "emoji 🎉🙂👩‍👩‍👧‍👦 joined",
    "data: looks like a field\n\ndata: again\nevent: error\nid: 3\n: comment",
    "\u2028line\u2029separators\u0085next\x0bvertical\x0cform",
    "\ufeffbyte order mark\u00a0no-break",
    "x" * 500,
    "",
    " ",
    "\n",
]
ALPHABET = [
    "a",
    "b",
    " ",
    " ",
    "\n",
    "漢",
    "🎉",
    "\t",
    "\u3000",
    ":",
    "data: ",
    "\n\n",
    "é",
    "\ufeff",
    "\u2028",
    "\x1c",
]


def stream(pieces: list[str]) -> str:
    framer = TextFramer()
    events = [each for piece in pieces for each in framer.add(piece)]
    return "".join([*events, *framer.finish()])


def split_at_random(text: str, chance: random.Random) -> list[str]:
    pieces = []
    while text:
        size = chance.randrange(1, 6)
        pieces.append(text[:size])
        text = text[size:]
    return pieces


def without_newlines(text: str) -> str:
    """What the trimming reader can have: no newlines with the white space after them, no white space at the start."""
    return re.sub(rf"\n[{re.escape(JAVASCRIPT_SPACE)}\x1c-\x1f\x85]*", "", text).lstrip(JAVASCRIPT_SPACE)


@pytest.mark.parametrize("text", TEXTS)
def test_both_readers(text: str) -> None:
    for seed in range(20):
        raw = stream(split_at_random(text, random.Random(seed)))
        assert read_standard(raw) == text
        assert read_trimming(raw) == without_newlines(text)


def test_random_texts() -> None:
    chance = random.Random(0)
    for _ in range(2000):
        text = "".join(chance.choice(ALPHABET) for _ in range(chance.randrange(40)))
        raw = stream(split_at_random(text, chance))
        assert read_standard(raw) == text
        assert read_trimming(raw) == without_newlines(text)


def test_the_form_of_every_event() -> None:
    chance = random.Random(2)
    for _ in range(300):
        text = "".join(chance.choice(ALPHABET) for _ in range(60)).lstrip(JAVASCRIPT_SPACE + "\x1c")
        raw = stream(split_at_random(text, chance))
        assert "\r" not in raw
        for number, chunk in enumerate(raw.removesuffix("\n\n").split("\n\n") if raw else []):
            lines = chunk.split("\n")
            if lines[0] == "id:":
                assert all(line.startswith("data: ") for line in lines[1:])
                continue
            assert len(lines) == 1
            assert lines[0].startswith("data: ")
            first = lines[0][len("data: ")]
            assert number == 0 or first not in JAVASCRIPT_SPACE


def test_carriage_returns_become_newlines() -> None:
    raw = stream(["one\r", "\ntwo\rthree\r\n\r\nfour\r"])
    assert read_standard(raw) == "one\ntwo\nthree\n\nfour\n"


def test_words_come_whole_and_soon() -> None:
    framer = TextFramer()
    assert list(framer.add("The qu")) == [event("The ")]
    assert list(framer.add("ick ")) == []
    assert list(framer.add("fox")) == [event("quick ")]
    assert list(framer.add("es")) == []
    assert list(framer.finish()) == [event("foxes")]


def test_unspaced_scripts_do_not_wait_for_the_end() -> None:
    framer = TextFramer()
    seen = "".join(each for letter in "漢字かな交じり文" for each in framer.add(letter))
    assert read_standard(seen) == "漢字かな交じり"


def test_other_events() -> None:
    assert read_standard(PING + json_event({"error": "x"}, name="error")) == ""
    assert read_trimming(PING + json_event({"error": "x"}, name="error")) == ""
    assert event("a\nb", name="state", event_id=3) == "event: state\nid: 3\ndata: a\ndata: b\n\n"


@pytest.mark.parametrize("blank", [" " * 8, "\n" * 8, "\r\n" * 4])
def test_a_long_run_of_white_space_costs_what_it_is_long(blank: str) -> None:
    """Every token was looked through again for each that followed, on the event loop."""
    started = time.process_time()
    raw = stream(["word", *[blank] * 4000, "end"])
    assert time.process_time() - started < 2
    assert read_standard(raw) == "word" + blank.replace("\r", "") * 4000 + "end"


def test_a_carriage_return_waits_for_its_newline() -> None:
    assert read_standard(stream(["a\r", "\nb\r", "\r", "\n", " \r", "c\r"])) == "a\nb\n\n \nc\n"
