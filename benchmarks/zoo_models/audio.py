"""Speech models of Hugging Face."""

from __future__ import annotations

from typing import Any

import torch
import transformers as hf
from torch.export import Dim

from .model import Inputs, Pick, ZooModel, dims


def _whisper(tiny: bool) -> Any:
    small = {
        "vocab_size": 100,
        "num_mel_bins": 16,
        "d_model": 32,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64,
        "max_source_positions": 40,
        "max_target_positions": 64,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "decoder_start_token_id": 1,
    }
    return hf.WhisperModel(hf.WhisperConfig(**(small if tiny else {})))


def _whisper_encoder(tiny: bool) -> Any:
    return Pick(_whisper(tiny).encoder, ("input_features",), "last_hidden_state")


def _whisper_decoder(tiny: bool) -> Any:
    names = ("input_ids", "encoder_hidden_states")
    return Pick(_whisper(tiny).decoder, names, "last_hidden_state", use_cache=False)


def _mel(tiny: bool, second: bool) -> Inputs:
    """Whisper takes 30 s, no more and no less: the second size is another batch."""
    return (torch.randn(2 + second, 16 if tiny else 80, 80 if tiny else 3000),)


def _decoder_inputs(tiny: bool, second: bool) -> Inputs:
    ids = torch.randint(3, 100, (1, (5, 13)[second]))
    return ids, torch.randn(1, 40 if tiny else 1500, 32 if tiny else 384)


def _wav2vec2(tiny: bool) -> Any:
    small = {
        "vocab_size": 32,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "conv_dim": (16, 16, 16),
        "conv_kernel": (10, 3, 2),
        "conv_stride": (5, 2, 2),
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 4,
    }
    model = hf.Wav2Vec2Model(hf.Wav2Vec2Config(**(small if tiny else {})))
    return Pick(model, ("input_values",), "last_hidden_state")


def _wave(tiny: bool, second: bool) -> Inputs:
    return (torch.randn(1, (800, 1230)[second] if tiny else (16000, 24000)[second]),)


MODELS = [
    ZooModel("whisper_encoder", _whisper_encoder, _mel, lambda tiny: (({0: Dim("n", min=1, max=4)},),)),
    ZooModel("whisper_decoder", _whisper_decoder, _decoder_inputs, dims({1: Dim("t", min=2, max=60)}, {})),
    ZooModel("wav2vec2", _wav2vec2, _wave),
]
