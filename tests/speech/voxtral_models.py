"""A tiny Voxtral Realtime of the library's own, as the checkpoint it would be published in, and a plain decoder."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

LEFT, DELAY = 4, 2
VOCAB = 320
SPECIAL = 40

WINDOW, DECODER_WINDOW = 12, 24
"""Both are far shorter than the recordings of the tests: caches slide."""


def hf_model() -> Any:
    from transformers import VoxtralRealtimeConfig, VoxtralRealtimeForConditionalGeneration

    rope = {"rope_type": "default", "rope_theta": 1e6}
    config = VoxtralRealtimeConfig(
        text_config={
            "model_type": "voxtral_realtime_text", "vocab_size": VOCAB, "hidden_size": 64, "intermediate_size": 96,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32,
            "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "sliding_window": DECODER_WINDOW,
            "tie_word_embeddings": True, "rope_parameters": rope,
        },
        audio_config={
            "model_type": "voxtral_realtime_encoder", "hidden_size": 32, "intermediate_size": 64,
            "num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 16, "num_mel_bins": 32,
            "max_position_embeddings": 512, "sliding_window": WINDOW, "rope_parameters": rope,
        },
        default_num_delay_tokens=DELAY,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(2)
        model = VoxtralRealtimeForConditionalGeneration(config).eval()
        with torch.no_grad():
            for name, p in model.named_parameters():
                # Fresh weights of 0.02 make the same of everything: spread them until the audio shows in the text.
                if p.dim() == 1:
                    p.copy_(0.1 * torch.randn_like(p) + (0.0 if name.endswith("bias") else 1.0))
                elif "conv" in name:
                    p.copy_(torch.randn_like(p) * 2.0 * (p.shape[1] * p.shape[2]) ** -0.5)
                else:
                    p.copy_(torch.randn_like(p) * p.shape[-1] ** -0.5)
            model.model.multi_modal_projector.linear_2.weight *= 4.0
            model.model.language_model.embed_tokens.weight *= 2.0
    return model


def write_tekken(path: Path) -> None:
    """A tokenizer of bytes, and of some pairs of them to fill the table."""
    merges = [bytes([i]) for i in range(256)] + [b" " + bytes([97 + i]) for i in range(VOCAB - SPECIAL - 256)]
    special = ["<unk>", "<s>", "</s>", *(f"<C{i}>" for i in range(3, 32)), "[STREAMING_PAD]"]
    value = {
        "config": {"pattern": ".", "num_vocab_tokens": len(merges), "default_vocab_size": VOCAB,
                   "default_num_special_tokens": SPECIAL, "version": "v13"},
        "vocab": [{"rank": i, "token_bytes": base64.b64encode(b).decode(), "token_str": None}
                  for i, b in enumerate(merges)],
        "special_tokens": [{"rank": i, "token_str": s, "is_control": True} for i, s in enumerate(special)],
        "audio": {"sampling_rate": 16000, "frame_rate": 12.5, "transcription_format": "streaming",
                  "audio_encoding_config": {"num_mel_bins": 32, "hop_length": 160, "window_size": 400},
                  "transcription_delay_ms": 80.0 * DELAY, "streaming_look_ahead_ms": 2.5,
                  "streaming_look_back_ms": 52.5, "streaming_n_left_pad_tokens": LEFT},
    }  # fmt: skip
    path.write_text(json.dumps(value))


def write_hf(model: Any, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    model.save_pretrained(folder)
    write_tekken(folder / "tekken.json")
    return folder


_MM = "mm_streams_embeddings.embedding_module."
_TO_MISTRAL = (
    (r"^model\.audio_tower\.embedder\.conv1\.", f"{_MM}whisper_encoder.conv_layers.0.conv."),
    (r"^model\.audio_tower\.embedder\.conv2\.", f"{_MM}whisper_encoder.conv_layers.1.conv."),
    (r"^model\.audio_tower\.", f"{_MM}whisper_encoder.transformer."),
    (r"^model\.multi_modal_projector\.linear_1\.", f"{_MM}audio_language_projection.0."),
    (r"^model\.multi_modal_projector\.linear_2\.", f"{_MM}audio_language_projection.2."),
    (r"^model\.language_model\.embed_tokens\.", f"{_MM}tok_embeddings."),
    (r"^model\.language_model\.", ""),
    (r"\.self_attn\.([qkvo])_proj\.", r".attention.w\1."),
    (r"\.(self_attn_layer_norm|input_layernorm)\.", ".attention_norm."),
    (r"\.(final_layer_norm|post_attention_layernorm)\.", ".ffn_norm."),
    (r"\.mlp\.gate_proj\.", ".feed_forward.w1."),
    (r"\.mlp\.down_proj\.", ".feed_forward.w2."),
    (r"\.mlp\.up_proj\.", ".feed_forward.w3."),
    (r"\.ada_rms_norm\.linear1\.", ".ada_rms_norm_t_cond.0."),
    (r"\.ada_rms_norm\.linear2\.", ".ada_rms_norm_t_cond.2."),
)


def write_mistral(model: Any, folder: Path) -> Path:
    """The same model in Mistral's layout, whose rotary embeddings turn neighbours instead of halves."""
    from safetensors.torch import save_file

    folder.mkdir(exist_ok=True)
    state = {}
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        part = re.search(r"\.([qk])_proj\.", name)
        if part:
            size = 16 if "audio_tower" in name else 32
            heads = tensor.shape[0] // size
            # Rows (half, pair) of each head become (pair, half).
            tensor = tensor.reshape(heads, 2, size // 2, -1).transpose(1, 2).reshape(tensor.shape)
        for pattern, replacement in _TO_MISTRAL:
            name = re.sub(pattern, replacement, name)
        state[name] = tensor.contiguous().clone()
    save_file(state, folder / "consolidated.safetensors")
    params = {
        "dim": 64, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "head_dim": 32, "hidden_dim": 96, "vocab_size": VOCAB,
        "rope_theta": 1e6, "norm_eps": 1e-5, "ada_rms_norm_t_cond_dim": 32, "sliding_window": DECODER_WINDOW,
        "multimodal": {"whisper_model_args": {
            "encoder_args": {"dim": 32, "n_layers": 2, "n_heads": 4, "head_dim": 16, "hidden_dim": 64,
                             "rope_theta": 1e6, "norm_eps": 1e-5, "sliding_window": WINDOW,
                             "audio_encoding_args": {"num_mel_bins": 32}},
            "downsample_args": {"downsample_factor": 4}}},
    }  # fmt: skip
    (folder / "params.json").write_text(json.dumps(params))
    write_tekken(folder / "tekken.json")
    return folder


def padded(samples: Any) -> torch.Tensor:
    """A recording as the model is given it: silence before and after."""
    token = 1280
    after = -len(samples) % token + (DELAY + 11) * token
    return torch.tensor(np.concatenate((np.zeros(LEFT * token, np.float32), samples, np.zeros(after, np.float32))))


@torch.no_grad()
def hf_steps(model: Any, samples: Any) -> list[int]:
    """Greedy tokens by the library's model, which sees everything anew at every step: no caches, no pieces."""
    from transformers import VoxtralRealtimeFeatureExtractor

    extract = VoxtralRealtimeFeatureExtractor(feature_size=32)
    mel = extract(padded(samples), sampling_rate=16000, return_tensors="pt").input_features
    audio = model.get_audio_features(input_features=mel, use_cache=False).pooler_output
    inner = model.model
    condition = inner.time_embedding(torch.full((1,), float(DELAY)))[None]
    tokens = [1] + [32] * (LEFT + DELAY)
    prompt = len(tokens)
    while len(tokens) <= audio.shape[1]:
        embedded = inner.language_model.embed_tokens(torch.tensor([tokens])) + audio[:, : len(tokens)]
        out = inner.language_model(inputs_embeds=embedded, t_cond=condition, use_cache=False).last_hidden_state
        tokens.append(int(model.lm_head(out[:, -1]).argmax()))
        if tokens[-1] == 2:
            break
    return tokens[prompt:]
