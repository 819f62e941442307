"""What the installed transformers calls a thing is what its own `generate()` uses."""

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from glassformer.compute.library import find_cache_name

SHAPES: dict[str, dict[str, Any]] = {
    "llama": {"num_attention_heads": 4, "intermediate_size": 48},
    "mamba": {"state_size": 4},
}


@pytest.mark.parametrize("family", SHAPES)
def test_the_cache_goes_by_the_name_that_generate_uses(family: str) -> None:
    """A name that is not taken, or deprecated (warnings are errors), would fail here or compute everything anew."""
    auto: Any = AutoModelForCausalLM
    config = AutoConfig.for_model(
        family, hidden_size=32, num_hidden_layers=2, vocab_size=50, **SHAPES[family]
    )
    model: Any = auto.from_config(config).eval()
    ids, seen = torch.tensor([[5, 6, 7]]), {}

    def note(_: Any, args: Any, kwargs: dict[str, Any]) -> None:
        seen.update(kwargs)

    handle = model.register_forward_pre_hook(note, with_kwargs=True)
    model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=2, do_sample=False)
    handle.remove()
    name = find_cache_name(model)
    assert seen[name] is not None
    with torch.inference_mode():
        out = model(ids, use_cache=True)
        assert model(torch.tensor([[8]]), use_cache=True, **{name: out[name]}).logits.shape[1] == 1
