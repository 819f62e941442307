"""lm-evaluation-harness: what it scores over HTTP equals its `hf` backend on the same folder, without options."""

import os

from checks import BASE, MODEL, run
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.models.openai_completions import LocalCompletionsAPI

FOLDER = os.environ["GLASSFORMER_FOLDER"]
PAIRS = [
    ("Mia gives the ball to Tom. Who has the ball?", " Tom has it."),
    ("Mia has a ball.", " Mia gives the ball to Tom."),
    ("", "Mia has a ball."),
    ("Who has the ball?", " Tom"),
]


def requests(kind: str, rows: list[tuple]) -> list[Instance]:
    return [Instance(kind, {}, row, place) for place, row in enumerate(rows)]


def load(**options: object) -> tuple[HFLM, LocalCompletionsAPI]:
    api = LocalCompletionsAPI(model=MODEL, base_url=f"{BASE}/completions", **options)
    return HFLM(pretrained=FOLDER, device="cpu", dtype="float32"), api


def compare(wanted: dict[str, list[tuple]], **options: object) -> None:
    local, api = load(**options)
    for kind, rows in wanted.items():
        expected = getattr(local, kind)(requests(kind, rows))
        found = getattr(api, kind)(requests(kind, rows))
        for one, other in zip(expected, found, strict=True):
            mine, its = (one, other) if kind == "loglikelihood" else ((one,), (other,))
            assert mine[1:] == its[1:], (kind, one, other)
            assert abs(mine[0] - its[0]) <= 1e-5 * max(1, abs(mine[0])), (kind, one, other)


def scores() -> None:
    """Without options: it finds the server's tokenizer by itself.

    Where a text has nothing before it, it then takes the end token if the beginning token's id is 0, as here.
    """
    compare({"loglikelihood": [row for row in PAIRS if row[0]]})


def own_tokenizer() -> None:
    wanted = {"loglikelihood": PAIRS, "loglikelihood_rolling": [(one,) for _, one in PAIRS]}
    compare(wanted, tokenizer_backend="huggingface", tokenizer=FOLDER)


def generate() -> None:
    local, api = load(tokenizer=FOLDER)
    rows = [(context, {"until": ["\n"], "max_gen_toks": 12}) for context, _ in PAIRS if context]
    assert local.generate_until(requests("generate_until", rows)) == api.generate_until(
        requests("generate_until", rows)
    )


run(
    ["lm_eval"],
    {
        "scores equal hf's to 1e-5, without options": scores,
        "the same with its own tokenizer, rolling too": own_tokenizer,
        "generates what hf does": generate,
    },
)
