"""Tiny speech models with fixed weights that have something to say, and references in plain torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from executorch_ggml.speech.parakeet.config import ParakeetConfig
from executorch_ggml.speech.parakeet.model import Parakeet

TINY_PARAKEET = ParakeetConfig(
    mels=32, width=64, layers=2, heads=4, feed_forward=128, subsampling_channels=8, vocab=33, predictor_width=32,
    predictor_layers=2, joint_width=32,
)  # fmt: skip
MAX_FRAMES = 512

PIECES = [f"{' ' if i % 3 == 0 else ''}{chr(97 + i % 26)}".encode() for i in range(32)]


def tiny_parakeet(max_frames: int = MAX_FRAMES, config: ParakeetConfig = TINY_PARAKEET) -> Parakeet:
    """Random weights, spread so that tokens, blanks and durations all occur."""
    model = Parakeet.random(config, max_frames, seed=1)
    noise = torch.randn(1, 512, TINY_PARAKEET.mels, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        # As they come, random weights make much the same of any audio: biases outweigh it.
        for name, parameter in model.encoder.subsampling.named_parameters():
            parameter *= 2.0 if name.endswith("weight") else 0.3
        frames = model.encoder(noise[:, :max_frames])[0]
        spread, projection = frames.std(0), model.encoder.joint
        projection.weight /= spread[:, None]
        projection.bias.copy_((projection.bias - frames.mean(0)) / spread)
        model.joint.head.weight *= 4.0
    return model


def speech_like(seconds: float, seed: int = 0, rate: int = 16000) -> npt.NDArray[np.float32]:
    """Tones that change every 0.1 to 0.3 s, some noise, and pauses: float32 [n]."""
    rng = np.random.default_rng(seed)
    parts: list[npt.NDArray[np.float64]] = []
    length = 0
    while length < seconds * rate:
        n = int(rng.uniform(0.1, 0.3) * rate)
        time = np.arange(n) / rate
        loud = rng.uniform(0.02, 0.3) * (rng.random() > 0.2)
        tones = sum(np.sin(2 * np.pi * f * time + rng.uniform(0, 6)) for f in rng.uniform(100, 4000, 3))
        parts.append(loud * tones / 3 * np.hanning(n) + 0.003 * rng.standard_normal(n))
        length += n
    return np.concatenate(parts)[: int(seconds * rate)].astype(np.float32)


@torch.no_grad()
def features_reference(model: Parakeet, samples: Any) -> torch.Tensor:
    """Normalised log-mel [1, T, mels] of a whole recording, from torch's own Fourier transform."""
    config, x = model.config, torch.as_tensor(samples)
    x = torch.cat((x[:1], x[1:] - config.preemphasis * x[:-1]))
    spectrum = torch.stft(
        x, config.n_fft, config.hop, config.window, torch.hann_window(config.window, periodic=False),
        pad_mode="constant", return_complex=True,
    )[:, : len(x) // config.hop]  # fmt: skip
    mel = torch.log(model.log_mel.filters @ spectrum.abs() ** 2 + 2.0**-24).T
    return ((mel - mel.mean(0)) / (mel.std(0) + 1e-5))[None]


@torch.no_grad()
def greedy_reference(model: Parakeet, features: torch.Tensor) -> list[tuple[int, int, int]]:
    """(token, frame, duration) of a TDT greedy search written as plainly as possible, one frame at a time."""
    config = model.config
    for cell in model.predictor.cells:
        cell.h.zero_()
        cell.c.zero_()
    frames = model.encoder(features)[0]
    result = []
    predicted = model.predictor(torch.tensor([[config.blank]]))[0, 0]
    time = symbols = 0
    while time < len(frames):
        logits = model.joint.head(torch.relu(frames[time] + predicted))
        token = int(logits[: config.vocab].argmax())
        duration = config.durations[int(logits[config.vocab :].argmax())]
        if token == config.blank:
            time, symbols = time + max(duration, 1), 0
            continue
        result.append((token, time, duration))
        predicted = model.predictor(torch.tensor([[token]]))[0, 0]
        symbols += 1
        if duration:
            time, symbols = time + duration, 0
        elif symbols >= config.max_symbols:
            time, symbols = time + 1, 0
    return result
