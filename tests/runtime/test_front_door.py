"""The top level of the package: help that runs, callables that are modules too, and errors where torch is missing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

import executorch_ggml

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[[str], str]

NO_TORCH = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {name!r}", name="torch")
sys.meta_path.insert(0, Absent())
"""


@pytest.mark.quick
def test_help_begins_with_use_and_imports_no_torch(run_python: Run) -> None:
    out = run_python("""
import pydoc, sys, executorch_ggml
text = pydoc.plain(pydoc.render_doc(executorch_ggml))
print("torch" in sys.modules, text.index("from executorch_ggml import") < 500, text.count("Error(GgmlError"))
print("class Program" in text, "class Tokenizer" in text, "class GGUFModule" in text)
""")
    assert out.split() == ["False", "True", "0", "True", "True", "True"]


def test_the_programs_of_help_run_in_silence(tmp_path: Path) -> None:
    shutil.copy(ROOT / "assets" / "scripture-2.9m-q8_0.gguf", tmp_path / "model.gguf")
    doc = executorch_ggml.__doc__ or ""
    blocks = re.findall(r"(?m)(?:^    .*\n)+", doc)
    assert len(blocks) == 5
    (tmp_path / "help.py").write_text("".join(textwrap.dedent(block) for block in blocks) + "assert len(ids) >= 3\n")
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        [sys.executable, "help.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "cpu" in done.stdout
    assert "fits" in done.stdout


@pytest.mark.quick
@pytest.mark.parametrize(
    "imports",
    [
        "import executorch_ggml",
        "import executorch_ggml.{name}",
        "from executorch_ggml import {name}",
        "import executorch_ggml; executorch_ggml.{name}; import executorch_ggml.{name} as module",
        "import executorch_ggml.{room}",
        "import executorch_ggml.{room}; import executorch_ggml.{name}",
    ],
)
@pytest.mark.parametrize(
    ("name", "room", "other"), [("check", "runtime.check", "Report"), ("devices", "runtime.devices", "Device")]
)
def test_a_callable_is_its_module_in_every_order(
    run_python: Run, imports: str, name: str, room: str, other: str
) -> None:
    argument = '"/nowhere.pte"' if name == "check" else ""
    out = run_python(f"""
{imports.format(name=name, room=room)}
import executorch_ggml, inspect, importlib
from executorch_ggml.{name} import {other}
from executorch_ggml.{name} import {name} as function
assert executorch_ggml.{name} is importlib.import_module("executorch_ggml.{room}")
assert executorch_ggml.{name}.{other} is {other}
assert inspect.signature(executorch_ggml.{name}) == inspect.signature(function)
try:
    print(type(executorch_ggml.{name}({argument})).__name__)
except executorch_ggml.FileError as error:
    print("FileError")
""")
    assert out.strip() == ("FileError" if name == "check" else "list")


def test_diff_and_explain_are_called_and_imported_from(run_python: Run) -> None:
    out = run_python("""
import torch, executorch_ggml
from executorch_ggml import diff, explain
from executorch_ggml.diff import DiffReport
from executorch_ggml.explain import explain as function
model, inputs = torch.nn.GELU(), (torch.randn(1, 8),)
print(isinstance(diff(model, inputs), DiffReport), executorch_ggml.diff.DiffReport is DiffReport)
print(type(explain(model, inputs)) is type(function(model, inputs)))
try:
    diff("x.pte", dynamic_shapes=({},))
except executorch_ggml.InvalidArgumentError as error:
    print(error)
""")
    first, second, third = out.splitlines()
    assert (first, second) == ("True True", "True")
    assert third == "x.pte: dynamic_shapes goes with a model, not with a .pte"


@pytest.mark.quick
@pytest.mark.parametrize("name", [n for n in executorch_ggml.__all__ if not n.endswith("Error")])
def test_without_torch_a_name_works_or_says_how_to_get_torch(run_python: Run, name: str) -> None:
    out = run_python(f"""{NO_TORCH}
import executorch_ggml
try:
    executorch_ggml.{name}
    print("works")
except executorch_ggml.LibraryError as error:
    print(error)
""")
    ahead_of_time = ("GgmlPartitioner", "GgmlQuantConfig", "diff", "explain", "export_with_gguf", "load_gguf",
                     "to_edge_rewrite_and_lower")  # fmt: skip
    assert ("pip install 'executorch-ggml[export]'" if name in ahead_of_time else "works") in out


@pytest.mark.quick
def test_without_torch_an_export_says_how_to_get_it(run_python: Run, tmp_path: Path) -> None:
    gguf = ROOT / "assets" / "scripture-2.9m-q8_0.gguf"
    out = run_python(f"""{NO_TORCH}
from executorch_ggml import LibraryError, export_gguf_to_pte
try:
    export_gguf_to_pte({str(gguf)!r}, {str(tmp_path / "m.pte")!r})
except LibraryError as error:
    print(error)
""")
    assert "pip install 'executorch-ggml[export]'" in out
