"""Our `.pte` files in ExecuTorch's own runtime."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from shared_models import Mlp

from executorch_ggml.analysis.nmse import nmse
from executorch_ggml.errors import FileError, FormatError, InvalidArgumentError
from executorch_ggml.runtime.register import WEIGHTS_VARIABLE, register_weights


@pytest.mark.parametrize("first", ["executorch.runtime", "executorch_ggml.runtime.register"])
def test_stock_runtime(mlp: Mlp, run_python: Callable[[str], str], tmp_path: Path, first: str) -> None:
    """Embedded weights, and weights from a registered GGUF, whichever library comes first."""
    x = np.random.default_rng(0).standard_normal((3, 8)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    run_python(f"""
import importlib
importlib.import_module({first!r})
import numpy as np, torch
from executorch.runtime import Runtime
import executorch_ggml.runtime.register
executorch_ggml.register_backend()
runtime = Runtime.get()
assert "GgmlBackend" in runtime.backend_registry.registered_backend_names
x = torch.from_numpy(np.load({str(tmp_path / "x.npy")!r}))
y = runtime.load_program({str(mlp.pte)!r}).load_method("forward").execute([x])[0]
executorch_ggml.register_weights({str(mlp.gguf)!r})
z = runtime.load_program({str(mlp.bare_pte)!r}).load_method("forward").execute([x])[0]
np.save({str(tmp_path / "y.npy")!r}, np.stack([y.numpy(), z.numpy()]))
""")
    embedded, registered = np.load(tmp_path / "y.npy")
    want = mlp.reference(x)
    assert nmse(embedded, want) < 1e-10
    assert np.array_equal(embedded, registered)


def test_register_weights(mlp: Mlp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(WEIGHTS_VARIABLE, raising=False)
    register_weights([mlp.gguf, str(mlp.gguf)])
    assert os.environ[WEIGHTS_VARIABLE] == f"{mlp.gguf}{os.pathsep}{mlp.gguf}"
    with pytest.raises(FileError):
        register_weights(tmp_path / "nowhere.gguf")
    with pytest.raises(FormatError):
        register_weights(mlp.pte)
    with pytest.raises(InvalidArgumentError, match="separates"):
        register_weights(tmp_path / f"a{os.pathsep}b.gguf")
    assert os.environ[WEIGHTS_VARIABLE].startswith(str(mlp.gguf))  # failures changed nothing
    register_weights([])
    assert WEIGHTS_VARIABLE not in os.environ


def test_program_uses_registered_weights(mlp: Mlp, monkeypatch: pytest.MonkeyPatch) -> None:
    from executorch_ggml.runtime.program import Program

    monkeypatch.setenv(WEIGHTS_VARIABLE, str(mlp.gguf))
    x = np.ones((2, 8), np.float32)
    with Program(mlp.bare_pte, threads=1) as program:
        assert np.allclose(program(x)[0], mlp.reference(x), rtol=1e-5, atol=1e-5)
