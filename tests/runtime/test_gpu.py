"""The same programs on every device of this machine that is not the CPU; skipped where there is none.

A software Vulkan driver will do: GGML_VK_VISIBLE_DEVICES=0 EXECUTORCH_GGML_PLUGINS=build/vulkan-plugin/lib pytest ...
"""

from __future__ import annotations

import numpy as np
import pytest
from shared_models import Mlp, TinyLlm

from executorch_ggml.analysis.nmse import nmse
from executorch_ggml.llm.module import GGUFModule
from executorch_ggml.runtime.devices import devices
from executorch_ggml.runtime.program import Program


@pytest.fixture(scope="module")
def gpus() -> list[str]:
    found = [device.name for device in devices() if device.usable and device.type != "cpu"]
    if not found:
        pytest.skip("no usable device but the CPU")
    return found


def test_mlp(gpus: list[str], mlp: Mlp) -> None:
    x = np.random.default_rng(3).standard_normal((5, 8)).astype(np.float32)
    for device in gpus:
        (y,) = Program(mlp.pte, device=device).execute("forward", [x])
        # ggml's own bound for a product on another backend.
        assert nmse(np.asarray(y), mlp.reference(x)) < 5e-4, device


def test_decoding(gpus: list[str], bundled: TinyLlm) -> None:
    prompt, forced = [1, 5, 9, 100, 42], [288, 259, 1105, 82, 268, 259, 885]

    def logits(device: str) -> np.ndarray:
        module = GGUFModule(bundled.pte, bundled.gguf, device=device)
        steps = [module.forward(np.array([prompt]), np.arange(len(prompt)))]
        steps += [module.forward(np.array([[t]]), np.array([len(prompt) + i])) for i, t in enumerate(forced)]
        return np.stack([np.asarray(step[0])[0, -1].copy() for step in steps])

    expected = logits("cpu")
    for device in gpus:
        got = logits(device)
        print(device, nmse(got, expected))
        assert nmse(got, expected) < 1e-3, device
