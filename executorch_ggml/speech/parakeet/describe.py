"""The facts of a checkpoint's own files about its model: the configuration and the text of its tokens."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

from executorch_ggml.errors import FormatError, UnsupportedError
from executorch_ggml.speech.checkpoint import read_json

from .config import ParakeetConfig

__all__ = ["config_from_hf", "config_from_nemo", "pieces_from_hf", "pieces_from_nemo"]

_SPACE = "▁"
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>$")
_CONTROL = re.compile(r"<.*>$|\[.*\]$")


def _require(where: Path, what: str, found: Any, wanted: Any) -> None:
    if found != wanted:
        raise UnsupportedError(f"{where}: {what} is {found!r}; only {wanted!r} is implemented")


def config_from_hf(folder: Path) -> ParakeetConfig:
    """From config.json (and preprocessor_config.json, where there is one). Raises UnsupportedError, FormatError."""
    path = folder / "config.json"
    config = read_json(path)
    _require(path, "model_type", config.get("model_type"), "parakeet_tdt")
    encoder = config.get("encoder_config")
    if not isinstance(encoder, dict):
        raise FormatError(f"{path}: encoder_config is missing")
    _require(path, "encoder_config.hidden_act", encoder.get("hidden_act", "silu"), "silu")
    _require(path, "hidden_act", config.get("hidden_act", "relu"), "relu")
    _require(path, "subsampling_conv_kernel_size", encoder.get("subsampling_conv_kernel_size", 3), 3)
    bias = bool(encoder.get("attention_bias", True))
    _require(path, "convolution_bias", bool(encoder.get("convolution_bias", True)), bias)
    vocab = int(config.get("vocab_size", 8193))
    _require(path, "blank_token_id", config.get("blank_token_id", vocab - 1), vocab - 1)
    front = folder / "preprocessor_config.json"
    audio = read_json(front) if front.exists() else {}
    joint = int(config.get("decoder_hidden_size", 640))
    return ParakeetConfig(
        mels=int(encoder.get("num_mel_bins", 80)),
        width=int(encoder.get("hidden_size", 1024)),
        layers=int(encoder.get("num_hidden_layers", 24)),
        heads=int(encoder.get("num_attention_heads", 8)),
        feed_forward=int(encoder.get("intermediate_size", 4096)),
        kernel=int(encoder.get("conv_kernel_size", 9)),
        subsampling=int(encoder.get("subsampling_factor", 8)),
        subsampling_channels=int(encoder.get("subsampling_conv_channels", 256)),
        bias=bias,
        scale_input=bool(encoder.get("scale_input", True)),
        vocab=vocab,
        predictor_width=joint,
        predictor_layers=int(config.get("num_decoder_layers", 2)),
        joint_width=joint,
        durations=tuple(int(d) for d in config.get("durations", (0, 1, 2, 3, 4))),
        max_symbols=int(config.get("max_symbols_per_step", 10)),
        sample_rate=int(audio.get("sampling_rate", 16000)),
        n_fft=int(audio.get("n_fft", 512)),
        window=int(audio.get("win_length", 400)),
        hop=int(audio.get("hop_length", 160)),
        preemphasis=float(audio.get("preemphasis", 0.97)),
    )


def _nemo_config(folder: Path) -> tuple[Path, dict[str, Any]]:
    path = next(iter(sorted(folder.rglob("model_config.yaml"))), folder / "model_config.yaml")
    yaml = importlib.import_module("yaml")
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise FormatError(f"{path}: {error}") from error
    if not isinstance(config, dict):
        raise FormatError(f"{path}: a mapping was expected")
    return path, config


def config_from_nemo(folder: Path) -> ParakeetConfig:
    """From model_config.yaml. Raises UnsupportedError, FormatError."""
    path, config = _nemo_config(folder)
    try:
        encoder, front, joint = config["encoder"], config["preprocessor"], config["joint"]
        durations = config["model_defaults"].get("tdt_durations") or config["loss"]["tdt_kwargs"]["durations"]
        network, output = config["decoder"]["prednet"], joint["jointnet"]
        decoding = config.get("decoding", {}).get("greedy", {})
        _require(path, "encoder.subsampling", encoder.get("subsampling"), "dw_striding")
        _require(path, "encoder.self_attention_model", encoder.get("self_attention_model", "rel_pos"), "rel_pos")
        _require(path, "encoder.causal_downsampling", encoder.get("causal_downsampling", False), False)
        _require(path, "encoder.conv_norm_type", encoder.get("conv_norm_type", "batch_norm"), "batch_norm")
        _require(path, "joint.jointnet.activation", output.get("activation", "relu"), "relu")
        _require(path, "preprocessor.normalize", front.get("normalize", "per_feature"), "per_feature")
        rate = int(front.get("sample_rate", 16000))
        width = int(encoder["d_model"])
        return ParakeetConfig(
            mels=int(front["features"]),
            width=width,
            layers=int(encoder["n_layers"]),
            heads=int(encoder["n_heads"]),
            feed_forward=width * int(encoder["ff_expansion_factor"]),
            kernel=int(encoder["conv_kernel_size"]),
            subsampling=int(encoder["subsampling_factor"]),
            subsampling_channels=int(encoder["subsampling_conv_channels"]),
            bias=bool(encoder.get("use_bias", True)),
            scale_input=bool(encoder.get("xscaling", True)),
            vocab=len(joint["vocabulary"]) + 1,
            predictor_width=int(network["pred_hidden"]),
            predictor_layers=int(network["pred_rnn_layers"]),
            joint_width=int(output["joint_hidden"]),
            durations=tuple(int(d) for d in durations),
            max_symbols=int(decoding.get("max_symbols") or 10),
            sample_rate=rate,
            n_fft=int(front.get("n_fft", 512)),
            window=round(float(front.get("window_size", 0.025)) * rate),
            hop=round(float(front.get("window_stride", 0.01)) * rate),
            preemphasis=float(front.get("preemph", 0.97) or 0.0),
        )
    except (KeyError, TypeError) as error:
        raise FormatError(f"{path}: not the configuration of a TDT model: {error!r}") from error


def _piece(text: str) -> bytes:
    """The bytes that a SentencePiece piece stands for; control tokens stand for none."""
    if match := _BYTE.match(text):
        return bytes([int(match[1], 16)])
    return b"" if _CONTROL.match(text) else text.replace(_SPACE, " ").encode()


def pieces_from_nemo(folder: Path) -> list[bytes]:
    """From the vocabulary that the configuration repeats; the blank is not among it."""
    path, config = _nemo_config(folder)
    words = config.get("joint", {}).get("vocabulary")
    if not isinstance(words, list):
        raise FormatError(f"{path}: joint.vocabulary is missing")
    return [_piece(str(word)) for word in words]


def pieces_from_hf(folder: Path) -> list[bytes]:
    """From tokenizer.json; empty when there is none, and text then has to be made of ids by the caller."""
    path = folder / "tokenizer.json"
    if not path.exists():
        return []
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # its Rust part raises a plain Exception
        raise FormatError(f"{path}: not a tokenizer: {error}") from error
    pieces = [b""] * tokenizer.get_vocab_size(with_added_tokens=True)
    special = {i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    for text, index in tokenizer.get_vocab(with_added_tokens=True).items():
        if index < len(pieces) and index not in special:
            pieces[index] = _piece(text)
    return pieces
