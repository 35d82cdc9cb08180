"""Speed of the speech models at their real size, with random weights, beside eager torch in the same run.

    python benchmarks/speech.py parakeet --dtype Q8_0 [--device cuda] [--folder /tmp/speech]
    python benchmarks/speech.py voxtral --dtype BF16 [--device cuda] [--eager-dtype bfloat16]

Exports what is not in the folder yet (minutes; `--export-only` does nothing else), then times, interleaved, medians
of `--rounds`: seconds of the encoder for a second of audio, milliseconds of the decoder for a token. Real-time factor:
both together at the rate that tokens come (one in 0.08 s for Voxtral; four a second are assumed for Parakeet).

Eager is float32 (or --eager-dtype) on the same device where torch has it, else on the CPU. Voxtral's eager layers share
the weights of one: as much arithmetic and, a layer being far larger than any cache, as much traffic as all of them,
without 18 GB of memory. Nothing here says what a transcript is worth: weights are random.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Timing = dict[str, Callable[[], object]]


def medians(timings: Timing, rounds: int) -> dict[str, float]:
    """Seconds of each, one after the other in each round, after one round that does not count."""
    found: dict[str, list[float]] = {name: [] for name in timings}
    for i in range(rounds + 1):
        for name, call in timings.items():
            start = time.perf_counter()
            call()
            if i:
                found[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in found.items()}


def eager_device(device: str) -> Any:
    import torch

    return torch.device("cuda" if device.startswith("cuda") and torch.cuda.is_available() else "cpu")


def synced(call: Callable[[], Any], device: Any) -> Callable[[], Any]:
    import torch

    def run() -> Any:
        with torch.inference_mode():
            result = call()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return result

    return run


def parakeet(options: argparse.Namespace) -> None:
    from executorch_ggml import Program
    from executorch_ggml.speech.parakeet.config import ParakeetConfig

    config, frames = ParakeetConfig(), round(100 * options.seconds)
    path = options.folder / f"parakeet-{options.dtype.lower()}.pte"
    if not path.exists():
        import torch

        from executorch_ggml.speech.parakeet.export import export_parakeet
        from executorch_ggml.speech.parakeet.model import Parakeet

        torch.set_num_threads(options.threads or 1)
        start = time.perf_counter()
        result = export_parakeet(Parakeet.random(config, 4096), path, dtype=options.dtype)
        print(f"export {time.perf_counter() - start:.0f} s, {result.bytes / 1e6:.0f} MB, nodes {dict(result.nodes)}")
    if options.export_only:
        return
    rng = np.random.default_rng(0)
    features = rng.standard_normal((1, frames, config.mels), dtype=np.float32)
    predicted = rng.standard_normal((1, 1, config.joint_width), dtype=np.float32)
    ahead = rng.standard_normal((1, 8, config.joint_width), dtype=np.float32)
    token = np.array([[7]])
    with Program(path, threads=options.threads, device=options.device, max_plans=4) as program:
        timings: Timing = {
            "encoder, ggml": lambda: program.execute("encoder", [features]),
            "decoder, ggml": lambda: (
                program.execute("predictor", [token]),
                program.execute("joint", [ahead, predicted]),
            ),
        }
        if not options.no_eager:
            import torch

            from executorch_ggml.speech.parakeet.model import Parakeet

            torch.set_num_threads(options.threads or 1)
            device, dtype = eager_device(options.device), getattr(torch, options.eager_dtype)
            model = Parakeet.random(config, 4096).to(device, dtype)
            x, f, p = (torch.tensor(a).to(device, dtype) for a in (features, ahead, predicted))
            t = torch.tensor(token, device=device)
            name = f"eager {options.eager_dtype} on {device.type}"
            timings[f"encoder, {name}"] = synced(lambda: model.encoder(x), device)
            timings[f"decoder, {name}"] = synced(lambda: (model.predictor(t), model.joint(f, p)), device)
        found = medians(timings, options.rounds)
    report(options, found, options.seconds, tokens_a_second=4.0)


def voxtral(options: argparse.Namespace) -> None:
    from executorch_ggml import Program
    from executorch_ggml.speech.voxtral.config import VoxtralConfig

    config, step, rows = VoxtralConfig(), options.step, 4096
    pte, gguf = options.folder / "voxtral.pte", options.folder / f"voxtral-{options.dtype.lower()}.gguf"
    if not (pte.exists() and gguf.exists()):
        from executorch_ggml.speech.sources import random_sources
        from executorch_ggml.speech.voxtral.export import export_voxtral, write_weights
        from executorch_ggml.speech.voxtral.model import VoxtralRealtime

        meta = VoxtralRealtime.meta(config, 64, rows)
        start = time.perf_counter()
        if not pte.exists():
            result = export_voxtral(meta, pte)
            print(
                f"export {time.perf_counter() - start:.0f} s, {result.bytes / 1e6:.2f} MB, nodes {dict(result.nodes)}"
            )
        start = time.perf_counter()
        size = write_weights(random_sources(meta), gguf, options.dtype)
        print(f"weights {time.perf_counter() - start:.0f} s, {size / 1e9:.2f} GB")
    if options.export_only:
        return
    rng = np.random.default_rng(0)
    width, depth = config.decoder.width, options.depth
    mel = rng.standard_normal((1, config.mels, config.mel_per_token * step), dtype=np.float32)
    where = np.arange(config.downsample * step)
    audio, token, at = rng.standard_normal((1, 1, width), dtype=np.float32), np.array([[7]]), np.array([depth])
    with Program(pte, gguf, threads=options.threads, device=options.device, max_plans=4) as program:
        timings: Timing = {
            "encoder, ggml": lambda: program.execute("encoder", [mel, where, where]),
            "decoder, ggml": lambda: program.execute("decoder", [audio, token, at, at]),
        }
        if not options.no_eager:
            import torch

            torch.set_num_threads(options.threads or 1)
            device, dtype = eager_device(options.device), getattr(torch, options.eager_dtype)
            model = eager_voxtral(config, rows, device, dtype)
            m, a = (torch.tensor(x).to(device, dtype) for x in (mel, audio))
            w, t, p = (torch.tensor(x, device=device) for x in (where, token, at))
            name = f"eager {options.eager_dtype} on {device.type}"
            timings[f"encoder, {name}"] = synced(lambda: model.encoder(m, w, w), device)
            timings[f"decoder, {name}"] = synced(lambda: model.decoder(a, t, p, p), device)
        found = medians(timings, options.rounds)
    report(options, found, step * 0.08, tokens_a_second=12.5)


def eager_voxtral(config: Any, rows: int, device: Any, dtype: Any) -> Any:
    """The model with the weights of one layer in all layers."""
    from dataclasses import replace

    from torch import nn

    from executorch_ggml.speech.voxtral.model import VoxtralRealtime

    one = replace(config, encoder=replace(config.encoder, layers=1), decoder=replace(config.decoder, layers=1))
    model = VoxtralRealtime.meta(one, 64, rows).to(dtype).to_empty(device=device)
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data.normal_(0.0, 0.02)
    for part, count in ((model.encoder, config.encoder.layers), (model.decoder, config.decoder.layers)):
        part.layers = nn.ModuleList([part.layers[0]] * count)
    return model


def report(options: argparse.Namespace, found: dict[str, float], seconds: float, tokens_a_second: float) -> None:
    threads = options.threads or "all"
    print(f"{options.model} {options.dtype}, {options.device}, {threads} threads, {options.rounds} rounds")
    print("| | encoder, s per s of audio | decoder, ms per token | tokens per s | real-time factor |")
    print("|---|---|---|---|---|")
    for name in [n.removeprefix("encoder, ") for n in found if n.startswith("encoder")]:
        encoder, decoder = found[f"encoder, {name}"] / seconds, found[f"decoder, {name}"]
        factor = encoder + tokens_a_second * decoder
        print(f"| {name} | {encoder:.4f} | {1000 * decoder:.2f} | {1 / decoder:.1f} | {factor:.4f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of the speech models at real size")
    parser.add_argument("model", choices=["parakeet", "voxtral"])
    parser.add_argument("--dtype", default="Q8_0", help="of the weights: F32, BF16, Q8_0, ...")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20.0, help="audio in a call of Parakeet's encoder")
    parser.add_argument("--step", type=int, default=32, help="tokens (0.08 s) of audio in a call of Voxtral's encoder")
    parser.add_argument("--depth", type=int, default=512, help="positions in the cache before Voxtral's token")
    parser.add_argument("--eager-dtype", default="float32", help="float32, bfloat16, float16")
    parser.add_argument("--no-eager", action="store_true")
    parser.add_argument("--export-only", action="store_true")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/speech"))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    {"parakeet": parakeet, "voxtral": voxtral}[options.model](options)


if __name__ == "__main__":
    main()
