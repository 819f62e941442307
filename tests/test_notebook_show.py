"""A notebook in a real kernel: arrays as it shows them, and the page on a recording in a frame."""

import re
from typing import Any

import httpx
import nbformat
import pytest
from nbclient import NotebookClient

CELLS = [
    # What libraries warn of when they are imported first is theirs; every later cell must be silent.
    "import glassformer as gf\nmodel = gf.load('sorter')",
    "model",
    "t = model.trace('CBABBC', max_new_tokens=6, temperature=0)\nt",
    "t['attn_probs.1']",
    "t.explain('mlp_act.1', pos=5, d_mlp=12)",
    "t.logit_lens(top=2)",
    "t.show(height=333)",
    "other = model.trace('AAABBB', interventions=gf.change('z.1', 'zero', head=0))\nother.show()",
    # What the frames show is asked for from within, as the browser of the person would.
    "import httpx, json\n"
    "def ask(handle, path):\n"
    "    base, _, query = handle.url.partition('/llm')\n"
    "    with httpx.Client(base_url=base, trust_env=False) as client:\n"
    "        return client.get(path.format(query.partition('=')[2]))\n"
    "print(json.dumps([t.url, other.url]))\n"
    "print(json.dumps(ask(t, '/llm?trace={}').status_code))\n"
    "print(json.dumps(ask(t, '/api/traces/{}').json()))\n"
    "print(json.dumps(ask(other, '/api/traces/{}').json()))\n"
    "print(json.dumps(ask(t, '/api/traces/{}/events').text))\n"
    "chunk = ask(t, '/api/traces/{}/zarr/attn_probs.1/0/c/1/0/0').content\n"
    "import numpy as np\n"
    "held = t.numpy('attn_probs.1')[1]\n"
    "served = np.frombuffer(chunk, '<f4').reshape(64, 64)[:held.shape[0], :held.shape[0]]\n"
    "print(json.dumps(bool((served == held).all())))\n"
    "print(json.dumps(ask(t, '/api/models').json()))\n",
]


@pytest.fixture(scope="module")
def outputs() -> list[list[Any]]:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    client = NotebookClient(notebook, timeout=240, kernel_name="python3")
    client.execute()
    return [cell["outputs"] for cell in notebook.cells]


def shown(outputs: list[Any], kind: str) -> str:
    """What a cell shows in one format; nothing may be printed beside it."""
    assert [output["output_type"] for output in outputs if output["output_type"] == "stream"] == []
    (output,) = outputs
    return str(output["data"][kind])


def printed(outputs: list[Any]) -> list[Any]:
    import json

    text = "".join(output["text"] for output in outputs if output["output_type"] == "stream")
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.slow
def test_arrays_and_explanations_read_well(outputs: list[list[Any]]) -> None:
    _, model, trace, probabilities, explained, lens, *_ = outputs
    assert "<Model sorter: gpt2" in shown(model, "text/plain")
    assert "6 tokens read, 6 written" in shown(trace, "text/html")
    array = shown(probabilities, "text/plain")
    assert "<xarray.DataArray 'attn_probs.1' (head: 3, query: 11, key: 11)>" in array
    assert "query_token" in array
    assert "xr-wrap" in shown(probabilities, "text/html")
    assert "mlp_act.1" in shown(explained, "text/html")
    assert shown(explained, "text/latex").startswith("$$")
    assert "Dimensions:       (block: 4, pos: 11, rank: 2)" in shown(lens, "text/plain")


@pytest.mark.slow
def test_the_page_is_shown_on_the_recording(outputs: list[list[Any]]) -> None:
    *_, first, second, asked = outputs
    frame = shown(first, "text/html")
    found = re.search(r'src="(http://127\.0\.0\.1:\d+/llm\?trace=[0-9a-f]+)"', frame)
    assert found
    assert 'height="333"' in frame
    urls, status, state, other, events, is_same, models = printed(asked)
    assert found[1] == urls[0]
    # One server for both, and one model.
    assert urls[0].partition("?")[0] == urls[1].partition("?")[0]
    assert urls[1] in shown(second, "text/html")
    assert status == 200
    assert (state["status"], state["model_id"]) == ("done", "sorter")
    assert "".join(token["text"] for token in state["tokens"]).startswith("CBABBC")
    assert other["interventions"][0]["address"] == "z.1"
    assert events.count("event: step") == 6
    assert is_same
    assert [one["model_id"] for one in models["models"] if one["status"] == "ready"] == ["sorter"]
    # It ends with its kernel.
    with pytest.raises(httpx.TransportError):
        httpx.get(urls[0], trust_env=False, timeout=5)
