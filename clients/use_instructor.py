"""instructor in the modes that the schema can steer."""

import instructor
import openai
from checks import BASE, KEY, MODEL, QUESTION, run
from pydantic import BaseModel


class Fact(BaseModel, extra="forbid"):
    """Nothing else may be in it, or a random model fills the answer up with properties of its own."""

    sure: bool


def ask(mode: instructor.Mode) -> None:
    client = instructor.from_openai(openai.OpenAI(base_url=BASE, api_key=KEY), mode=mode)
    found = client.chat.completions.create(
        model=MODEL,
        response_model=Fact,
        messages=[{"role": "user", "content": QUESTION}],
        max_retries=0,
        max_tokens=400,
    )
    assert isinstance(found, Fact)


MODES = ["TOOLS", "TOOLS_STRICT", "JSON_SCHEMA", "RESPONSES_TOOLS"]
run(["instructor", "openai"], {mode: (lambda mode=mode: ask(instructor.Mode[mode])) for mode in MODES})
