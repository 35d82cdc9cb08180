"""docs/environment-variables.md and the code name the same environment variables (tools/lint/environment.py)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINT = ROOT / "tools" / "lint" / "environment.py"

pytestmark = pytest.mark.quick

PAGE = """# Environment variables

| variable | effect |
|---|---|
| `LISTED` | one |

| name | computes |
|---|---|
| `not_a_variable` | a table of something else |

## Read by other software

| variable | effect |
|---|---|
| `FOREIGN` | two |
"""


def lint(root: Path) -> tuple[int, list[str]]:
    done = subprocess.run([sys.executable, str(LINT), str(root)], capture_output=True, text=True, check=False)
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout.splitlines()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small tree in which page and code agree."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "environment-variables.md").write_text(PAGE)
    (tmp_path / "csrc").mkdir()
    (tmp_path / "csrc" / "a.cpp").write_text('// FOREIGN is for ggml.\nauto x = std::getenv("LISTED");\n')
    return tmp_path


def test_the_page_of_this_tree_is_complete() -> None:
    assert lint(ROOT) == (0, [])


def test_agreement_passes(tree: Path) -> None:
    assert lint(tree) == (0, [])


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("csrc/util/b.cpp", 'if (getenv("HIDDEN")) run();'),
        ("csrc/util/env.h", 'bool on(const char* name) {\n  return getenv(name) != 0;\n}\nbool x = on("HIDDEN");'),
        ("executorch_ggml/x.py", 'import os\nx = os.environ["HIDDEN"]'),
        ("executorch_ggml/x.py", 'import os\nx = os.environ.get("HIDDEN", "")'),
        ("executorch_ggml/x.py", 'import os\nNAME = "HIDDEN"\nx = os.getenv(NAME)'),
        ("executorch_ggml_cuda/x.py", 'from os import environ\nx = "HIDDEN" in environ'),
        ("build_backend.py", 'import os\nx = os.environ.setdefault("HIDDEN", "1")'),
        ("tests/t.py", 'import os\nx = os.environ.pop("HIDDEN", None)'),
        ("cmake/a.cmake", 'set(x "$ENV{HIDDEN}")'),
        ("cmake/a.cmake", "foreach(n LISTED HIDDEN)\n  set(${n} $ENV{${n}})\nendforeach()"),
        ("benchmarks/run.sh", "echo ${HIDDEN:-none}"),
        (".ci/run", "#!/usr/bin/env bash\necho $HIDDEN"),
        ("Makefile", "HIDDEN ?= 1"),
        ("mkdocs.yml", 'repo_url: !ENV [HIDDEN, ""]'),
    ],
)
def test_an_undocumented_variable_fails(tree: Path, file: str, text: str) -> None:
    (tree / file).parent.mkdir(parents=True, exist_ok=True)
    (tree / file).write_text(text + "\n")
    code, lines = lint(tree)
    assert code == 1
    assert len(lines) == 1
    assert lines[0].startswith(f"{file}:")
    assert "reads HIDDEN" in lines[0]


def test_a_wrapper_of_one_header_counts_in_other_files(tree: Path) -> None:
    (tree / "csrc" / "env.h").write_text("bool on(const char* name) {\n  return getenv(name) != 0;\n}\n")
    (tree / "csrc" / "b.cpp").write_text('bool x = on("HIDDEN");\n')
    code, lines = lint(tree)
    assert code == 1
    assert [line.split(" reads ")[0] for line in lines] == ["csrc/b.cpp:1"]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("csrc/b.cpp", "auto x = getenv(names[i]);"),
        ("executorch_ggml/x.py", 'import os\nx = os.environ["A" + "B"]'),
        ("cmake/a.cmake", 'set(x "$ENV{${somewhere}}")'),
    ],
)
def test_a_computed_name_fails(tree: Path, file: str, text: str) -> None:
    (tree / file).parent.mkdir(parents=True, exist_ok=True)
    (tree / file).write_text(text + "\n")
    code, lines = lint(tree)
    assert code == 1
    assert ["computed" in line for line in lines] == [True]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("executorch_ggml/x.py", 'import os\nos.environ["GIVEN"] = "1"'),
        ("benchmarks/run.sh", "GIVEN=1\necho $GIVEN ${BASH_SOURCE[0]}"),
        ("csrc/b.cpp", 'const char* text = "getenv is not called";'),
    ],
)
def test_setting_a_variable_is_not_reading_it(tree: Path, file: str, text: str) -> None:
    (tree / file).parent.mkdir(parents=True, exist_ok=True)
    (tree / file).write_text(text + "\n")
    assert lint(tree) == (0, [])


def test_a_row_that_nothing_reads_fails(tree: Path) -> None:
    (tree / "csrc" / "a.cpp").write_text("// LISTED and FOREIGN are only mentioned here.\n")
    code, lines = lint(tree)
    assert code == 1
    assert len(lines) == 1
    assert "lists LISTED, which nothing reads" in lines[0]


def test_a_foreign_row_that_nothing_mentions_fails(tree: Path) -> None:
    (tree / "csrc" / "a.cpp").write_text('auto x = getenv("LISTED");\n')
    code, lines = lint(tree)
    assert code == 1
    assert len(lines) == 1
    assert "lists FOREIGN" in lines[0]


def test_a_missing_page_fails(tmp_path: Path) -> None:
    code, lines = lint(tmp_path)
    assert code == 1
    assert "is missing" in lines[0]
