#!/usr/bin/env python3
"""Latency on the CPU: ours (F32, F16 and Q8_0 weights), eager torch, frozen torch.jit and XNNPACK, interleaved.

    python benchmarks/cpu_models.py [--models NAME ...] [--threads 1 2] [--rounds 7]

Batch 1. Every contender's result is compared with eager before its time counts (NMSE; F32 within 1e-8, other weights
within 1e-2). A round calls one contender after the other, each for about 0.3 s; the table gives medians over the rounds
in milliseconds, and ours over the fastest peer as the median of the rounds' ratios with its spread. Each number of
threads has a process of its own, confined to as many processors.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.zoo_measure import compare, outputs
from benchmarks.zoo_models.model import randomise
from benchmarks.zoo_time import limit, once, xnnpack

Example = tuple[torch.nn.Module, tuple[torch.Tensor, ...]]
OURS = ("ggml", "ggml F16", "ggml Q8_0")
PEERS = ("eager", "jit", "XNNPACK")
LIMITS = {"ggml F16": 1e-2, "ggml Q8_0": 1e-2}
F32_LIMIT = 1e-8


def _vision(name: str, **options: Any) -> Example:
    from benchmarks.zoo_models.torchvision_import import torchvision

    torchvision()
    import torchvision.models as models

    torch.manual_seed(0)
    module = getattr(models, name)(**options).eval()
    randomise(module)
    return module, (torch.randn(1, 3, 224, 224),)


def _minilm(tokens: int) -> Example:
    from examples.semantic_search import model_directory, sentence_encoder

    torch.manual_seed(0)
    ids = torch.randint(1000, 30000, (1, tokens))
    return sentence_encoder(model_directory()).eval(), (ids, torch.ones_like(ids))


MODELS: dict[str, Callable[[], Example]] = {
    "MobileNetV2": lambda: _vision("mobilenet_v2", weights=None),
    "ResNet18": lambda: _vision("resnet18", weights=None),
    "ViT-tiny": lambda: _vision(
        "VisionTransformer", image_size=224, patch_size=16, num_layers=12, num_heads=3, hidden_dim=192, mlp_dim=768
    ),
    "ViT-B/16": lambda: _vision("vit_b_16", weights=None),
    "MiniLM, 64 tokens": lambda: _minilm(64),
    "MiniLM, 128 tokens": lambda: _minilm(128),
}


def _ours(module: torch.nn.Module, x: tuple[torch.Tensor, ...], kind: str, path: Path) -> None:
    from executorch_ggml import GgmlQuantConfig, to_edge_rewrite_and_lower

    quant = GgmlQuantConfig(kind) if kind else None
    program = torch.export.export(module, x, strict=False)
    path.write_bytes(to_edge_rewrite_and_lower(program, quant=quant).to_executorch().buffer)


def _frozen(module: torch.nn.Module, x: tuple[torch.Tensor, ...]) -> Callable[[], Any]:
    traced = torch.jit.trace(module, x, check_trace=False, strict=False)
    frozen = torch.jit.optimize_for_inference(torch.jit.freeze(traced))
    for _ in range(3):  # the executor profiles, then compiles
        frozen(*x)
    return lambda: frozen(*x)


def contest(name: str, threads: int, rounds: int) -> dict[str, Any]:
    """``{contender: {"ms": [per round], "nmse": ...} or {"failed": message}}`` of one model."""
    from executorch_ggml import Program

    torch.set_num_threads(threads)
    module, x = MODELS[name]()
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    result: dict[str, Any] = {}
    calls: dict[str, Callable[[], Any]] = {}
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        want = outputs(module(*x))

        def enter(contender: str, make: Callable[[], Callable[[], Any]]) -> None:
            try:
                call = make()
                nmse = compare(outputs(call()), want).nmse
            except Exception as error:  # what a contender cannot do is a result, too
                result[contender] = {"failed": f"{type(error).__name__}: {str(error).splitlines()[0][:100]}"}
                return
            bound = LIMITS.get(contender, F32_LIMIT)
            if not nmse <= bound:
                result[contender] = {"failed": f"NMSE {nmse:.1e} is over {bound:.0e}"}
                return
            result[contender] = {"ms": [], "nmse": nmse}
            calls[contender] = call

        def ours(kind: str) -> Callable[[], Any]:
            path = Path(folder) / f"ggml{kind}.pte"
            _ours(module, x, kind, path)
            program = Program(path, threads=threads)
            return lambda: program(*x)

        def peer() -> Callable[[], Any]:
            method = xnnpack(torch.export.export(module, x, strict=False), Path(folder) / "xnnpack.pte")
            return lambda: method.execute(list(x))

        enter("ggml", lambda: ours(""))
        enter("ggml F16", lambda: ours("F16"))
        enter("ggml Q8_0", lambda: ours("Q8_0"))
        enter("eager", lambda: lambda: module(*x))
        enter("jit", lambda: _frozen(module, x))
        enter("XNNPACK", peer)
        for _ in range(rounds):
            for contender, call in calls.items():
                result[contender]["ms"].append(once(call))
    return result


def _ratio(result: dict[str, Any], contender: str) -> str:
    """Time of the fastest peer over ours, round by round: above 1 is ahead."""
    ours = result[contender].get("ms")
    peers = [result[p]["ms"] for p in PEERS if "ms" in result[p]]
    if not ours or not peers:
        return "-"
    ratios = [min(p[i] for p in peers) / t for i, t in enumerate(ours)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}..{max(ratios):.2f})"


def _cell(entry: dict[str, Any]) -> str:
    return f"{statistics.median(entry['ms']):.2f}" if "ms" in entry else entry["failed"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS), metavar="NAME")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        warnings.simplefilter("ignore")
        limit(options.threads[0])
        print("RESULT " + json.dumps(contest(options.models[0], options.threads[0], options.rounds)))
        return 0
    columns = ["model", "threads", *OURS, *PEERS, "fastest peer / ggml", "/ F16", "/ Q8_0", "NMSE"]
    print("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns), flush=True)
    failed = False
    for name in options.models:
        for threads in options.threads:
            command = [sys.executable, __file__, "--one", "--models", name, "--threads", str(threads)]
            done = subprocess.run(
                [*command, "--rounds", str(options.rounds)], capture_output=True, text=True, check=False
            )
            found = [line.removeprefix("RESULT ") for line in done.stdout.splitlines() if line.startswith("RESULT ")]
            if done.returncode or not found:
                failed = True
                print(f"| {name} | {threads} | exit {done.returncode}: {done.stderr.strip()[-300:]} |", flush=True)
                continue
            result = json.loads(found[0])
            failed |= any("ms" not in result[c] for c in OURS)
            cells = [_cell(result[c]) for c in (*OURS, *PEERS)]
            errors = " / ".join(f"{result[c]['nmse']:.0e}" if "nmse" in result[c] else "-" for c in OURS)
            print(
                "| " + " | ".join([name, str(threads), *cells, *(_ratio(result, c) for c in OURS), errors]) + " |",
                flush=True,
            )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
