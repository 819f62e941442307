"""llama.cpp through its Python binding, in an interpreter of its own that has `llama-cpp-python` and `gguf`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from lib.shape import SHAPE

STEPS = """
import json, sys, time
import llama_cpp
path, threads, new_tokens = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
model = llama_cpp.Llama(path, n_ctx=512, n_threads=threads, verbose=False, logits_all=False)
prompt = list(range(5, 37))
best = []
for _ in range(6):
    model.reset()
    model.eval(prompt)
    started = time.perf_counter()
    for token in range(new_tokens):
        model.eval([40 + token])
    best.append(time.perf_counter() - started)
print(json.dumps(best[1:]))
"""

TO_GGUF = """
import sys
import gguf, numpy
from safetensors import safe_open
source, target, kind = sys.argv[1:4]
shape = {shape}
fewer = {{"bf16": gguf.GGMLQuantizationType.BF16, "q8_0": gguf.GGMLQuantizationType.Q8_0}}.get(kind)
writer = gguf.GGUFWriter(target, "llama")
writer.add_context_length(shape["max_position_embeddings"])
writer.add_embedding_length(shape["hidden_size"])
writer.add_block_count(shape["num_hidden_layers"])
writer.add_feed_forward_length(shape["intermediate_size"])
writer.add_head_count(shape["num_attention_heads"])
writer.add_head_count_kv(shape["num_key_value_heads"])
writer.add_layer_norm_rms_eps(1e-6)
writer.add_rope_dimension_count(shape["hidden_size"] // shape["num_attention_heads"])
writer.add_vocab_size(shape["vocab_size"])
writer.add_tokenizer_model("llama")
writer.add_token_list([f"word{{i}}" for i in range(shape["vocab_size"])])
writer.add_token_scores([0.0] * shape["vocab_size"])
writer.add_token_types([1] * shape["vocab_size"])
names = {{"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
         "lm_head.weight": "output.weight"}}
parts = {{"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
         "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
         "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}}
for block in range(shape["num_hidden_layers"]):
    for ours, theirs in parts.items():
        names[f"model.layers.{{block}}.{{ours}}.weight"] = f"blk.{{block}}.{{theirs}}.weight"
with safe_open(source, "numpy") as tensors:
    for ours, theirs in names.items():
        tensor = tensors.get_tensor(ours)
        if tensor.ndim == 1 or fewer is None:
            writer.add_tensor(theirs, tensor.astype(numpy.float32))
        else:
            # As ours: what is not in a block stays in 16 bits.
            kept = fewer if theirs.startswith("blk.") else gguf.GGMLQuantizationType.BF16
            packed = gguf.quants.quantize(tensor.astype(numpy.float32), kept)
            writer.add_tensor(theirs, packed, raw_dtype=kept)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
"""


def write_gguf(python: str, source: Path, target: Path, kind: str) -> None:
    """Write the weights of a checkpoint of `SHAPE` to a GGUF file, in `f32`, `bf16` or `q8_0`."""
    convert = TO_GGUF.format(shape=repr(SHAPE))
    subprocess.run([python, "-c", convert, str(source), str(target), kind], check=True)


def time_steps(python: str, path: Path, *, threads: int, tokens: int) -> list[float]:
    """Seconds that `tokens` single steps take after a prompt of 32, without sampling; of five rounds."""
    out = subprocess.run(
        [python, "-c", STEPS, str(path), str(threads), str(tokens)],
        check=True,
        capture_output=True,
        text=True,
    )
    found: list[float] = json.loads(out.stdout.splitlines()[-1])
    return found
