"""One export-friendly decoder for every family: an embedding, the family's blocks, a norm and a head.

The names of its parameters are the names of the GGUF's tensors, so there is no name map. Its parameters live on the
meta device until somebody loads them. So exporting a model costs only the memory of its graph.
"""

from __future__ import annotations

from collections.abc import Container, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from executorch_ggml.errors import BindError, UnsupportedError
from executorch_ggml.gguf.header import GgufHeader, TensorInfo
from executorch_ggml.gguf.shapes import wrong_shape

from .block import Block, Place, StateKind
from .config import ModelConfig
from .family import Family
from .layers import Linear, Norm, Weight
from .load import family_of, load_config

__all__ = ["TIED_HEAD", "Decoder", "build_decoder"]

# The head is found under its own name, or is the embedding: one graph runs tied and untied models.
TIED_HEAD: dict[str, list[str]] = {"output.weight": ["output.weight", "token_embd.weight"]}

# Tensors that need no place in the graph: the table of the frequencies in old files, the factors for other lengths.
_IGNORED = ("rope_factors_long.weight", "rope_factors_short.weight")
_IGNORED_SUFFIXES = (".attn_rot_embd.weight", ".attn_rot_embd", ".attention.rotary_emb.inv_freq")


class Decoder(nn.Module):
    """forward(input_ids int64 [1, T], cache_pos int64 [T]) -> logits [1, 1, vocab], or [1, T, vocab].

    Each block owns its states, as buffers `blk.<i>.<name>` (`states`). A call writes the rows of the positions in
    cache_pos, and attends to the rows up to each query's own position. Where a state is a summary of the sequence, the
    positions must follow those of the last call, or start at 0.
    """

    def __init__(
        self, family: Family, config: ModelConfig, present: Container[str], *, full_logits: bool = False
    ) -> None:
        super().__init__()
        self.config, self.full_logits = config, full_logits
        self.token_embd = Weight(config.vocab, config.width)
        last = config.layers - 1
        places = [Place(config, i, present, last_only=not full_logits and i == last) for i in range(config.layers)]
        self.blk = nn.ModuleList(family.blocks(places))
        self.add_module(config.output_norm, Norm(config.width, config.eps))
        self.output = Linear(config.width, config.vocab, bias="output.bias" in present)
        names = {rope.factors for rope in config.rope if rope is not None and rope.factors}
        self.factors_name = names.pop().removesuffix(".weight") if names else None
        if self.factors_name:
            dims = next(rope.dims for rope in config.rope if rope is not None)
            self.add_module(self.factors_name, Weight(dims // 2))

    def forward(self, input_ids: Tensor, cache_pos: Tensor) -> Tensor:
        x = F.embedding(input_ids, self.token_embd.weight)
        if self.config.embedding_scale != 1.0:
            x = x * self.config.embedding_scale
        factors = self.get_parameter(f"{self.factors_name}.weight") if self.factors_name else None
        for block in self.blk:
            x = block(x, cache_pos, factors)
        logits: Tensor = self.output(self.get_submodule(self.config.output_norm)(x))
        cap = self.config.logit_softcap
        return torch.tanh(logits / cap) * cap if cap else logits

    @property
    def states(self) -> dict[str, StateKind]:
        """Every state of the blocks, by the name of its buffer."""
        blocks = (block for block in self.blk if isinstance(block, Block))
        return {f"blk.{i}.{name}": kind for i, block in enumerate(blocks) for name, kind in block.states.items()}

    def reset(self) -> None:
        """Sets the states to zero (eager use)."""
        for name in self.states:
            self.get_buffer(name).zero_()


def _check_tensors(model: Decoder, header: GgufHeader) -> None:
    """Every parameter must be in the file with its shape, and every tensor of the file must be used."""
    wanted = {name: tuple(p.shape) for name, p in model.named_parameters()}
    tensors: Mapping[str, TensorInfo] = header.tensors
    problems = []
    for name, shape in wanted.items():
        info = next((tensors[key] for key in TIED_HEAD.get(name, [name]) if key in tensors), None)
        if info is None:
            problems.append(f"{name} is missing")
        elif info.shape != shape:
            problems.append(wrong_shape(info.name, header.path, info.shape, shape))
    if problems:
        shown = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        raise BindError(
            f"{header.path}: its tensors are not those of the {model.config.architecture} model its metadata "
            f"describes: {shown}"
        )
    extra = [n for n in tensors if n not in wanted and n not in _IGNORED and not n.endswith(_IGNORED_SUFFIXES)]
    if extra:
        shown = ", ".join(extra[:5]) + (f" and {len(extra) - 5} more" if len(extra) > 5 else "")
        raise UnsupportedError(
            f"{header.path}: a {model.config.architecture} with the tensors {shown} is not supported, and "
            "ignoring them would give wrong results"
        )


def build_decoder(header: GgufHeader, max_seq_len: int, *, full_logits: bool = False) -> Decoder:
    """The decoder of a GGUF, in eval mode, with parameters and states on the meta device.

    Raises the errors of `load_config`, BindError (tensors missing or mis-shaped, named) and UnsupportedError (tensors
    that the decoder has no use for).
    """
    config = load_config(header, max_seq_len)
    with torch.device("meta"):
        model = Decoder(family_of(header), config, frozenset(header.tensors), full_logits=full_logits)
    _check_tensors(model, header)
    return model.eval()
