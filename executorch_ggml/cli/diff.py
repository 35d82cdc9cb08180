"""``executorch-ggml diff``: the first operation that goes wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from executorch_ggml.errors import InvalidArgumentError

from .errors import FAILED, unusable_is_usage
from .options import AsJson, Gguf, Threads, echo, print_json

if TYPE_CHECKING:
    from executorch_ggml.analysis.diff import DiffReport


def diff(
    path: Annotated[
        Path,
        typer.Argument(help="A model (.py, .pt2), against eager; a .pte, against the interpreter of its graphs."),
    ],
    gguf: Gguf = None,
    inputs: Annotated[
        Path | None,
        typer.Option("--inputs", "-i", help="Inputs: .npy, .npz or .pt; default: example or random ones."),
    ] = None,
    etrecord: Annotated[
        Path | None, typer.Option(help="Of the export of a .pte: names the line of the model of each node.")
    ] = None,
    method: Annotated[str, typer.Option(help="Of a .pte.")] = "forward",
    seed: Annotated[int, typer.Option(min=0, help="Of the random inputs of a .pte.")] = 0,
    nmse: Annotated[
        float | None, typer.Option(min=0, help="Allowed squared error over squared norm; default: by the types.")
    ] = None,
    peak: Annotated[
        float | None, typer.Option(min=0, help="Allowed largest error over the largest value; default: by the types.")
    ] = None,
    worst: Annotated[int, typer.Option(min=0, help="Rows of the table.")] = 10,
    threads: Threads = 0,
    as_json: AsJson = False,
) -> None:
    """Name the first operation with a result over tolerance, with its source line and the numbers.

    Exit code 0: all within tolerance, 1: not, 2: a file or option that cannot be used.
    """
    with unusable_is_usage():
        of_pte = {"gguf": gguf, "etrecord": etrecord, "method": method, "seed": seed}
        report = _report(path, inputs, of_pte, {"nmse": nmse, "peak": peak, "threads": threads})
    if as_json:
        print_json(report.as_dict(worst))
    else:
        echo(report.text(worst))
    if not report.ok:
        raise typer.Exit(FAILED)


def _report(path: Path, inputs: Path | None, of_pte: dict[str, Any], options: dict[str, Any]) -> DiffReport:
    try:
        import torch  # noqa: F401 - here for the message
    except ImportError:
        raise ImportError("comparing needs torch: pip install 'executorch-ggml[export]'") from None
    # Late: it imports torch, which takes seconds and may be missing.
    from executorch_ggml.analysis.diff import diff_model, diff_pte
    from executorch_ggml.analysis.diff.inputs import read_inputs

    given = read_inputs(inputs) if inputs is not None else None
    if path.suffix == ".pte":
        return diff_pte(path, given, **of_pte, **options)
    if of_pte["etrecord"] is not None:
        raise InvalidArgumentError(f"{path}: --etrecord goes with a .pte; a model has its source")
    if of_pte["gguf"] is not None:
        return _bound(path, of_pte["gguf"], given, options)
    # Late: it imports torch, which takes seconds and may be missing.
    from executorch_ggml.analysis.model_file import load_model_file

    model = load_model_file(path)
    kwargs = model.kwargs if given is None else {}
    arguments = [_torch_of(value) for value in given] if given is not None else model.args
    return diff_model(model.program, arguments, kwargs, partitioner=model.partitioner, subject=str(path), **options)


def _bound(path: Path, gguf: Path, given: Any, options: dict[str, Any]) -> DiffReport:
    """A module with the weights of a file: eager has them dequantised, the library as they are."""
    # Late: it imports torch, which takes seconds and may be missing.
    from executorch_ggml.analysis.diff import diff_model
    from executorch_ggml.analysis.model_file import load_definition
    from executorch_ggml.llm.bind.export import bound_partitioner
    from executorch_ggml.llm.bind.load import load_gguf

    found = load_definition(path)
    names = {name: value for name, value in found.binding.items() if name in ("names", "own")}
    partitioner, types = bound_partitioner(found.module, gguf, **names)
    program = found.export(load_gguf(found.module, gguf, **names))
    arguments = [_torch_of(value) for value in given] if given is not None else found.args
    kwargs = found.kwargs if given is None else {}
    return diff_model(
        program, arguments, kwargs, partitioner=partitioner, gguf=gguf, weight_types=types, subject=str(path), **options
    )


def _torch_of(value: Any) -> Any:
    """A tensor of an array; tensors and numbers as they are."""
    import numpy as np
    import torch

    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value
