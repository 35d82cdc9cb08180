"""Facts about the operators of the IR: stated once, in the schema, and the same table in every place that reads it."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from types import ModuleType

import pytest

from executorch_ggml.ir import _ggml_ir as fbs
from executorch_ggml.ir import kernels, kernels_2d, kernels_recurrent, kernels_running
from executorch_ggml.ir.builder import BinaryKind, Builder, Cell, DType, GluKind, HiddenKeys, ScatterKind, UnaryKind
from executorch_ggml.ir.errors import IrError
from executorch_ggml.ir.graph import Activation
from executorch_ggml.ir.interpret import snake
from executorch_ggml.ir.operators import CALLER, operators

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "schema" / "ggml_ir.fbs"

LISTS = {
    "executorch_ggml/ir/interpret.py": "leaves, with a function for each",
    "executorch_ggml/ir/serialize.py": "leaves, with the field that is numbered anew",
    "executorch_ggml/ir/fuse.py": "products that have the field `then`, and the operators that it can stand for",
    "executorch_ggml/aot/ops/attention.py": "ways from a mask back to its source",
    "executorch_ggml/aot/quantization.py": "readers of weights, by the formats that they accept",
    "executorch_ggml/analysis/diff/inputs.py": "readers that want an index, a position or a mask for an input",
}
"""Files that may name several operators in one expression, and the reason why that is no fact of the schema."""


def load_generator() -> ModuleType:
    path = ROOT / "cmake" / "ir_operators.py"
    spec = importlib.util.spec_from_file_location("ir_operators", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


generator = load_generator()


def members() -> list[str]:
    return [name for name in vars(fbs.Op) if not name.startswith("_") and name != "NONE"]


def test_every_member_of_the_union_has_a_row_with_the_schemas_facts() -> None:
    stated = generator.read(SCHEMA.read_text(encoding="utf-8"))
    assert [op.name for op in stated.operators] == members() == list(operators())
    assert (stated.version, stated.min_reader) == (fbs.VERSION, fbs.MIN_READER)
    for op in stated.operators:
        ours = operators()[op.name]
        for fact in ("least", "most", "memory", "type_of", "writes", "moves", "row_numbers", "axis", "places", "since"):
            assert getattr(ours, fact) == getattr(op, fact), (op.name, fact)
        fields = [name for name in vars(getattr(fbs, op.name + "T")()) if not name.startswith("_")]
        assert ours.has_fields == bool(fields), op.name


def test_every_operator_has_a_numpy_kernel() -> None:
    found = {name for module in (kernels, kernels_2d, kernels_recurrent, kernels_running) for name in vars(module)}
    missing = [
        name
        for name, facts in operators().items()
        if name != "InputLeaf" and facts.memory < 0 and facts.memory != CALLER and snake(name) not in found
    ]
    assert not missing


def test_every_operator_has_one_native_row() -> None:
    rows = [
        name
        for path in sorted((ROOT / "csrc" / "graph" / "ops").glob("*.cpp"))
        for name in re.findall(r"^const OpRow k(\w+)Row = row<fb::Op_\1, ", path.read_text(encoding="utf-8"), re.M)
    ]
    assert sorted(rows) == sorted(members())


@pytest.mark.parametrize(
    "ours", [UnaryKind, BinaryKind, GluKind, ScatterKind, HiddenKeys, Cell, Activation], ids=lambda e: e.__name__
)
def test_enumerations_are_numbered_as_in_the_schema(ours: type[IntEnum]) -> None:
    schema = {name: n for name, n in vars(getattr(fbs, ours.__name__)).items() if not name.startswith("_")}
    # `None` of the schema is `None_` in Python.
    assert {snake(name.rstrip("_")).upper(): n for name, n in schema.items()} == {m.name: m.value for m in ours}


def test_the_builder_counts_sources() -> None:
    b = Builder()
    x = b.f32(b.add_input("x", (3, 4), DType.FLOAT32))
    with pytest.raises(IrError, match=r"SetRows of 1 sources, expected 3\.\.3"):
        b._emit("SetRows", (x,), x.shape, dtype=x.dtype)


@pytest.mark.parametrize(
    "old, new, message",
    [
        ('table Scale (sources: "1")', "table Scale", "Scale: a member of the union Op needs"),
        ('table Scale (sources: "1")', 'table Scale (sources: "2..1")', "sources 2..1"),
        ('table Scale (sources: "1")', 'table Scale (sources: "one")', "'one' is not a number"),
        ('table Scale (sources: "1")', 'table Scale (sources: "1", moved: "0")', "unknown attribute moved"),
        ('table Scale (sources: "1")', 'table Scale (sources: "1", moves: "1")', "moves names source 1 of 1"),
        ('table Scale (sources: "1")', 'table Scale (sources: "1", writes)', "the memory of which source"),
        ('table Scale (sources: "1")', 'table Scale (sources: "1", since: "99")', "since 99"),
        (
            "scale: float; bias: float;",
            'scale: float (until: "9"); bias: float;',
            "Scale.scale: unknown attribute until",
        ),
        ('since: "Power 3"', 'since: "Powre 3"', "no value 'Powre'"),
        ("Unary, LeakyRelu,", "Unary, LeakyRelu, Unheard,", "Unheard, which is no table"),
        ("Unary, LeakyRelu,", "Unary,", "table LeakyRelu has the attribute sources"),
    ],
)
def test_the_generator_refuses_facts_that_make_no_sense(old: str, new: str, message: str) -> None:
    text = SCHEMA.read_text(encoding="utf-8")
    assert text.count(old) == 1
    with pytest.raises(generator.SchemaError, match=re.escape(message)):
        generator.read(text.replace(old, new))


def test_a_node_needs_the_reader_that_its_fields_need() -> None:
    ops = operators()
    assert ops["Clamp"].reader({"min": 0.0, "max": 1.0, "keeps_nan": False}) == 0
    assert ops["Clamp"].reader({"min": 0.0, "max": 1.0, "keeps_nan": True}) == 3
    assert ops["Unary"].reader({"kind": int(UnaryKind.GELU_TANH), "parameter": 0.0}) == 0
    assert ops["Unary"].reader({"kind": int(UnaryKind.POWER), "parameter": 0.5}) == 3
    assert ops["Unary"].reader({"kind": int(UnaryKind.TANHSHRINK)}) == 3
    assert ops["Scatter"].reader({"kind": 0}) == 3


def listed_in_python(path: Path, names: frozenset[str]) -> Iterator[int]:
    """Lines of collections, and of chains of `or`, that name two operators or more."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.Set, ast.Tuple, ast.List)):
            parts: list[ast.expr] = node.elts
        elif isinstance(node, ast.Dict):
            parts = [key for key in node.keys if key is not None]
        else:
            continue
        if len({p.value for p in parts if isinstance(p, ast.Constant) and p.value in names}) > 1:
            yield node.lineno


def test_no_list_of_operators_states_a_fact_again() -> None:
    names = frozenset(members())
    found = {
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "executorch_ggml").rglob("*.py"))
        if path.name != "_ggml_ir.py" and any(listed_in_python(path, names))
    }
    assert found <= set(LISTS), "state the fact in schema/ggml_ir.fbs, or say in LISTS why it is none"
    listed = re.compile(
        r"case (?:ir::)?fb::Op_\w+:\s*case (?:ir::)?fb::Op_|fb::Op_(?!NONE)\w+ \|\|[^;{]*fb::Op_(?!MAX)"
    )
    native = [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "csrc").rglob("*.*"))
        if path.suffix in (".h", ".cpp") and listed.search(path.read_text(encoding="utf-8"))
    ]
    assert not native, "state the fact in schema/ggml_ir.fbs"
