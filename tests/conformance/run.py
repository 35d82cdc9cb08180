"""Runs ExecuTorch's backend test suite on our backend and on XNNPACK, and writes docs/conformance.md.

    python tests/conformance/run.py                       # everything, half an hour on one core
    python tests/conformance/run.py --flows ggml -k pool  # some tests, no table

Children run on one thread. One that dies is replaced, and the test that it died in counts as failed.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE)]

import conformance_results  # noqa: E402
import conformance_table  # noqa: E402

FLOWS = ("ggml", "xnnpack")


def suite() -> Path:
    """The installed suite's folder of operator tests."""
    spec = importlib.util.find_spec("executorch.backends.test.suite.operators")
    if spec is None or spec.origin is None:
        raise RuntimeError("this ExecuTorch comes without its backend test suite")
    return Path(spec.origin).parent


def tree() -> str:
    """The commit that the results are of, and whether they are of it alone."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    commit = git("log", "-1", "--date=short", "--format=%h of %ad")
    if not commit:
        return "a tree without history"
    return f"{commit}, with changes not committed" if git("status", "--porcelain") else commit


def run(flow: str, record: Path, *arguments: str, log: Path | None = None) -> list[conformance_results.Result]:
    """All results of one flow; what ``record`` has already is not run again.

    Args:
        flow: "ggml" or "xnnpack".
        record: file of results, added to.
        arguments: more of pytest's (``-k``, seeds).
        log: where pytest's output goes; discarded by default.

    Raises:
        RuntimeError: pytest could not collect or run anything.
    """
    path = os.pathsep.join([str(HERE), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-p", "ggml_flow", "-p", "no:cacheprovider", "-p", "no:logging"]
    # Not our settings: their markers are registered while they are collected.
    command += ["-c", os.devnull, "--rootdir", str(suite().parent), "-q", "--tb=short", "-W", "ignore"]
    command += ["--flows", flow, "--record", str(record), "--skip-recorded", *arguments, str(suite())]
    while True:
        before = len(conformance_results.load(record))
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if log is not None:
            with log.open("a") as file:
                file.write(done.stdout)
        results = conformance_results.load(record)
        if done.returncode in (0, 1, 5):  # all passed, some failed, none left
            return [r for r in results if r.flow == flow]
        if len(results) == before:
            raise RuntimeError(f"pytest ended with {done.returncode}:\n{done.stdout[-3000:]}")


def main() -> int:
    """0 when our flow has no failure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flows", default=",".join(FLOWS))
    parser.add_argument("--record", type=Path, help="file of results to go on with, or to keep")
    parser.add_argument("--table", type=Path, default=ROOT / "docs" / "conformance.md")
    parser.add_argument("-k", dest="only", default="", help="pytest's expression; the table is not written then")
    options = parser.parse_args()
    extra = ["-k", options.only] if options.only else []
    measured = tree()  # now: the half hour that follows may see commits
    with tempfile.TemporaryDirectory() as folder:
        record = (options.record or Path(folder) / "results.jsonl").resolve()
        results = []
        for flow in options.flows.split(","):
            found = run(flow, record, *extra, log=record.with_suffix(".log"))
            print(flow, dict(conformance_results.count(found)))
            results += found
    for result in results:
        if result.flow == "ggml" and result.outcome == conformance_results.FAILED:
            print(result.id, result.detail)
    if not options.only:
        options.table.write_text(conformance_table.render(results, measured))
        print(f"{options.table} written")
    return any(r.flow == "ggml" and r.outcome == conformance_results.FAILED for r in results)


if __name__ == "__main__":
    sys.exit(main())
