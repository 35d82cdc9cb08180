#!/usr/bin/env python3
"""Exports cases for `run_cases.py`, which runs them where there is a GPU and no exporter.

    python benchmarks/cuda/make_cases.py DIR [--families ops chains conformance zoo mobilenet minilm speech]

ops: the operator registry; chains: random chains of operators; conformance: the tests of ExecuTorch's operator suite
that have one program per operator; zoo: the tiny models; mobilenet, minilm: at their real size; speech: every method of
tiny speech models. With each program go its arguments and what eager torch gives for them.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), *(str(ROOT / "tests" / name) for name in ("ops", "property", "conformance", "speech"))]

from benchmarks.cuda.case_file import Case, Writer, names  # noqa: E402

CONFORMANCE = "dtype"
"""Every file of the suite has a test of one program, which is named for its element type."""


def _ops() -> Iterator[Case]:
    from benchmarks.cuda import cases_ops

    return cases_ops.cases()


def _chains() -> Iterator[Case]:
    from benchmarks.cuda import cases_chains

    return cases_chains.cases()


def _zoo(name: str) -> Callable[[], Iterator[Case]]:
    def make() -> Iterator[Case]:
        from benchmarks.cuda import cases_zoo

        found: Iterator[Case] = getattr(cases_zoo, name)()
        return found

    return make


def _speech() -> Iterator[Case]:
    from benchmarks.cuda import cases_speech

    return cases_speech.cases()


FAMILIES: dict[str, Callable[[], Iterator[Case]]] = {
    "ops": _ops,
    "chains": _chains,
    "zoo": _zoo("tiny"),
    "mobilenet": _zoo("mobilenet"),
    "minilm": _zoo("minilm"),
    "speech": _speech,
}


def make(family: str, path: Path) -> None:
    """Writes the archive of one family."""
    if family == "conformance":
        from benchmarks.cuda import cases_conformance

        cases_conformance.record(path, CONFORMANCE)
        return
    with Writer(path) as writer:
        for case in FAMILIES[family]():
            writer.add(case)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    every = [*FAMILIES, "conformance"]
    parser.add_argument("--families", nargs="*", default=every, choices=every)
    options = parser.parse_args()
    options.directory.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    for family in options.families:
        began = time.perf_counter()
        path = options.directory / f"{family}.zip"
        make(family, path)
        size = path.stat().st_size / 1e6
        print(f"{family}: {len(names(path))} cases, {size:.2f} MB, {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
