"""What each client's file stands on: where the server is, and telling which of its checks held. Plain Python alone."""

import json
import os
import traceback
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, Literal

URL = os.environ.get("GLASSFORMER_URL", "http://127.0.0.1:8000")
BASE = f"{URL}/v1"
MODEL = os.environ.get("GLASSFORMER_MODEL", "tales")
KEY = "none-is-needed"
QUESTION = "Mia gives the ball to Tom. Who has the ball?"
# A small model gets no further by itself: the schema steers it through.
WEATHER: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Rome", "Oslo"]}},
    "required": ["city"],
    "additionalProperties": False,
}


def weather(city: Literal["Rome", "Oslo"]) -> str:
    """How it is in a city."""
    assert city in ("Rome", "Oslo"), city
    return f"It is sunny in {city}."


def try_often(check: Callable[[], object], *, times: int = 3) -> None:
    """Make a check again where an answer says nothing: a random model may end at once."""
    for left in reversed(range(times)):
        try:
            check()
        except AssertionError:
            if not left:
                raise
        else:
            return


def run(packages: list[str], checks: dict[str, Callable[[], object]]) -> None:
    """Make each check and print one line of JSON about it; the first line is about the versions."""
    print(json.dumps({"versions": {name: version(name) for name in packages}}), flush=True)
    for name, check in checks.items():
        try:
            try_often(check)
        except Exception as error:
            why = f"{type(error).__name__}: {error}".strip().splitlines()[0][:300]
            print(json.dumps({"check": name, "ok": False, "why": why}), flush=True)
            traceback.print_exc()
        else:
            print(json.dumps({"check": name, "ok": True}), flush=True)
