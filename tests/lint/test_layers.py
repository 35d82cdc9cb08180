"""`make lint` fails on an import or include that goes up, on a cycle, and on a late import without a reason."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.lint import includes, late_imports

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.quick


def test_this_tree_is_in_order() -> None:
    assert list(includes.problems(ROOT / "csrc")) == []
    assert list(late_imports.problems(ROOT)) == []


@pytest.fixture
def csrc(tmp_path: Path) -> Path:
    for name, text in {
        "util/log.h": "",
        "graph/build.h": '#include "util/log.h"\n',
        "engine/plan.cpp": '#include "graph/build.h"\n#include <vector>\n#include "plan.h"\n',
        "engine/plan.h": "",
        "include/executorch_ggml.h": "",
        "tools/run.cpp": '#include "executorch_ggml.h"\n',
        "cuda/module.cu": '#include "fusion/descriptors.h"\n',
        "fusion/descriptors.h": "",
    }.items():
        path = tmp_path / "csrc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "csrc"


def test_includes_that_go_down(csrc: Path) -> None:
    assert list(includes.problems(csrc)) == []


@pytest.mark.parametrize(
    "path, text, part",
    [
        ("graph/build.h", '// up\n#include "engine/plan.h"\n', "build.h:2: graph/ includes engine/plan.h"),
        ("graph/build.h", '#include "../engine/plan.h"\n', "build.h:1: graph/ includes ../engine/plan.h"),
        ("kernels/sideways.cpp", '#  include "weights/store.h"\n', "weights/ is not below it"),
        ("cuda/module.cu", '#include "graph/build.h"\n', "cuda/ includes graph/build.h"),
        ("tools/run.cpp", '#include "util/log.h"\n', "tools/ includes util/log.h"),
        ("attic/old.h", "", "attic: this room has no layer"),
    ],
)
def test_includes_that_do_not(csrc: Path, path: str, text: str, part: str) -> None:
    (csrc / "weights").mkdir()
    (csrc / "weights" / "store.h").write_text("")
    (csrc / path).parent.mkdir(exist_ok=True)
    (csrc / path).write_text(text)
    (found,) = includes.problems(csrc)
    assert part in found
    assert includes.main([str(csrc.parent)]) == 1


@pytest.mark.parametrize(
    "body, found",
    [
        ("    from executorch_ggml.ir import graph\n", 1),
        ("    from . import graph\n", 1),
        ("    import executorch_ggml.ir.graph\n", 1),
        ("    if x:\n        from .graph import Graph\n", 1),
        ("    # Late: it imports torch.\n    import torch\n\n    from .graph import Graph\n", 0),
        ("    from .graph import Graph  # a cycle otherwise\n", 0),
        ("    import torch\n", 0),
    ],
)
def test_late_imports(tmp_path: Path, body: str, found: int) -> None:
    (tmp_path / "executorch_ggml").mkdir()
    (tmp_path / "executorch_ggml" / "a.py").write_text(f'"""A module."""\n\n\ndef f(x):\n{body}    return x\n')
    assert len(list(late_imports.problems(tmp_path))) == found


@pytest.mark.parametrize(
    "path, text, contract",
    [
        ("ir/value.py", "import executorch_ggml.aot.lower\n", "Rooms from the ground up"),
        ("llm/stream.py", "from executorch_ggml.speech import audio\n", "Rooms from the ground up"),
        ("runtime/check.py", "import torch\n", "The run-time half never imports torch"),
        ("aot/lower.py", "from executorch_ggml.runtime import program\n", "The ahead-of-time half never loads"),
        ("aot/bounds.py", "from executorch_ggml.aot import node_view\n", "No cycles"),
    ],
)
def test_import_contracts(tmp_path: Path, path: str, text: str, contract: str) -> None:
    package = tmp_path / "executorch_ggml"
    shutil.copytree(ROOT / "executorch_ggml", package, ignore=shutil.ignore_patterns("lib", "bin", "__pycache__"))
    shutil.copyfile(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    with (package / path).open("a") as file:
        file.write(text)
    linter = Path(sys.executable).with_name("lint-imports")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "COLUMNS": "200"}
    run = subprocess.run([linter, "--no-cache"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode == 1, run.stdout + run.stderr
    assert any(contract in line and "BROKEN" in line for line in run.stdout.splitlines()), run.stdout
