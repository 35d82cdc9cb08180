"""Every method of tiny Parakeet and Voxtral models, at three lengths each, and their states from call to call."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from speech_models import TINY_PARAKEET, tiny_parakeet

from benchmarks.cuda.case_file import Bound, Case, Run
from benchmarks.cuda.torch_case import call
from executorch_ggml.speech.parakeet.export import export_parakeet
from executorch_ggml.speech.voxtral.config import TransformerConfig, VoxtralConfig
from executorch_ggml.speech.voxtral.export import export_voxtral
from executorch_ggml.speech.voxtral.model import VoxtralRealtime

BOUNDS = {"F32": 1e-8, "BF16": 1e-3, "Q8_0": 3e-3}
"""Normalised squared error that the storage of the weights may cost."""

HALF_CACHE = 1e-5
"""What F16 keys and values cost beside F32 weights."""

# Heads as large as the real ones, so that the same kernels run.
TINY_VOXTRAL = VoxtralConfig(
    encoder=TransformerConfig(64, 2, 2, 2, 64, 128, 24),
    decoder=TransformerConfig(128, 2, 4, 2, 128, 256, 48),
    vocab=320,
    condition_width=8,
    mels=32,
    delay_tokens=2,
    left_pad_tokens=4,
)
TOKENS, ROWS = 16, 64

# The window is far shorter than what is heard: caches slide.
PIECES = [1, 3, 16, 2, 16, 1, 16, 11, 5]


class _Calls:
    """Calls of one program in order, with what eager gives for them."""

    def __init__(self, model: Any, bound: float) -> None:
        self.model, self.bound, self.runs = model, bound, list[Run]()

    def add(self, method: str, *inputs: torch.Tensor, bound: float | None = None) -> Any:
        want = getattr(self.model, method)(*inputs)
        wants: Sequence[torch.Tensor] = want if isinstance(want, tuple) else (want,)
        bounds = [Bound("nmse", bound or self.bound) if w.is_floating_point() else Bound("equal") for w in wants]
        run = call(inputs, wants, bounds)
        run.method = method
        self.runs.append(run)
        return want


def random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def ids(first: int, count: int) -> torch.Tensor:
    return torch.arange(first, first + count)


@torch.no_grad()
def cases() -> Iterator[Case]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pte"
        for dtype, bound in BOUNDS.items():
            export_parakeet(tiny_parakeet(), path, dtype=dtype)
            for name, runs in _parakeet(bound, dtype == "F32"):
                yield Case(f"parakeet {dtype} {name}", path.read_bytes(), runs)
            export_voxtral(voxtral(), path, dtype=dtype, streaming=True)
            program = path.read_bytes()
            for cache, least in (("f32", 0.0), ("f16", HALF_CACHE)) if dtype == "F32" else (("f16", 0.0),):
                for name, runs in _voxtral(max(bound, least)):
                    yield Case(f"voxtral {dtype} {name}, cache {cache}", program, runs, cache)


def voxtral() -> VoxtralRealtime:
    """Weights spread so that neither attention nor the feed-forward is lost beside the residual."""
    model = VoxtralRealtime.random(TINY_VOXTRAL, TOKENS, ROWS, seed=2)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.copy_(random(*parameter.shape, seed=parameter.numel()) * parameter[0].numel() ** -0.5)
    return model


def _parakeet(bound: float, exact: bool) -> Iterator[tuple[str, list[Run]]]:
    config = TINY_PARAKEET
    for length in (2, 157, 511):
        calls = _Calls(tiny_parakeet(), 1e-8)  # the spectrum is exact whatever the weights are stored in
        calls.add("log_mel", random(1, config.hop * length + config.window - config.hop, seed=length))
        yield f"log_mel {length}", calls.runs
    for length in (9, 16, 157, 511):
        calls = _Calls(tiny_parakeet(), bound)
        calls.add("encoder", random(1, length, config.mels, seed=length))
        yield f"encoder {length}", calls.runs
    calls = _Calls(tiny_parakeet(), bound)
    predicted = [calls.add("predictor", torch.tensor([[token]])) for token in (config.blank, 3, 3, 0, 17, 5, 9)]
    yield "predictor", calls.runs
    # Rounded weights may tip the scales between two tokens.
    for length in (1, 7, 32) if exact else ():
        calls = _Calls(tiny_parakeet(), bound)
        calls.add("joint", random(1, length, config.joint_width, seed=length), predicted[1])
        yield f"joint {length}", calls.runs


def _voxtral(bound: float) -> Iterator[tuple[str, list[Run]]]:
    config, each = TINY_VOXTRAL, TINY_VOXTRAL.downsample
    for length in (2, 7, 128):
        calls = _Calls(voxtral(), 1e-8)
        calls.add("log_mel", 0.1 * random(1, config.hop * length + config.window - config.hop, seed=length))
        yield f"log_mel {length}", calls.runs
    for length in (1, 7, TOKENS):
        calls = _Calls(voxtral(), bound)
        rows = ids(0, each * length)
        calls.add("encoder", random(1, config.mels, 2 * each * length, seed=length), rows, rows)
        yield f"encoder {length}", calls.runs
    calls = _Calls(voxtral(), bound)
    at = row = 0
    for piece in PIECES * 3:
        if row + each * piece > calls.model.encoder_rows:
            _compact(calls, "encoder", row, config.encoder.window)
            row = config.encoder.window
        mel = random(1, config.mels, 2 * each * piece, seed=at)
        calls.add("encoder", mel, ids(each * at, each * piece), ids(row, each * piece))
        at, row = at + piece, row + each * piece
    yield "encoder in pieces", calls.runs
    for length in (1, 7, TOKENS):
        calls = _Calls(voxtral(), bound)
        _decode(calls, 0, 0, length)
        yield f"decoder {length}", calls.runs
    calls = _Calls(voxtral(), bound)
    _decode(calls, 0, 0, 7)
    at = row = 7
    for _ in range(80):
        if row == ROWS:
            _compact(calls, "decoder", row, config.decoder.window)
            row = config.decoder.window
        _decode(calls, at, row, 1)
        at, row = at + 1, row + 1
    yield "decoder, token by token", calls.runs


def _decode(calls: _Calls, at: int, row: int, count: int) -> None:
    tokens = torch.randint(0, TINY_VOXTRAL.vocab, (1, count), generator=torch.Generator().manual_seed(at))
    audio = random(1, count, TINY_VOXTRAL.decoder.width, seed=at)
    calls.add("decoder", audio, tokens, ids(at, count), ids(row, count))


def _compact(calls: _Calls, name: str, row: int, window: int) -> None:
    """Its result means nothing; what it does shows in the calls behind it."""
    from executorch_ggml.speech.voxtral.model import Compaction

    keep = ids(row - window, window)
    moved = Compaction(name, getattr(calls.model, name))(keep)
    calls.runs.append(Run([keep.numpy()], [moved.numpy()], [Bound("absolute", 100.0)], method=f"compact_{name}"))
