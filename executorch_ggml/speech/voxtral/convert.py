"""Published Voxtral Realtime checkpoints to our names: Mistral's own layout and Hugging Face's."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from executorch_ggml.errors import BindError
from executorch_ggml.gguf.writer import TensorSource
from executorch_ggml.speech.checkpoint import Checkpoint, open_checkpoint
from executorch_ggml.speech.sources import lazy_sources

from .config import VoxtralConfig
from .decoder import delay_scale
from .describe import config_from_hf, config_from_mistral, pieces_from_tekken
from .model import VoxtralRealtime

__all__ = ["VoxtralCheckpoint", "open_voxtral"]

_MISTRAL_FILES = ("consolidated.safetensors", "consolidated.safetensors.index.json")

_MISTRAL = (
    (r"^mm_streams_embeddings\.embedding_module\.whisper_encoder\.conv_layers\.0\.conv\.", "encoder.conv1."),
    (r"^mm_streams_embeddings\.embedding_module\.whisper_encoder\.conv_layers\.1\.conv\.", "encoder.conv2."),
    (r"^mm_streams_embeddings\.embedding_module\.whisper_encoder\.transformer\.", "encoder."),
    (r"^mm_streams_embeddings\.embedding_module\.audio_language_projection\.0\.", "encoder.adapter_in."),
    (r"^mm_streams_embeddings\.embedding_module\.audio_language_projection\.2\.", "encoder.adapter_out."),
    (r"^mm_streams_embeddings\.embedding_module\.tok_embeddings\.", "decoder.embedding."),
    (r"^tok_embeddings\.", "decoder.embedding."),
    (r"^layers\.", "decoder.layers."),
    (r"^norm\.", "decoder.norm."),
    (r"\.attention\.w([qkvo])\.", r".attn.\1."),
    (r"\.attention_norm\.", ".attn_norm."),
    (r"\.feed_forward\.w1\.", ".ffn.gate."),
    (r"\.feed_forward\.w2\.", ".ffn.down."),
    (r"\.feed_forward\.w3\.", ".ffn.up."),
    (r"\.ada_rms_norm_t_cond\.0\.", ".condition.narrow."),
    (r"\.ada_rms_norm_t_cond\.2\.", ".condition.wide."),
)

_HF = (
    (r"^(model\.)?audio_tower\.(embedder\.)?", "encoder."),
    (r"^(model\.)?multi_modal_projector\.linear_1\.", "encoder.adapter_in."),
    (r"^(model\.)?multi_modal_projector\.linear_2\.", "encoder.adapter_out."),
    (r"^(model\.)?language_model\.(model\.)?", "decoder."),
    (r"^decoder\.embed_tokens\.", "decoder.embedding."),
    (r"\.self_attn\.([qkvo])_proj\.", r".attn.\1."),
    (r"\.(self_attn_layer_norm|input_layernorm)\.", ".attn_norm."),
    (r"\.(final_layer_norm|post_attention_layernorm)\.", ".ffn_norm."),
    (r"\.mlp\.(gate|up|down)_proj\.", r".ffn.\1."),
    (r"\.ada_rms_norm\.linear1\.", ".condition.narrow."),
    (r"\.ada_rms_norm\.linear2\.", ".condition.wide."),
)

# Turns the delay into a scale (`delay_scale`).
_CONDITION = re.compile(r"\.condition\.(narrow|wide)\.weight$")

# A tied head that was stored all the same, and tables.
_IGNORED = re.compile(r"(^|\.)(lm_head|output)\.weight$|inv_freq$")


class VoxtralCheckpoint:
    """A checkpoint that reads its tensors when they are written.

    config: of the model. pieces: the text of its token ids. Opening raises FileError, FormatError, UnsupportedError.
    """

    def __init__(self, path: str | os.PathLike[str], *, delay_tokens: int | None = None) -> None:
        self.path = os.fspath(path)
        self.tensors: Checkpoint = open_checkpoint(path, _MISTRAL_FILES)
        folder = self.tensors.folder
        mistral = (folder / "params.json").exists() and any("whisper_encoder" in name for name in self.tensors)
        tekken = folder / "tekken.json"
        self.pieces = pieces_from_tekken(tekken) if tekken.exists() else []
        describe = config_from_mistral if mistral else config_from_hf
        self.config: VoxtralConfig = describe(folder, tekken if tekken.exists() else None, delay_tokens)
        table = _MISTRAL if mistral else _HF
        self.names = {_renamed(name, table): name for name in self.tensors if not _IGNORED.search(name)}

    def weights(self) -> dict[str, Callable[[], Tensor]]:
        """A reader for each of our weights. Raises BindError when a layer's conditioning network is not whole."""
        found: dict[str, Callable[[], Tensor]] = {}
        for name, source in self.names.items():
            if _CONDITION.search(name):
                continue
            found[name] = partial(self.tensors.__getitem__, source)
            if name.startswith("decoder.layers.") and name.endswith(".ffn_norm.weight"):
                found[name] = partial(self._scaled, source, *self._condition(name.removesuffix(".ffn_norm.weight")))
        return found

    def _condition(self, layer: str) -> tuple[str, str]:
        """Names of the two matrices."""
        narrow, wide = (self.names.get(f"{layer}.condition.{part}.weight") for part in ("narrow", "wide"))
        if narrow is None or wide is None:
            raise BindError(f"{self.path}: {layer} lacks a matrix of the network that tells it the delay")
        return narrow, wide

    def _scaled(self, gain: str, narrow: str, wide: str) -> Tensor:
        scale = delay_scale(self.config.delay_tokens, self.tensors[narrow], self.tensors[wide])
        return self.tensors[gain].float() * scale

    def sources(self, model: VoxtralRealtime) -> Iterator[TensorSource]:
        """For `write_gguf`. Raises BindError when tensors are missing, unknown or mis-shaped."""
        return lazy_sources(self.path, model, self.weights())

    def load(self, model: VoxtralRealtime) -> VoxtralRealtime:
        """All weights in float32, into a model on the CPU: for small ones."""
        state = {source.name: torch.from_numpy(source.read(0, source.shape[0])) for source in self.sources(model)}
        model.load_state_dict(state, strict=False)
        return model


def open_voxtral(path: str | os.PathLike[str], *, delay_tokens: int | None = None) -> VoxtralCheckpoint:
    """A checkpoint folder: consolidated.safetensors and params.json, or model.safetensors and config.json; tekken.json.

    delay_tokens: the text's delay behind the audio, in steps of 0.08 s; by default the checkpoint's.
    """
    return VoxtralCheckpoint(Path(path), delay_tokens=delay_tokens)


def _renamed(name: str, table: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in table:
        name = re.sub(pattern, replacement, name)
    return name
