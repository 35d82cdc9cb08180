"""``executorch-ggml inspect``: the contents of a `.pte` (or a GGUF)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Annotated, Any

import typer

from executorch_ggml.errors import FileError, FormatError, GgmlError
from executorch_ggml.errors.printable import printable
from executorch_ggml.errors.tables import table

from .model import is_gguf
from .options import AsJson, echo, print_json, size

if TYPE_CHECKING:
    from executorch_ggml.runtime.program import Payload


def inspect(
    path: Annotated[Path, typer.Argument(help="A .pte, or a GGUF file.", metavar="FILE")],
    ir: Annotated[bool, typer.Option("--ir", help="Print every node of the delegated graphs.")] = False,
    weights: Annotated[
        bool, typer.Option("--weights", help="List every weight: those the graphs need, or the tensors of a GGUF.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the graphs of a .pte: sizes, inputs and outputs, operators, weights, states; with --ir every node."""
    if is_gguf(path):
        _inspect_gguf(path, weights, as_json)
        return
    # Late: --help and other commands start without it.
    from executorch_ggml.runtime.program import payloads

    _verify(path)
    found = payloads(path)
    described = [_describe(payload) for payload in found]
    if as_json:
        print_json({"path": str(path), "bytes": path.stat().st_size, "payloads": described})
        return
    echo(f"{path}: {size(path.stat().st_size)}, {len(found)} delegated graph{'s' if len(found) != 1 else ''}")
    for payload, entry in zip(found, described, strict=True):
        echo("\n" + _text(entry, weights))
        if ir:
            echo("\n" + _dump(payload))


def _verify(path: Path) -> None:
    """The library's verdict on damaged payloads, which it reaches faster and in more detail than decoding them.

    Other errors stay: a program that cannot be run here can still be looked at.
    """
    # Late: --help and other commands start without it.
    from executorch_ggml.runtime.check import check

    try:
        check(path)
    except (FileError, FormatError):
        raise
    except GgmlError:
        pass


def _dump(payload: Payload) -> str:
    # Late: --help and other commands start without it.
    from executorch_ggml.ir.dump import dump

    try:
        return dump(payload.data)
    except Exception as error:
        raise FormatError(f"method {payload.method!r}, graph {payload.index}: cannot be read: {error}") from error


def _inspect_gguf(path: Path, weights: bool, as_json: bool) -> None:
    # Late: --help and other commands start without it.
    from executorch_ggml.gguf.summary import GGUFAnalyzer

    analyzer = GGUFAnalyzer(path)
    if as_json:
        rows = [dict(zip(("name", "type", "shape"), row, strict=True)) for row in analyzer.tensor_rows()]
        print_json({**analyzer.get_file_info(), **({"weights": rows} if weights else {})})
    else:
        echo(analyzer.summary(weights))


def _describe(payload: Payload) -> dict[str, Any]:
    """The facts of one graph. The bytes are unverified: any error of decoding them is a FormatError."""
    # Late: --help and other commands start without it.
    from executorch_ggml.ir.serialize import deserialize

    try:
        return _facts(payload, deserialize(payload.data))
    except Exception as error:
        raise FormatError(f"method {payload.method!r}, graph {payload.index}: cannot be read: {error}") from error


def _facts(payload: Payload, graph: Any) -> dict[str, Any]:
    # Late: --help and other commands start without it.
    from executorch_ggml.ir import _ggml_ir
    from executorch_ggml.ir.types import GgmlType

    names = {number: name for name, number in vars(_ggml_ir.Op).items() if not name.startswith("_")}
    operators = Counter(names.get(node.opType, str(node.opType)) for node in graph.nodes)
    symbols = [_string(symbol.name) for symbol in graph.symbols or []]

    def dims(values: Any) -> list[int | str]:
        return [int(v) if v >= 0 else _expression(graph.exprs[-int(v) - 1], symbols) for v in values]

    def shape(index: int) -> list[int | str]:
        ne = dims(graph.shapes[index].ne)
        while len(ne) > 1 and ne[-1] == 1:
            ne.pop()
        return ne

    return {
        "method": payload.method,
        "index": payload.index,
        "bytes": len(payload.data),
        "version": graph.version,
        "producer": _string(graph.producer),
        "symbols": [
            {"name": name, "min": symbol.min, "max": symbol.max}
            for name, symbol in zip(symbols, graph.symbols or [], strict=True)
        ],
        "inputs": [_value(item, dims) for item in graph.inputs or []],
        "outputs": [_value(item, dims) for item in graph.outputs or []],
        "nodes": len(graph.nodes),
        "operators": dict(operators.most_common()),
        "weights": [
            {
                "name": _string(slot.name),
                "keys": [[_string(key) for key in part.keys] for part in slot.parts or []],
                "shape": shape(slot.shape),
                "type": None if slot.type == GgmlType.ANY else slot.type,
            }
            for slot in graph.weights or []
        ],
        "states": [{"name": _string(state.name), "shape": shape(state.shape)} for state in graph.states or []],
        "expects": {_string(item.key): _string(item.value) for item in graph.expectations or []},
    }


def _value(item: Any, dims: Any) -> dict[str, Any]:
    return {"name": _string(item.name), "dtype": item.dtype, "shape": dims(item.dims if item.dims is not None else [])}


def _expression(expr: Any, symbols: list[str]) -> str:
    """Postfix to text."""
    stack: list[str] = []
    signs = {2: "+", 3: "-", 4: "*", 5: "//", 6: "ceil/", 7: "%"}
    for step in expr.code:
        if step.code == 0:
            stack.append(str(step.arg))
        elif step.code == 1:
            stack.append(symbols[step.arg])
        else:
            right, left = stack.pop(), stack.pop()
            function = {8: "max", 9: "min"}.get(step.code)
            stack.append(f"{function}({left}, {right})" if function else f"({left} {signs[step.code]} {right})")
    return stack[-1].removeprefix("(").removesuffix(")") if stack[-1].count("(") == 1 else stack[-1]


def _string(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")


def _text(entry: dict[str, Any], weights: bool) -> str:
    def sides(items: list[dict[str, Any]]) -> str:
        return ", ".join(f"{item['name']} {_shape(item['shape'])}" for item in items)

    title = f"method {entry['method']!r}, graph {entry['index']}: {size(entry['bytes'])}, {entry['nodes']} nodes"
    rows = [
        ("inputs", sides(entry["inputs"])),
        ("outputs", sides(entry["outputs"])),
        *(("symbol", f"{s['name']}: {s['min']} .. {s['max']}") for s in entry["symbols"]),
        ("operators", ", ".join(f"{name} {count}" for name, count in entry["operators"].items())),
        ("states", str(len(entry["states"])) + _first(entry["states"])),
        *(("expects", f"{key} = {value}") for key, value in entry["expects"].items()),
        ("weights", str(len(entry["weights"])) + ("" if weights else _first(entry["weights"]))),
    ]
    text = printable(title, one_line=True) + "\n" + indent(table(rows), "  ")
    if weights and entry["weights"]:
        text += "\n" + indent(table([(_shape(s["shape"]), s["name"]) for s in entry["weights"]], right=(0,)), "    ")
    return text


def _first(items: list[dict[str, Any]]) -> str:
    return f": {items[0]['name']} {_shape(items[0]['shape'])}, ..." if items else ""


def _shape(dims: list[int | str]) -> str:
    return "[" + ", ".join(map(str, dims)) + "]"
