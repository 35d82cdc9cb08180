"""Published Parakeet TDT checkpoints to our modules: NeMo archives and Hugging Face folders."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from executorch_ggml.errors import BindError
from executorch_ggml.speech.checkpoint import NemoArchive, missing_and_extra, open_checkpoint

from .config import ParakeetConfig
from .describe import config_from_hf, config_from_nemo, pieces_from_hf, pieces_from_nemo
from .model import Parakeet

__all__ = ["load_parakeet"]

# NeMo's names in the terms of Hugging Face's.
_NEMO = (
    (r"^encoder\.pre_encode\.conv\.", "encoder.subsampling.layers."),
    (r"^encoder\.pre_encode\.out\.", "encoder.subsampling.linear."),
    (r"\.self_attn\.linear_([qkv])\.", r".self_attn.\1_proj."),
    (r"\.self_attn\.linear_out\.", ".self_attn.o_proj."),
    (r"\.self_attn\.linear_pos\.", ".self_attn.relative_k_proj."),
    (r"\.self_attn\.pos_bias_", ".self_attn.bias_"),
    (r"\.conv\.batch_norm\.", ".conv.norm."),
    (r"^decoder\.prediction\.embed\.", "decoder.embedding."),
    (r"^decoder\.prediction\.dec_rnn\.lstm\.", "decoder.lstm."),
    (r"^joint\.pred\.", "decoder.decoder_projector."),
    (r"^joint\.enc\.", "encoder_projector."),
    (r"^joint\.joint_net\.\d+\.", "joint.head."),
)

# Hugging Face's names of tensors that are the same here.
_SAME = (
    (r"^encoder\.subsampling\.layers\.0\.", "encoder.subsampling.first."),
    (r"^encoder\.subsampling\.linear\.", "encoder.subsampling.out."),
    (r"\.norm_feed_forward([12])\.", r".ff\1.norm."),
    (r"\.feed_forward([12])\.linear1\.", r".ff\1.up."),
    (r"\.feed_forward([12])\.linear2\.", r".ff\1.down."),
    (r"\.norm_self_att\.", ".attn_norm."),
    (r"\.self_attn\.([qkvo])_proj\.", r".attn.\1."),
    (r"\.self_attn\.relative_k_proj\.", ".attn.pos."),
    (r"\.self_attn\.bias_", ".attn.bias_"),
    (r"\.norm_conv\.", ".conv.norm."),
    (r"\.norm_out\.", ".norm."),
    (r"^encoder_projector\.", "encoder.joint."),
    (r"^decoder\.embedding\.", "predictor.embedding."),
    (r"^decoder\.decoder_projector\.", "predictor.joint."),
)

# Not weights: the tables of the spectrum, which are computed here, and a counter of batch norms.
_IGNORED = re.compile(r"^preprocessor\.|\.num_batches_tracked$|\.inv_freq$")


def load_parakeet(path: str | os.PathLike[str], max_frames: int = 4096) -> tuple[Parakeet, list[bytes]]:
    """The model of a checkpoint, in float32 and eval mode, and the text of its token ids.

    path: a `.nemo` file, or a folder in Hugging Face's layout (model.safetensors, config.json, tokenizer.json).

    Raises FileError, FormatError, BindError (tensors that are missing, unknown or mis-shaped, named), UnsupportedError
    (a configuration that is not a Parakeet TDT's, or an option that is not implemented).
    """
    checkpoint = open_checkpoint(path)
    nemo = isinstance(checkpoint, NemoArchive)
    config = (config_from_nemo if nemo else config_from_hf)(checkpoint.folder)
    pieces = (pieces_from_nemo if nemo else pieces_from_hf)(checkpoint.folder)
    names: dict[str, str] = {}
    for name in checkpoint:
        if not _IGNORED.search(name):
            names[_renamed(name, _NEMO) if nemo else name] = name
    model = Parakeet.meta(config, max_frames)
    state: dict[str, Tensor] = {}
    for target, tensor in _converted(lambda name: checkpoint[names[name]], names, config):
        state[target] = tensor.to(torch.float32).contiguous()
    wanted = dict(model.named_parameters())
    missing_and_extra(str(path), wanted, state)
    for name, parameter in wanted.items():
        if state[name].shape != parameter.shape:
            raise BindError(
                f"{path}: {name} has shape {list(state[name].shape)}, its configuration wants {list(parameter.shape)}"
            )
    model.load_state_dict(state, strict=False, assign=True)
    return model.to_cpu().eval(), pieces


def _renamed(name: str, table: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in table:
        name = re.sub(pattern, replacement, name)
    return name


def _converted(
    read: Callable[[str], Tensor], names: Mapping[str, Any], config: ParakeetConfig
) -> Iterator[tuple[str, Tensor]]:
    """Our tensors, made of Hugging Face's."""
    for name in names:
        if match := re.match(r"(encoder\.layers\.\d+\.conv)\.(\w+)\.(\w+)$", name):
            yield from _convolution(read, names, match[1], match[2], match[3])
        elif match := re.match(r"encoder\.subsampling\.layers\.(\d+)\.(\w+)$", name):
            yield _subsampling(int(match[1]), match[2]), read(name)
        elif match := re.match(r"decoder\.lstm\.(weight|bias)_(ih|hh)_l(\d+)$", name):
            yield from _lstm(read, match[1], match[2], int(match[3]))
        elif match := re.match(r"joint\.head\.(\w+)$", name):
            yield name, read(name)
        else:
            yield _renamed(name, _SAME), read(name)


def _subsampling(index: int, kind: str) -> str:
    """Layers are a convolution and its ReLU, then depthwise, pointwise, ReLU again and again."""
    if index == 0:
        return f"encoder.subsampling.first.{kind}"
    return f"encoder.subsampling.{'depthwise' if index % 3 == 2 else 'pointwise'}.{(index - 2) // 3}.{kind}"


def _lstm(read: Callable[[str], Tensor], kind: str, side: str, layer: int) -> Iterator[tuple[str, Tensor]]:
    cell = f"predictor.cells.{layer}"
    if kind == "weight":
        yield f"{cell}.{'input' if side == 'ih' else 'hidden'}.weight", read(f"decoder.lstm.weight_{side}_l{layer}")
    elif side == "ih":  # two biases that are only ever added
        yield f"{cell}.input.bias", read(f"decoder.lstm.bias_ih_l{layer}") + read(f"decoder.lstm.bias_hh_l{layer}")


def _convolution(
    read: Callable[[str], Tensor], names: Mapping[str, Any], prefix: str, module: str, kind: str
) -> Iterator[tuple[str, Tensor]]:
    """Kernels of one frame become matrices; the batch norm goes into the depthwise kernel."""
    if module in ("pointwise_conv1", "pointwise_conv2"):
        tensor = read(f"{prefix}.{module}.{kind}")
        target = "gate" if module == "pointwise_conv1" else "out"
        yield f"{prefix}.{target}.{kind}", tensor.squeeze(-1) if kind == "weight" else tensor
    elif module == "depthwise_conv" and kind == "weight":
        mean, variance, scale, shift = (
            read(f"{prefix}.norm.{part}").double() for part in ("running_mean", "running_var", "weight", "bias")
        )
        factor = scale / torch.sqrt(variance + 1e-5)
        bias_name = f"{prefix}.depthwise_conv.bias"
        bias = read(bias_name).double() if bias_name in names else torch.zeros_like(mean)
        yield f"{prefix}.depthwise.weight", read(f"{prefix}.depthwise_conv.weight").double() * factor[:, None, None]
        yield f"{prefix}.depthwise.bias", (bias - mean) * factor + shift
