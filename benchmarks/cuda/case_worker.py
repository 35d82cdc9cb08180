"""Runs the cases of one archive in this process, and writes a line for each when it starts and when it has ended.

A GPU backend ends the process when something is wrong: `run_cases.py` then goes on behind the case that did it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.cuda.case_compare import compare
from benchmarks.cuda.case_file import Array, Case, Run, read

MOST = 24
"""Problems of a case that are told one by one."""


def arguments(run: Run) -> list[Array]:
    """The inputs of a call. Raises ModuleNotFoundError where bfloat16 needs ml_dtypes."""
    values = list(run.inputs)
    for i in run.halves:
        import ml_dtypes

        values[i] = values[i].view(ml_dtypes.bfloat16)
    return values


def outcome(case: Case, device: str, folder: Path) -> dict[str, Any]:
    """{"nmse": worst of what is held to an NMSE, "share": worst of any bound, "problem": text or ""}"""
    from executorch_ggml.runtime.program import Program

    path = folder / "case.pte"
    path.write_bytes(case.program)
    worst, share, problems = 0.0, 0.0, []
    with Program(path, device=device, threads=1, cache_type=case.cache_type) as program:
        for r, run in enumerate(case.runs):
            results = program.execute(run.method, arguments(run))
            if len(results) != len(run.want):
                problems.append(f"{len(results)} outputs instead of {len(run.want)}")
                continue
            for o, (got, want, bound) in enumerate(zip(results, run.want, run.bounds, strict=True)):
                found = compare(got, want, bound, device)
                worst = max(worst, found.nmse if bound.kind == "nmse" else 0.0)
                share = max(share, found.share)
                if found.problem:
                    label = f" ({case.labels[o]})" if o < len(case.labels) else ""
                    problems.append(f"call {r}, output {o}{label}: {found.problem}")
    if len(problems) > MOST:
        problems[MOST:] = [f"and {len(problems) - MOST} more"]
    return {"nmse": worst, "share": share, "problem": "\n".join(problems)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    parser.add_argument("record", type=Path)
    parser.add_argument("--device", required=True)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    with options.record.open("a") as record, tempfile.TemporaryDirectory() as folder:

        def write(**entry: Any) -> None:
            record.write(json.dumps(entry) + "\n")
            record.flush()

        for number, case in enumerate(read(options.archive, options.first), options.first):
            write(start=number)
            try:
                result = outcome(case, options.device, Path(folder))
            except ModuleNotFoundError as error:
                result = {"skipped": str(error)}
            except Exception as error:
                last = traceback.extract_tb(error.__traceback__)[-1]
                where = f" ({Path(last.filename).name}:{last.lineno})"
                result = {"nmse": 0.0, "share": 0.0, "problem": f"{type(error).__name__}: {error}{where}"}
            write(done=number, **result)


if __name__ == "__main__":
    main()
