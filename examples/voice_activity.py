#!/usr/bin/env python3
"""Voice activity with Silero VAD: a streaming model whose state lives in the program.

    pip install --no-deps silero-vad                    # the model: 1.2 MB of weights (MIT)
    python examples/voice_activity.py export            # needs torch and safetensors; writes build/vad/silero.pte
    python examples/voice_activity.py detect FILE.wav   # needs neither: prints where somebody speaks

The module below is the network of the package in plain PyTorch. Its state is in buffers that `forward` changes: the
LSTM cell's two vectors, and the last 64 samples. So the exported program keeps it between calls, and `Program.reset()`
makes it zero again.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

ROOT = Path(__file__).resolve().parents[1]
RATE, CHUNK, CONTEXT, WIDTH = 16000, 512, 64, 128
"""Samples a second, samples of a call, samples of the call before it that come first, width of the state."""


def weights_file() -> Path:
    """Raises ModuleNotFoundError when the package is not installed."""
    found = importlib.util.find_spec("silero_vad")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("pip install --no-deps silero-vad", name="silero_vad")
    return Path(found.origin).parent / "data" / "silero_vad_16k.safetensors"


# ---------------------------------------------------------------------------------------------------- with torch


def detector(weights: Path) -> torch.nn.Module:
    """samples float32 [1, 512] at 16 kHz -> the probability of speech, float32 [1, 1]; changes its buffers."""
    import torch
    from safetensors.torch import load_file
    from torch import nn

    class Detector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stft_conv = nn.Conv1d(1, 258, 256, stride=128, bias=False)
            self.conv1 = nn.Conv1d(129, 128, 3, padding=1)
            self.conv2 = nn.Conv1d(128, 64, 3, stride=2, padding=1)
            self.conv3 = nn.Conv1d(64, 64, 3, stride=2, padding=1)
            self.conv4 = nn.Conv1d(64, 128, 3, padding=1)
            self.lstm_cell = nn.LSTMCell(WIDTH, WIDTH)
            self.final_conv = nn.Conv1d(WIDTH, 1, 1)
            for name, size in (("context", CONTEXT), ("hidden", WIDTH), ("cell", WIDTH)):
                self.register_buffer(name, torch.zeros(1, size), persistent=False)

        def forward(self, samples: torch.Tensor) -> torch.Tensor:
            heard = torch.cat([self.context, samples], 1)
            self.context.copy_(heard[:, -CONTEXT:])
            spectrum = self.stft_conv(nn.functional.pad(heard, (0, 64), "reflect").unsqueeze(1))
            x = (spectrum[:, :129] ** 2 + spectrum[:, 129:] ** 2).sqrt()
            for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
                x = layer(x).relu()
            hidden, cell = self.lstm_cell(x.squeeze(-1), (self.hidden, self.cell))
            self.hidden.copy_(hidden)
            self.cell.copy_(cell)
            return torch.sigmoid(self.final_conv(hidden.relu().unsqueeze(-1))).mean(2)

    model = Detector().eval()
    model.load_state_dict(load_file(weights))
    return model.requires_grad_(False)


def export(model: torch.nn.Module, path: Path) -> None:
    import torch

    from executorch_ggml import to_edge_rewrite_and_lower

    program = torch.export.export(model, (torch.zeros(1, CHUNK),))
    lowered = to_edge_rewrite_and_lower(program)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(lowered.to_executorch().buffer)


# ------------------------------------------------------------------------------------------------- without torch


class VoiceActivity:
    """Probabilities of speech, 32 ms at a time. threads: 0 = physical cores."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        from executorch_ggml import Program

        self.program = Program(path, threads=threads)

    def probabilities(self, samples: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """float32 [n] of samples in -1 .. 1 at 16 kHz, which begin a recording; the last chunk is filled with zeros."""
        self.program.reset()
        padded = np.pad(samples.astype(np.float32), (0, -len(samples) % CHUNK)).reshape(-1, 1, CHUNK)
        return np.array([self.program(chunk)[0].item() for chunk in padded], np.float32)

    def segments(
        self, samples: np.ndarray[Any, Any], threshold: float = 0.5, pause: float = 0.1
    ) -> Iterator[tuple[float, float]]:
        """(begin, end) in seconds of what is speech, joined over pauses of up to ``pause`` seconds."""
        begin = end = None
        for index, probability in enumerate(self.probabilities(samples)):
            at = index * CHUNK / RATE
            if probability >= threshold:
                begin, end = at if begin is None else begin, at + CHUNK / RATE
            elif begin is not None and end is not None and at - end >= pause:
                yield begin, end
                begin = end = None
        if begin is not None and end is not None:
            yield begin, end


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pte", type=Path, default=ROOT / "build" / "vad" / "silero.pte")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("export", help="write the .pte")
    detect = commands.add_parser("detect", help="where somebody speaks")
    detect.add_argument("file", type=Path)
    options = parser.parse_args()
    if options.command == "export":
        export(detector(weights_file()), options.pte)
        print(f"{options.pte.stat().st_size:,} bytes: {options.pte}")
        return 0
    from executorch_ggml.speech.audio import load_audio

    samples = load_audio(options.file, RATE)
    for begin, end in VoiceActivity(options.pte).segments(samples):
        print(f"{begin:8.2f} {end:8.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
