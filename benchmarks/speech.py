"""Speed of the speech models at their real size, with random weights, beside eager torch in the same run.

    python benchmarks/speech.py parakeet --dtypes BF16 Q8_0 [--device cuda] [--folder /tmp/speech]
    python benchmarks/speech.py voxtral --dtypes Q8_0 [--device cuda] [--eager-dtype bfloat16]

Exports what is not in the folder yet (minutes; `--export-only` does nothing else), writes random weights (seconds),
then times, interleaved, medians of `--rounds`: seconds of the encoder for a second of audio, milliseconds of the
decoder for a token. Real-time factor: both together at the rate that tokens come (one in 0.08 s for Voxtral; four a
second are assumed for Parakeet). `whole loop` is the transcriber itself on `--loop` seconds of noise: log-mel, encoder,
every token, and all that Python does in between.

Eager is float32 (or --eager-dtype) on the same device where torch has it, else on the CPU. Nothing here says what a
transcript is worth: weights are random.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import speech_eager, speech_files
from executorch_ggml import Program

Options = argparse.Namespace
Timing = dict[str, Callable[[], object]]
"""What to time of the encoder and of the decoder."""

Key = TypeVar("Key")


def medians(timings: Mapping[Key, Callable[[], object]], rounds: int, repeat: int) -> dict[Key, float]:
    """Seconds of each, one after the other in each round, after one round that does not count."""
    found: dict[Key, list[float]] = {name: [] for name in timings}
    for i in range(rounds + 1):
        for name, call in timings.items():
            start = time.perf_counter()
            for _ in range(repeat):
                call()
            if i:
                found[name].append((time.perf_counter() - start) / repeat)
    return {name: statistics.median(values) for name, values in found.items()}


class Parakeet:
    """20 s of audio in a call; a token is a step of the prediction network and the joint over 8 frames."""

    name, tokens_a_second = "parakeet", 4.0

    def __init__(self, options: Options) -> None:
        rng = np.random.default_rng(0)
        self.seconds = options.seconds
        self.features = rng.standard_normal((1, round(100 * self.seconds), 128), dtype=np.float32)
        self.predicted = rng.standard_normal((1, 1, 640), dtype=np.float32)
        self.ahead = rng.standard_normal((1, 8, 640), dtype=np.float32)
        self.token = np.array([[7]])

    def ours(self, program: Program) -> Timing:
        return {
            "encoder": lambda: program.execute("encoder", [self.features]),
            "decoder": lambda: (
                program.execute("predictor", [self.token]),
                program.execute("joint", [self.ahead, self.predicted]),
            ),
        }

    def eager(self, device: Any, dtype: Any) -> Timing:
        import torch

        model = speech_eager.parakeet(device, dtype)
        x, f, p = (torch.tensor(a).to(device, dtype) for a in (self.features, self.ahead, self.predicted))
        token = torch.tensor(self.token, device=device)
        return {
            "encoder": lambda: model.encoder(x),
            "decoder": lambda: (model.predictor(token), [ids.tolist() for ids in model.joint(f, p)]),
        }

    @staticmethod
    def loop(pte: Path, gguf: Path, audio: Any, options: Options) -> Iterator[tuple[str, float, int]]:
        from executorch_ggml.speech.parakeet.transcribe import ParakeetTranscriber

        with ParakeetTranscriber(pte, gguf, device=options.device, threads=options.threads) as model:
            for _ in range(2):  # the second finds its graphs made
                result = model.transcribe([audio])
            yield "whole loop", result.real_time_factor, len(result.tokens)


class Voxtral:
    """2.56 s of audio in a call; a token behind 512 positions of the cache."""

    name, tokens_a_second = "voxtral", 12.5

    def __init__(self, options: Options) -> None:
        rng = np.random.default_rng(0)
        self.seconds, self.depth = 0.08 * options.step, options.depth
        self.mel = rng.standard_normal((1, 128, 8 * options.step), dtype=np.float32)
        self.where = np.arange(4 * options.step)
        self.audio, self.token = rng.standard_normal((1, 1, 3072), dtype=np.float32), np.array([[7]])
        self.at = np.array([self.depth])

    def ours(self, program: Program) -> Timing:
        return {
            "encoder": lambda: program.execute("encoder", [self.mel, self.where, self.where]),
            "decoder": lambda: program.execute("decoder", [self.audio, self.token, self.at, self.at])[0].argmax(),
        }

    def eager(self, device: Any, dtype: Any) -> Timing:
        import torch

        model = speech_eager.voxtral(speech_files.ROWS, self.depth, device, dtype)
        mel, audio = (torch.tensor(x).to(device, dtype) for x in (self.mel, self.audio))
        where, token, at = (torch.tensor(x, device=device) for x in (self.where, self.token, self.at))
        return {
            "encoder": lambda: model.encoder(mel, where, where),
            "decoder": lambda: model.decoder(audio, token, at, at).argmax().item(),
        }

    @staticmethod
    def loop(pte: Path, gguf: Path, audio: Any, options: Options) -> Iterator[tuple[str, float, int]]:
        from executorch_ggml.speech.voxtral.transcribe import VoxtralTranscriber

        for name, step in (("whole loop", None), ("whole loop, streaming", 0.08)):
            with VoxtralTranscriber(
                pte, gguf, step_seconds=step, device=options.device, threads=options.threads
            ) as model:
                for _ in range(2):
                    start = time.perf_counter()
                    count = sum(1 for _ in model.steps([audio]))
                    seconds = time.perf_counter() - start
                yield name, seconds * 16000 / len(audio), count


def measure(model: Parakeet | Voxtral, options: Options) -> None:
    eager = {} if options.no_eager or options.export_only else _eager(model, options)
    rows: list[tuple[str, float, float]] = []
    for dtype in options.dtypes:
        pte, gguf = speech_files.prepare(model.name, dtype, options.folder, options.weights or options.folder)
        if options.export_only:
            continue
        with Program(pte, gguf, threads=options.threads, device=options.device, max_plans=4) as program:
            timings = {f"ggml {dtype}": model.ours(program), **eager}
            found = medians(
                {(name, part): call for name, parts in timings.items() for part, call in parts.items()},
                options.rounds,
                options.repeat,
            )
        rows += [(name, found[name, "encoder"] / model.seconds, found[name, "decoder"]) for name in timings]
        if options.loop:
            noise = (0.1 * np.random.default_rng(1).standard_normal(round(16000 * options.loop))).astype(np.float32)
            for name, factor, tokens in model.loop(pte, gguf, noise, options):
                print(
                    f"{model.name} {dtype}, {name}: {options.loop:g} s, {tokens} tokens, factor {factor:.5f}",
                    flush=True,
                )
        if not options.keep:
            gguf.unlink()
    if rows:
        report(model, options, rows)


def _eager(model: Parakeet | Voxtral, options: Options) -> dict[str, Timing]:
    import torch

    torch.set_num_threads(options.threads or torch.get_num_threads())
    device = speech_eager.device_of(options.device)
    timings = model.eager(device, getattr(torch, options.eager_dtype))
    name = f"eager {options.eager_dtype} on {device.type}"
    return {name: {part: speech_eager.synced(call, device) for part, call in timings.items()}}


def report(model: Parakeet | Voxtral, options: Options, rows: list[tuple[str, float, float]]) -> None:
    threads = options.threads or "all"
    print(f"\n{model.name}, {options.device}, {threads} threads, {options.rounds} rounds of {options.repeat}\n")
    print("| | encoder, s per s of audio | decoder, ms per token | tokens per s | real-time factor |")
    print("|---|---|---|---|---|")
    for name, encoder, decoder in rows:
        factor = encoder + model.tokens_a_second * decoder
        print(f"| {name} | {encoder:.5f} | {1000 * decoder:.3f} | {1 / decoder:.1f} | {factor:.5f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of the speech models at real size")
    parser.add_argument("model", choices=["parakeet", "voxtral"])
    parser.add_argument("--dtypes", nargs="+", default=["Q8_0"], help="of the weights: F32, BF16, Q8_0, ...")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeat", type=int, default=1, help="calls in a round")
    parser.add_argument("--seconds", type=float, default=20.0, help="audio in a call of Parakeet's encoder")
    parser.add_argument("--step", type=int, default=32, help="tokens (0.08 s) of audio in a call of Voxtral's encoder")
    parser.add_argument("--depth", type=int, default=512, help="positions in the cache before Voxtral's token")
    parser.add_argument("--loop", type=float, default=0.0, help="seconds of audio for the whole loop; 0 for none")
    parser.add_argument("--eager-dtype", default="float32", help="float32, bfloat16, float16")
    parser.add_argument("--no-eager", action="store_true")
    parser.add_argument("--export-only", action="store_true", help="write what is missing and time nothing")
    parser.add_argument("--keep", action=argparse.BooleanOptionalAction, default=True, help="weights, when timed")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/speech"))
    parser.add_argument("--weights", type=Path, help="where weights go, if not into the folder")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    (options.weights or options.folder).mkdir(parents=True, exist_ok=True)
    measure(Parakeet(options) if options.model == "parakeet" else Voxtral(options), options)


if __name__ == "__main__":
    main()
