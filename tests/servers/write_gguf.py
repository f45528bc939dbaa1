"""Writes one of the sandbox's models as a GGUF file, the form that llama.cpp's servers read.

    python tests/servers/write_gguf.py rlaif/sandbox/models/judge judge.gguf

It needs the packages `gguf`, `numpy` and `safetensors` and none of rlaif, and runs in a server's own environment.
Weights stay in float32. A Llama's query and key rows are reordered, for GGUF's rotary embedding pairs neighbouring
rows, and Hugging Face's pairs each row of a head's first half with one of its second half.

llama.cpp knows pre-tokenizers by name only, and the sandbox's has none. `bloom` cuts text otherwise, but every merge of
the sandbox's vocabulary lies within a word with the space before it, or within line breaks, and those pieces are whole
in both: the tokens are the same. `mergeable` refuses a vocabulary where that is not so.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import gguf
import numpy as np
from safetensors.numpy import load_file

NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def gguf_name(name: str) -> str:
    """The name in a GGUF file of a weight of a `LlamaForCausalLM`."""
    if name == "model.embed_tokens.weight":
        return "token_embd.weight"
    if name == "model.norm.weight":
        return "output_norm.weight"
    layer = re.fullmatch(r"model\.layers\.(\d+)\.(.+)\.weight", name)
    if layer is None or layer[2] not in NAMES:
        raise ValueError(f"{name} is no weight of a Llama with tied embeddings; expected one of {', '.join(NAMES)}.")
    return f"blk.{layer[1]}.{NAMES[layer[2]]}.weight"


def interleaved(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows (heads * D, H) of a query or key projection in GGUF's order: row i of a half beside row i of the other."""
    rows, width = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, width).swapaxes(1, 2).reshape(rows, width)


def mergeable(token: str) -> bool:
    """Whether both pre-tokenizers keep this token of the byte-level alphabet in one piece (Ġ a space, Ċ a break)."""
    return len(token) == 1 or re.fullmatch(r"Ġ?[A-Za-z]+|Ċ+|Ġ\d", token) is not None


def write(model: Path, output: Path) -> None:
    """Writes the checkpoint in the folder `model` to the file `output`."""
    config = json.loads((model / "config.json").read_text("utf-8"))
    tokenizer = json.loads((model / "tokenizer.json").read_text("utf-8"))
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]

    writer = gguf.GGUFWriter(str(output), "llama")
    writer.add_name(model.name)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)

    special = {token["content"] for token in tokenizer["added_tokens"] if token["special"]}
    vocabulary = sorted(tokenizer["model"]["vocab"].items(), key=lambda item: item[1])
    tokens = [token for token, _ in vocabulary]
    if odd := [token for token in tokens if token not in special and not mergeable(token)]:
        raise ValueError(f"the tokens {odd[:5]} would be cut by the pre-tokenizer `bloom`; expected words or breaks.")
    kinds = [gguf.TokenType.CONTROL if token in special else gguf.TokenType.NORMAL for token in tokens]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in tokenizer["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("bloom")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_pad_token_id(config["pad_token_id"])
    writer.add_add_bos_token(False)
    # The marks of TRL's loss mask are no part of a prompt, and llama.cpp does not know them.
    template = (model / "chat_template.jinja").read_text("utf-8")
    writer.add_chat_template(re.sub(r"\{%-? *(end)?generation *-?%\}", "", template))

    for name, weight in load_file(model / "model.safetensors").items():
        array = weight.astype(np.float32)
        if name.endswith("q_proj.weight"):
            array = interleaved(array, heads)
        elif name.endswith("k_proj.weight"):
            array = interleaved(array, kv_heads)
        writer.add_tensor(gguf_name(name), array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]))
