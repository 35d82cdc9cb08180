#!/usr/bin/env python3
"""Runs the cases that `make_cases.py` exported on a device and compares them with eager torch's results.

    python3 benchmarks/cuda/run_cases.py DIR [--device cuda] [--families ops chains ...] [--output FILE.md]

Needs numpy, the executorch wheel and our library, and no torch. Prints a table and every failure; exits 1 if there is
one. A case that ends its process has failed; the others run all the same.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from benchmarks.cuda import case_file  # noqa: E402


@dataclass
class Family:
    """Results of one archive. ``problems`` and ``skipped`` by name of the case.

    ``worst``: NMSE of the cases that passed and are held to one, ``each`` of them; ``share``: of their bound that any
    of them used up.
    """

    name: str
    cases: int
    worst: float = 0.0
    share: float = 0.0
    worst_case: str = ""
    problems: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    each: dict[str, float] = field(default_factory=dict)

    @property
    def passed(self) -> int:
        return self.cases - len(self.problems) - len(self.skipped)


def run_family(archive: Path, device: str, timeout: float) -> Family:
    """Every case of an archive, in as many processes as it takes."""
    titles = case_file.names(archive)
    family = Family(archive.stem, len(titles))
    began = time.perf_counter()
    first = 0
    with tempfile.TemporaryDirectory() as folder:
        while first < len(titles):
            record, log = Path(folder) / f"{first}.jsonl", Path(folder) / f"{first}.log"
            command = [sys.executable, str(HERE / "case_worker.py"), str(archive), str(record)]
            command += ["--device", device, "--first", str(first)]
            with log.open("w") as output:
                try:
                    code = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, timeout=timeout).returncode
                except subprocess.TimeoutExpired:
                    code = -1
            first = take(family, record, titles, first, f"the process ended with {code}: {last_words(log.read_text())}")
    family.seconds = time.perf_counter() - began
    return family


def last_words(log: str) -> str:
    """What a process said that matters, and its last lines."""
    lines = log.splitlines()
    reasons = [line for line in lines[:-6] if re.search(r"ASSERT|CUDA error|what\(\)|[Ff]atal|Error:", line)]
    return "\n".join(line[:300] for line in [*reasons[-6:], *lines[-6:]])


def take(family: Family, record: Path, titles: list[str], first: int, death: str) -> int:
    """Adds what a process recorded; the number of the next case."""
    started = first - 1
    done = first - 1
    for text in record.read_text().splitlines() if record.exists() else []:
        entry = json.loads(text)
        if "start" in entry:
            started = entry["start"]
            continue
        done = entry["done"]
        title = titles[done]
        if "skipped" in entry:
            family.skipped[title] = entry["skipped"]
            continue
        if entry["problem"]:
            family.problems[title] = entry["problem"]
            continue
        family.each[title] = entry["nmse"]
        family.worst = max(family.worst, entry["nmse"])
        if entry["share"] >= family.share:
            family.share, family.worst_case = entry["share"], title
    if done == len(titles) - 1:
        return len(titles)
    culprit = max(started, first)
    family.problems[titles[culprit]] = death
    return culprit + 1


def report(families: list[Family], device: str, each: bool = False) -> str:
    """Markdown. each: the error of every case, too."""
    lines = [
        f"Device `{device}`, against eager torch on the CPU (F32), bounds in the archives.",
        "",
        "| family | cases | passed | skipped | worst NMSE | most of its bound | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for f in families:
        most = f"{f.share:.1%}, {f.worst_case}"
        cells = [f.name, f.cases, f.passed, len(f.skipped), f"{f.worst:.1e}", most, f"{f.seconds:.0f}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    for f in families:
        alike: dict[str, list[str]] = {}  # one reason may fail them all
        for title, text in f.problems.items():
            alike.setdefault(text, []).append(title)
        for text, titles in alike.items():
            lines += ["", f"FAILED {f.name}: {', '.join(titles)}", *("    " + line for line in text.splitlines())]
        lines += [f"\nskipped {f.name}: {title}: {text}" for title, text in f.skipped.items()]
    if each:
        lines += ["", "| case | NMSE |", "|---|---|"]
        lines += [f"| {title} | {error:.1e} |" for f in families for title, error in f.each.items()]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--families", nargs="*", help="names of archives; all by default")
    parser.add_argument("--timeout", type=float, default=400, help="seconds for the process of a family")
    parser.add_argument("--each", action="store_true", help="the error of every case")
    parser.add_argument("--output", type=Path, help="the report, besides on the terminal")
    options = parser.parse_args()
    archives = sorted(options.directory.glob("*.zip"))
    if options.families:
        archives = [a for a in archives if a.stem in options.families]
    if not archives:
        parser.error(f"there are no archives in {options.directory}")
    families = []
    for archive in archives:
        families.append(run_family(archive, options.device, options.timeout))
        print(f"{families[-1].name}: {families[-1].passed} of {families[-1].cases}", flush=True)
    text = report(families, options.device, options.each)
    print(text)
    if options.output:
        options.output.write_text(text + "\n")
    return 1 if any(f.problems for f in families) else 0


if __name__ == "__main__":
    sys.exit(main())
