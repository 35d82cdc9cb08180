#!/usr/bin/env python3
"""Makes the bundled GGUF from what train.py wrote: python assets/train/pack.py FOLDER OUT.gguf [--type q8_0|f32|...]

Tensor names, order and types are those of convert_hf_to_gguf.py: norms stay F32, matrices take --type.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import gguf
import numpy as np
from network import Size
from tokenizer import END_OF_TEXT

NAME = "Scripture 2.9M"
ORDER = (
    "attn_norm", "ffn_down", "ffn_gate", "ffn_up", "ffn_norm", "attn_k_norm", "attn_k", "attn_output", "attn_q_norm",
    "attn_q", "attn_v",
)  # fmt: skip


def add_metadata(writer: gguf.GGUFWriter, size: Size, file_type: int) -> None:
    writer.add_type("model")
    writer.add_name(NAME)
    writer.add_size_label("2.9M")
    writer.add_license("CC0-1.0")
    writer.add_description("Trained by assets/train on the World English Bible (public domain)")
    writer.add_block_count(size.layers)
    writer.add_context_length(size.context)
    writer.add_embedding_length(size.width)
    writer.add_feed_forward_length(size.ffn)
    writer.add_head_count(size.heads)
    writer.add_head_count_kv(size.kv_heads)
    writer.add_rope_freq_base(size.theta)
    writer.add_layer_norm_rms_eps(size.eps)
    writer.add_key_length(size.head_dim)
    writer.add_value_length(size.head_dim)
    writer.add_file_type(file_type)
    writer.add_quantization_version(2)


def add_tokenizer(writer: gguf.GGUFWriter, path: Path) -> None:
    model = json.loads(path.read_text())
    vocabulary = {**model["model"]["vocab"], **{t["content"]: t["id"] for t in model["added_tokens"]}}
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    end = vocabulary[END_OF_TEXT]
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL if i == end else gguf.TokenType.NORMAL for i in range(len(tokens))])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(end)  # every training run begins with it
    writer.add_eos_token_id(end)
    writer.add_add_bos_token(True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--type", default="q8_0", choices=("f32", "f16", "bf16", "q8_0"))
    options = parser.parse_args()
    kind = gguf.GGMLQuantizationType[options.type.upper()]
    size = Size()
    writer = gguf.GGUFWriter(options.out, "qwen3")
    file_type = {"f32": "ALL_F32", "f16": "MOSTLY_F16", "bf16": "MOSTLY_BF16", "q8_0": "MOSTLY_Q8_0"}[options.type]
    add_metadata(writer, size, gguf.LlamaFileType[file_type])
    add_tokenizer(writer, options.folder / "tokenizer.json")
    weights = dict(np.load(options.folder / "weights.npz"))
    names = [
        "token_embd.weight",
        *(f"blk.{i}.{part}.weight" for i in range(size.layers) for part in ORDER),
        "output_norm.weight",
    ]
    if set(names) != set(weights):
        raise ValueError(f"weights.npz: unexpected {set(weights) ^ set(names)}")
    for name in names:
        array = weights[name]
        if array.ndim == 2:
            writer.add_tensor(name, gguf.quants.quantize(array, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"{options.out}: {options.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
