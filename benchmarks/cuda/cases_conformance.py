"""Tests of ExecuTorch's own operator suite (`tests/conformance`), recorded while pytest runs them.

Also the pytest plugin that records: `-p cases_conformance --archive FILE`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from ggml_flow import RELATIVE

from benchmarks.cuda.case_file import Case, Run, Writer

ROOT = Path(__file__).resolve().parents[2]


def record(archive: Path, expression: str) -> None:
    """Runs the tests of pytest's ``-k expression``; raises RuntimeError when one fails or none ran."""
    from run import suite

    places = [str(ROOT / "tests" / "conformance"), str(ROOT), str(Path(__file__).parent)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-p", "ggml_flow", "-p", "cases_conformance", "-p", "no:cacheprovider"]
    command += ["-p", "no:logging", "-c", os.devnull, "--rootdir", str(suite().parent), "-q", "-W", "ignore"]
    command += ["--flows", "ggml", "--archive", str(archive), "-k", expression, str(suite())]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise RuntimeError(f"the suite ended with {done.returncode}:\n{done.stdout[-3000:]}")


# ------------------------------------------------------------------------------------------------------ the plugin

_writer: Writer | None = None
_runs: list[tuple[bytes, Run]] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--archive", default="", help="where the cases go")


def pytest_configure(config: pytest.Config) -> None:
    global _writer
    path = config.getoption("--archive")
    if not path:
        return
    _writer = Writer(Path(path))
    import executorch.backends.test.harness.tester as harness

    compare = harness.Tester.run_method_and_compare_outputs

    def recorded(self: Any, stage: Any = None, inputs: Any = None, **rest: Any) -> Any:
        inputs = inputs or next(self.generate_random_inputs())
        result = compare(self, stage, inputs, **rest)
        _remember(self, inputs)
        return result

    harness.Tester.run_method_and_compare_outputs = recorded


def _remember(tester: Any, inputs: Any) -> None:
    import torch
    from executorch.backends.test.harness.stages import StageType
    from torch.utils._pytree import tree_leaves

    from benchmarks.cuda.torch_case import call, relative

    reference, _ = tester._calculate_reference_output(tester.stages[StageType.EXPORT].artifact, inputs)
    want = [t for t in tree_leaves(reference) if isinstance(t, torch.Tensor)]
    given = tree_leaves(inputs)
    if all(isinstance(t, torch.Tensor) for t in given) and want:
        buffer = tester.stages[StageType.TO_EXECUTORCH].artifact.buffer
        _runs.append((bytes(buffer), call(given, want, [relative(t, RELATIVE) for t in want])))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    _runs.clear()
    result = yield
    if _writer is not None and _runs:
        # Several calls of one program are one case.
        runs = [run for buffer, run in _runs if buffer == _runs[0][0]]
        _writer.add(Case(f"{item.path.stem}::{getattr(item, 'originalname', item.name)}", _runs[0][0], runs))
    return result


def pytest_unconfigure() -> None:
    if _writer is not None:
        _writer.__exit__(None, None, None)
