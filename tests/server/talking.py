"""A tiny random model that holds conversations, by an id with a slash; and the official client of it."""

from pathlib import Path
from typing import Any

from openai import DefaultHttpxClient, OpenAI
from serving import Running
from tiny import make_model, make_tokenizer

TALKER = "tiny/talker"
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}[{{ message['role'] }}] {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)
TURNS: list[Any] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Who has the ball?"},
]


def make_talker(root: Path) -> Path:
    """A model directory with the talker alone."""
    folder = make_model(root / TALKER, "llama")
    tokenizer = make_tokenizer()
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return root


def connect(running: Running, **options: Any) -> OpenAI:
    """The official client; it asks once, so that refusals are seen."""
    settings = {"api_key": "none-is-needed", "max_retries": 0, "timeout": 30, **options}
    return OpenAI(base_url=f"{running.url}/v1", http_client=DefaultHttpxClient(trust_env=False), **settings)
