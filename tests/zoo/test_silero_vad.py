"""Silero VAD with its real weights, as `examples/voice_activity.py` exports and runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """(eager model, .pte)"""
    from examples import voice_activity

    try:
        weights = voice_activity.weights_file()
    except ModuleNotFoundError as error:
        pytest.skip(f"the model is not installed: {error}")
    model = voice_activity.detector(weights)
    path = tmp_path_factory.mktemp("vad") / "silero.pte"
    voice_activity.export(model, path)
    return model, path


def sounds() -> np.ndarray[Any, Any]:
    """Two seconds: silence, a buzzing vowel of three formants, noise."""
    rng = np.random.default_rng(0)
    t = np.arange(16000) / 16000
    glottis = sum(
        np.sin(2 * np.pi * 120 * h * t) * np.exp(-(((120 * h - f) / 90) ** 2))
        for h in range(1, 30)
        for f in (700, 1200, 2500)
    )
    vowel = 0.1 * glottis * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * t))
    return np.concatenate([np.zeros(8000), vowel, 0.01 * rng.standard_normal(8000)]).astype(np.float32)


def eager(model: Any, samples: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    import torch

    for buffer in model.buffers():
        buffer.zero_()
    padded = np.pad(samples, (0, -len(samples) % 512)).reshape(-1, 1, 512)
    with torch.no_grad():
        return np.array([model(torch.from_numpy(chunk)).item() for chunk in padded], np.float32)


def test_probabilities_are_those_of_eager(exported: tuple[Any, Path]) -> None:
    from examples.voice_activity import VoiceActivity

    model, path = exported
    detector = VoiceActivity(path)
    for samples in (sounds(), sounds()[8000:], sounds()[:100]):  # each begins from zeros again
        np.testing.assert_allclose(detector.probabilities(samples), eager(model, samples), atol=2e-6)


def test_the_network_is_the_package_s_own(exported: tuple[Any, Path]) -> None:
    """With the weights of the TorchScript model beside it, which are of another version."""
    import torch

    from examples.voice_activity import detector, weights_file

    original = torch.jit.load(weights_file().with_name("silero_vad.jit"))
    original.reset_states()
    theirs = original.state_dict()
    names = {"stft_conv.weight": "_model.stft.forward_basis_buffer"}
    for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        names[f"lstm_cell.{part}"] = f"_model.decoder.rnn.{part}"
    for part in ("weight", "bias"):
        names[f"final_conv.{part}"] = f"_model.decoder.decoder.2.{part}"
        names |= {f"conv{i + 1}.{part}": f"_model.encoder.{i}.reparam_conv.{part}" for i in range(4)}
    model = detector(weights_file())
    model.load_state_dict({ours: theirs[name] for ours, name in names.items()})
    padded = np.pad(sounds(), (0, -len(sounds()) % 512)).reshape(-1, 1, 512)
    with torch.no_grad():
        want = np.array([original(torch.from_numpy(chunk), 16000).item() for chunk in padded], np.float32)
    assert want.max() > 0.3 > 0.1 > want.min()  # neither all speech nor none
    np.testing.assert_allclose(eager(model, sounds()), want, atol=2e-5)


def test_one_delegate(exported: tuple[Any, Path]) -> None:
    from executorch_ggml import Program

    with Program(exported[1], threads=1) as program:
        program(np.zeros((1, 512), np.float32))
        assert sorted(s["name"] for s in program.info()["states"]) == ["cell", "context", "hidden"]
