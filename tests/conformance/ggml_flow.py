"""pytest plugin: our backend as a flow of ExecuTorch's own backend test suite, and a record of every result.

    python -m pytest -p ggml_flow --flows ggml,xnnpack --record results.jsonl <executorch>/backends/test/suite/operators

The suite enumerates its flows in `flow.all_flows()`, which its conftest imports by name. A `-p` plugin is loaded before
any conftest, so replacing that function here is enough, and the installed suite stays as it is.

The record gets a line of JSON when a test starts and one when it ends (`conformance_results`), so a test that takes the
process down is known.
"""

from __future__ import annotations

import functools
import random
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import Any

import conformance_results
import pytest
from conformance_results import Result

# What the suite allows is 1e-1 + 4e-2 |x|, enough to hide a wrong element. Ours is what F32 arithmetic in another
# order may differ by; the absolute part is relative to the largest element of the output.
RELATIVE = 2e-5

# Seconds for one test.
TIMEOUT = 900


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance")
    group.addoption("--flows", default="ggml", help="flows to run, separated by commas (ggml, xnnpack)")
    group.addoption("--record", default="", help="file that results are appended to, as lines of JSON")
    group.addoption("--conformance-seed", type=int, default=0, help="seed of the inputs and weights")
    group.addoption("--skip-recorded", action="store_true", help="leave out what the record already has")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    options = early_config.known_args_namespace
    wanted = options.flows.split(",")
    import executorch.backends.test.suite.flow as suite

    flows: dict[str, suite.TestFlow] = {}
    if "ggml" in wanted:
        flows["ggml"] = _our_flow()
    if "xnnpack" in wanted:
        from executorch.backends.test.suite.flows.xnnpack import XNNPACK_TEST_FLOW

        flows["xnnpack"] = XNNPACK_TEST_FLOW
    if set(wanted) - set(flows):
        raise pytest.UsageError(f"unknown flows: {', '.join(sorted(set(wanted) - set(flows)))}")
    suite.all_flows = lambda: flows


def _our_flow() -> Any:
    from executorch.backends.test.suite.flow import TestFlow

    import executorch_ggml.runtime.register

    executorch_ggml.register_backend()
    return TestFlow("ggml", backend="ggml", tester_factory=_tester_class())


_testers: list[Any] = []
"""Testers made by the running test, for the partitioner's reasons."""


@functools.cache
def _tester_class() -> Any:
    import torch
    from executorch.backends.test.harness import Tester
    from executorch.backends.test.harness.stages import StageType, ToEdgeTransformAndLower
    from torch.utils._pytree import tree_leaves

    from executorch_ggml.aot.partitioner import GgmlPartitioner

    class GgmlTester(Tester):  # type: ignore[misc]
        def __init__(self, module: torch.nn.Module, example_inputs: Any, dynamic_shapes: Any = None) -> None:
            self.partitioner = GgmlPartitioner()
            stage = functools.partial(ToEdgeTransformAndLower, lambda: self.partitioner)
            super().__init__(
                module,
                example_inputs,
                dynamic_shapes=dynamic_shapes,
                stage_classes=Tester.default_stage_classes() | {StageType.TO_EDGE_TRANSFORM_AND_LOWER: stage},
            )
            _testers.append(self)

        @staticmethod
        def _compare_outputs(reference_output: Any, stage_output: Any, *args: Any, **kwargs: Any) -> None:
            Tester._compare_outputs(reference_output, stage_output, *args, **kwargs)
            got, want = tree_leaves(stage_output), tree_leaves(reference_output)
            for i, pair in enumerate(zip(got, want, strict=True)):
                assert_close(*pair, f"output {i}")

    return GgmlTester


def assert_close(got: Any, want: Any, what: str) -> None:
    """Integers and booleans equal, floats within F32 rounding of the largest element, NaN and infinities alike."""
    import torch

    assert got.shape == want.shape, f"{what}: shape {tuple(got.shape)}, expected {tuple(want.shape)}"
    assert got.dtype == want.dtype, f"{what}: {got.dtype}, expected {want.dtype}"
    if not want.dtype.is_floating_point:
        assert torch.equal(got, want), f"{what}: {int((got != want).sum())} of {want.numel()} elements differ"
        return
    finite = want[want.isfinite()].abs()
    scale = float(finite.max()) if finite.numel() else 0.0
    rounding = RELATIVE * max(1.0, torch.finfo(want.dtype).eps / torch.finfo(torch.float32).eps)
    bounds = {"rtol": rounding, "atol": rounding * scale}
    torch.testing.assert_close(got, want, **bounds, equal_nan=True, msg=lambda text: f"{what}: {text}")


# ---------------------------------------------------------------- the record


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:  # ahead of the suite's own 120 s, which a busy machine exceeds, and which ends the process
        item.add_marker(pytest.mark.timeout(TIMEOUT), append=False)
    if not config.getoption("--skip-recorded"):
        return
    done = {r.id for r in conformance_results.load(Path(config.getoption("--record")))}
    config.hook.pytest_deselected(items=[i for i in items if _id(i) in done])
    items[:] = [i for i in items if _id(i) not in done]


def _id(item: pytest.Item) -> str:
    return f"{item.path.name}::{item.name}"


def pytest_runtest_setup(item: pytest.Item) -> None:
    import torch

    _testers.clear()
    # The suite draws inputs before it seeds, and seeds from `random`: the same for every flow and run only like this.
    seed = item.config.getoption("--conformance-seed")
    random.seed(seed)
    torch.manual_seed(seed)
    _write(item.config, _id(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    report = yield
    if report.when == "call" or (report.when == "setup" and not report.passed):
        _write(item.config, _result(item, report))
    return report


def _result(item: pytest.Item, report: pytest.TestReport) -> Result:
    runner = getattr(item, "funcargs", {}).get("test_runner")
    runs = runner._results if runner is not None else []
    outcome, detail = _outcome(report, runs)
    return Result(
        id=_id(item),
        file=item.path.stem,
        name=getattr(item, "originalname", item.name),
        flow=str(vars(item)["callspec"].params["test_runner"].name),
        outcome=outcome,
        detail=detail,
        left=_left(runs),
        reasons=_reasons(),
        seconds=round(report.duration, 3),
    )


def _outcome(report: pytest.TestReport, runs: list[Any]) -> tuple[str, str]:
    errors = "; ".join(f"{r.result.name.lower()}: {r.error}" for r in runs if r.error)
    if report.failed:
        return conformance_results.FAILED, (errors or report.longreprtext)[-600:]
    if report.skipped:
        if runs and not errors:
            return conformance_results.NO_KERNEL, ""
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        return conformance_results.SKIPPED, errors or reason.removeprefix("Skipped: ")
    if not runs or not all(r.is_delegated() for r in runs):
        return conformance_results.UNDELEGATED, ""
    return (conformance_results.PART if _left(runs) else conformance_results.WHOLE), ""


def _left(runs: list[Any]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for run in runs:
        total.update(run.undelegated_op_counts or {})
    return dict(total)


def _reasons() -> list[str]:
    """The partitioner's reasons in the test that has just run, without repetitions."""
    from executorch_ggml.aot.node_view import overload_of

    found = []
    for tester in _testers:
        decisions = tester.partitioner.decisions
        for node, reason in decisions.reasons.items() if decisions is not None else ():
            if reason:
                found.append(f"{overload_of(node.target)}: {reason}")
    return list(dict.fromkeys(found))


def _write(config: pytest.Config, entry: Result | str) -> None:
    if config.getoption("--record"):
        conformance_results.append(Path(config.getoption("--record")), entry)
