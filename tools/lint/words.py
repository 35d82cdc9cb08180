"""Measures the prose of pages, docstrings and comments, and fails where it is harder to read than it may be.

    python tools/lint/words.py                  a table: each page, each source folder, totals
    python tools/lint/words.py README.md csrc   the same for some files or folders, file by file
    python tools/lint/words.py --worst 20       the longest sentences
    python tools/lint/words.py --check          exit code 1 when a file has other faults than its baseline allows
    python tools/lint/words.py --update         lowers the baseline to the faults that are left

A fault is a sentence of more than 30 words, a free relative ("what is left"), a word that ``prose_rules.BANNED``
replaces, or a line of more than 120 characters. The baseline holds the number that each old file may still have.
A file that is not in it may have none, and ``--update`` never raises a number.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import prose_markdown
import prose_source
from prose_rules import MOST_WORDS, Measure, Prose, measure
from rich.console import Console
from rich.table import Table

BASELINE = Path("tools/lint/words_baseline.json")
PAGES = ["*.md", ".github/**/*.md", "docs/**/*.md", *(f"{top}/**/*.md" for top in ("assets", "examples", "tools"))]
PAGES += [
    "benchmarks/*.md",
    "third-party/patches/*.md",
]  # not benchmarks/results, records of past runs
SOURCES = ["executorch_ggml*/**/*.py", "csrc/**/*.*", "schema/*.fbs", "tools/**/*.py"]
GENERATED = {"executorch_ggml/ir/_ggml_ir.py"}

Reader = tuple[Callable[[str], Iterator[Prose]], Callable[[str], list[int]]]
_CPP: Reader = (prose_source.cpp_paragraphs, prose_source.long_lines)
READERS: dict[str, Reader] = {
    ".md": (prose_markdown.paragraphs, prose_markdown.long_lines),
    ".py": (prose_source.python_paragraphs, prose_source.long_lines),
    **dict.fromkeys((".h", ".cpp", ".cu", ".cuh", ".c", ".fbs"), _CPP),
}


def measure_file(path: Path) -> Measure:
    paragraphs, long_lines = READERS[path.suffix]
    source = path.read_text(encoding="utf-8")
    try:
        return measure(list(paragraphs(source)), long_lines(source))
    except SyntaxError as error:
        raise SystemExit(f"{path}:{error.lineno}: not valid Python: {error.msg}") from None


def measure_tree(root: Path) -> dict[str, Measure]:
    """Each file by its path from root; pages before sources."""
    found: dict[str, Measure] = {}
    for pattern in [*PAGES, *SOURCES]:
        for path in sorted(root.glob(pattern)):
            name = path.relative_to(root).as_posix()
            if path.suffix in READERS and name not in GENERATED and name not in found:
                found[name] = measure_file(path)
    return found


def check(measures: dict[str, Measure], baseline: dict[str, int]) -> Iterator[str]:
    """One message for each file that is not as the baseline says."""
    for name, measured in measures.items():
        allowed, count = baseline.get(name, 0), len(measured.faults)
        if count > allowed:
            yield f"{name}: {count} faults of prose, {allowed} allowed"
            for fault in measured.faults:
                words = f"{fault.words} words, at most {MOST_WORDS}: " if fault.kind == "long" else ""
                yield f"  {name}:{fault.line}: {words}{fault.text}"
        elif count < allowed:
            yield f"{name}: {count} faults of prose, the baseline says {allowed}; run words.py --update"
    for name in sorted(baseline.keys() - measures.keys()):
        yield f"{name}: in the baseline, but not there; run words.py --update"


def updated(measures: dict[str, Measure], baseline: dict[str, int], renamed: dict[str, str]) -> dict[str, int]:
    """The baseline with lower numbers, without files that are gone, and with the new names of files that moved."""
    allowed = {renamed.get(name, name): count for name, count in baseline.items()}
    lowered = {name: min(count, len(measures[name].faults)) for name, count in allowed.items() if name in measures}
    return {name: count for name, count in sorted(lowered.items()) if count}


def renames(root: Path) -> dict[str, str]:
    """Files that git knows to have moved since the baseline was last committed; none where there is no git."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
        return done.stdout if done.returncode == 0 else ""

    commit = git("log", "-1", "--format=%H", "--", BASELINE.as_posix()).strip()
    if not commit:
        return {}
    lines = git("diff", "--find-renames=40%", "-l0", "--diff-filter=R", "--name-status", commit).splitlines()
    return {old: new for _, old, new in (line.split("\t") for line in lines)}


def table(rows: dict[str, Measure]) -> Table:
    made = Table(box=None, pad_edge=False)
    made.add_column("file", overflow="fold")
    for title in ("sentences", "median", "p90", "over 25", "over 30", "free relatives", "words", "long lines"):
        made.add_column(title, justify="right")
    for name, row in rows.items():
        shares = (f"{row.share_over(words):.0%}" for words in (25, MOST_WORDS))
        counts = (str(row.count(kind)) for kind in ("relative", "word", "line"))
        made.add_row(name, str(len(row.lengths)), f"{row.median:g}", str(row.p90), *shares, *counts)
    return made


def summary(measures: dict[str, Measure], only: list[str]) -> dict[str, Measure]:
    """Rows of the table: files that were asked for, or pages one by one and sources by folder; then the totals."""
    rows: dict[str, Measure] = {}
    totals = {"pages": Measure([], []), "sources": Measure([], [])}
    for name, measured in measures.items():
        page = name.endswith(".md")
        if only and not any(name == path or name.startswith(f"{path.rstrip('/')}/") for path in only):
            continue
        row = name if page or only else "/".join(name.split("/")[:2] if name.count("/") > 1 else name.split("/")[:1])
        if measured.lengths or measured.faults:
            rows.setdefault(row, Measure([], []))
            rows[row] += measured
        totals["pages" if page else "sources"] += measured
    return rows | {name: total for name, total in totals.items() if total.lengths}


def worst(measures: dict[str, Measure], count: int) -> Iterator[str]:
    found = [(fault, name) for name, measured in measures.items() for fault in measured.faults if fault.kind != "line"]
    for fault, name in sorted(found, key=lambda pair: -pair[0].words)[:count]:
        yield f"{name}:{fault.line}: {fault.words} words: {fault.text}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("paths", nargs="*", help="files or folders to list one by one")
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[2])
    actions = parser.add_mutually_exclusive_group()
    actions.add_argument("--check", action="store_true", help="compare with the baseline")
    actions.add_argument("--update", action="store_true", help="lower the baseline; writes one where there is none")
    actions.add_argument("--worst", type=int, metavar="N", help="print the N longest faulty sentences")
    options = parser.parse_args(arguments)
    measures = measure_tree(options.root)
    file = options.root / BASELINE
    baseline: dict[str, int] | None = json.loads(file.read_text()) if file.exists() else None
    if options.update:
        if baseline is None:
            baseline = {name: len(measured.faults) for name, measured in measures.items()}
        file.write_text(json.dumps(updated(measures, baseline, renames(options.root)), indent=1) + "\n")
        return 0
    if options.check:
        messages = list(check(measures, baseline or {}))
        print(*messages, sep="\n", end="\n" if messages else "")
        return 1 if messages else 0
    if options.worst:
        chosen = measures
        if options.paths:
            chosen = {name: measures[name] for name in summary(measures, options.paths) if name in measures}
        print(*worst(chosen, options.worst), sep="\n")
        return 0
    Console(width=None if sys.stdout.isatty() else 140).print(table(summary(measures, options.paths)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
