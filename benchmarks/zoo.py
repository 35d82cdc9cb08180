#!/usr/bin/env python3
"""One row per model: what is delegated, and how far the result is from eager at two input sizes.

    python benchmarks/zoo.py [--tiny] [--models NAME ...] [--reasons] [--time]

Models are built from configuration with random weights (`zoo_models/`). Columns: delegated share of the operators of
the edge program and of its FLOPs, number of delegates, largest error and NMSE at the first and the second size.
`--time` adds medians against eager and XNNPACK, taken alternately in one run, on 1 and 2 threads.
Every row is made by a process of its own: what lowering and tracing keep of large models would add up.
Exits 1 when a row is beyond its bound or could not be made.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import traceback
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.zoo_measure import Row, measure
from benchmarks.zoo_models import ZooModel, all_models


def cells(row: Row) -> list[str]:
    """The columns of one row, without times."""
    errors = [f"{e.max_error:.1e} / {e.nmse:.1e}" for e in row.errors]
    nodes = f"{row.delegated_nodes} of {row.nodes}"
    return [row.name, nodes, f"{row.flops_share:.2%}", str(row.delegates), *errors]


HEADER = ["model", "nodes", "FLOPs", "delegates", "max error / NMSE", "second size"]


def line(columns: list[str]) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(columns) + " |"


def bad(row: Row, model: ZooModel) -> bool:
    """Whether an error is beyond the model's bound (or is not a number)."""
    return not all(e.nmse <= model.nmse for e in row.errors)


@dataclass
class Outcome:
    """What a row's process sends back."""

    columns: list[str]
    whole: bool
    wrong: bool
    refusals: list[str]


def outcome(name: str, tiny: bool, rounds: int) -> Outcome:
    """Makes one row; times only with ``rounds``."""
    torch.set_num_threads(1)
    model = all_models()[name]
    row = measure(model, tiny)
    columns = cells(row)
    if rounds:
        from benchmarks.zoo_time import times

        columns += times(model, tiny, rounds)
    return Outcome(columns, row.whole, bad(row, model), list(row.refusals))


def main() -> int:
    known = all_models()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="few layers, small channels, small inputs")
    parser.add_argument("--models", nargs="+", choices=list(known), default=list(known), metavar="NAME")
    parser.add_argument("--reasons", action="store_true", help="below each row, what stays on the host and why")
    parser.add_argument("--time", action="store_true", help="time against eager and XNNPACK")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of the timing")
    options = parser.parse_args()
    header = list(HEADER)
    if options.time:
        from benchmarks.zoo_time import HEADER as TIMES

        header += TIMES
    print(line(header))
    print(line(["---"] * len(header)), flush=True)
    failed, whole = [], 0
    for name in options.models:
        try:
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                row = pool.submit(outcome, name, options.tiny, options.rounds if options.time else 0).result()
        except Exception as error:
            traceback.print_exc()
            failed.append(name)
            print(line([name, f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"]), flush=True)
            continue
        whole += row.whole
        if row.wrong:
            failed.append(name)
        print(line(row.columns), flush=True)
        if options.reasons:
            for reason in row.refusals:
                print(f"    {reason}", flush=True)
    wrong = f"{len(failed)} wrong: {' '.join(failed)}" if failed else "none wrong"
    print(f"\n{len(options.models)} models, {whole} wholly in one delegate, {wrong}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
