"""The facts of a checkpoint's own files about its model: the configuration and the text of its tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from executorch_ggml.errors import FormatError, LibraryError, UnsupportedError
from executorch_ggml.speech.checkpoint import read_json

from .config import TransformerConfig, VoxtralConfig

__all__ = ["config_from_hf", "config_from_mistral", "pieces_from_tekken"]

_PAD = "[STREAMING_PAD]"


def _tekken(path: Path) -> Any:
    try:
        from mistral_common.tokens.tokenizers.tekken import Tekkenizer
    except ImportError as error:
        raise LibraryError(
            "reading tekken.json takes the package mistral-common: pip install 'executorch-ggml[speech]'"
        ) from error
    try:
        return Tekkenizer.from_file(path)
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise FormatError(f"{path}: not a tokenizer: {error}") from error


def pieces_from_tekken(path: Path) -> list[bytes]:
    """The bytes of each token id; special tokens stand for none. Raises FormatError, LibraryError."""
    tokenizer = _tekken(path)
    special = tokenizer.special_ids
    return [b"" if i in special else bytes(tokenizer.id_to_byte_piece(i)) for i in range(tokenizer.n_words)]


def _stream(tekken: Path | None, delay_tokens: int | None, fallback: int = 6) -> dict[str, int]:
    """The tokenizer's facts about a stream; the model's own numbers without one."""
    if tekken is None:
        return {"delay_tokens": fallback if delay_tokens is None else delay_tokens}
    tokenizer = _tekken(tekken)
    facts = {"bos": int(tokenizer.bos_id), "eos": int(tokenizer.eos_id), "pad": int(tokenizer.get_special_token(_PAD))}
    audio = tokenizer.audio
    delay = fallback
    if audio is not None and audio.is_streaming:
        delay = int(audio.get_num_delay_tokens())
        facts["left_pad_tokens"] = int(audio.n_left_pad_tokens)
        facts["right_pad_tokens"] = int(audio.n_right_pad_tokens()) - delay
    return {**facts, "delay_tokens": delay if delay_tokens is None else delay_tokens}


def config_from_mistral(folder: Path, tekken: Path | None, delay_tokens: int | None) -> VoxtralConfig:
    """From params.json. Raises FormatError, UnsupportedError."""
    path = folder / "params.json"
    params = read_json(path)
    try:
        args = params["multimodal"]["whisper_model_args"]
        audio, spectrum = args["encoder_args"], args["encoder_args"].get("audio_encoding_args", {})
        encoder = TransformerConfig(
            audio["dim"], audio["n_layers"], audio["n_heads"], audio.get("n_kv_heads") or audio["n_heads"],
            audio["head_dim"], audio["hidden_dim"], _window(audio.get("sliding_window"), 750),
            float(audio["rope_theta"]), float(audio["norm_eps"]),
        )  # fmt: skip
        decoder = TransformerConfig(
            params["dim"], params["n_layers"], params["n_heads"], params["n_kv_heads"], params["head_dim"],
            params["hidden_dim"], _window(params.get("sliding_window"), 8192), float(params["rope_theta"]),
            float(params["norm_eps"]),
        )  # fmt: skip
        return VoxtralConfig(
            encoder,
            decoder,
            vocab=params["vocab_size"],
            condition_width=params["ada_rms_norm_t_cond_dim"],
            mels=spectrum.get("num_mel_bins", 128),
            downsample=args["downsample_args"]["downsample_factor"],
            **_stream(tekken, delay_tokens),  # type: ignore[arg-type]
        )
    except (KeyError, TypeError) as error:
        raise FormatError(f"{path}: not the configuration of a Voxtral Realtime: {error!r}") from error


def _window(value: Any, default: int) -> int:
    """Mistral writes one number, a list of one, or nothing."""
    if isinstance(value, list):
        value = value[0] if value else None
    return default if value is None else int(value)


def config_from_hf(folder: Path, tekken: Path | None, delay_tokens: int | None) -> VoxtralConfig:
    """From config.json. Raises FormatError, UnsupportedError."""
    path = folder / "config.json"
    config = read_json(path)
    if config.get("model_type") != "voxtral_realtime":
        raise UnsupportedError(f"{path}: model_type is {config.get('model_type')!r}; 'voxtral_realtime' is implemented")
    text, audio = config.get("text_config"), config.get("audio_config")
    if not isinstance(text, dict) or not isinstance(audio, dict):
        raise FormatError(f"{path}: text_config or audio_config is missing")
    try:
        encoder, decoder = _hf_transformer(audio, 750), _hf_transformer(text, 8192)
        return VoxtralConfig(
            encoder,
            decoder,
            vocab=text["vocab_size"],
            mels=audio.get("num_mel_bins", 128),
            downsample=config.get("downsample_factor", 4),
            rope_halves=True,
            **_stream(tekken, delay_tokens, config.get("default_num_delay_tokens", 6)),
        )
    except (KeyError, TypeError) as error:
        raise FormatError(f"{path}: not the configuration of a Voxtral Realtime: {error!r}") from error


def _hf_transformer(config: dict[str, Any], window: int) -> TransformerConfig:
    heads = config["num_attention_heads"]
    rope = config.get("rope_parameters") or {}
    kind = rope.get("rope_type", "default")
    if kind != "default":
        raise UnsupportedError(f"rope_type {kind!r} is not implemented")
    return TransformerConfig(
        config["hidden_size"],
        config["num_hidden_layers"],
        heads,
        config.get("num_key_value_heads") or heads,
        config.get("head_dim") or config["hidden_size"] // heads,
        config["intermediate_size"],
        _window(config.get("sliding_window"), window),
        float(rope.get("rope_theta", config.get("rope_theta", 1e6))),
        float(config.get("rms_norm_eps", 1e-5)),
    )
