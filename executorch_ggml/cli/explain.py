"""``executorch-ggml explain``: the operators of a model that ggml would run, and why not the others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from executorch_ggml.errors import UndelegatedError

from .errors import FAILED, unusable_is_usage
from .options import AsJson, echo, print_json

if TYPE_CHECKING:
    from executorch_ggml.aot.explanation import Explanation


def explain(
    path: Annotated[Path, typer.Argument(help="A model: .py, or .pt2 from torch.export.save.", metavar="MODEL")],
    nodes: Annotated[bool, typer.Option("--nodes", help="Every operator in a row of its own.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail when an operator that costs time is not delegated.")
    ] = False,
    device: Annotated[
        str | None, typer.Option("--device", help="Run it once there and name what that device cannot run.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Lower a model and report the delegated operators, why others are not, and the bytes that cross the boundary.

    Exit code 0; 1 with --strict when something hot is not delegated; 2: a file or model that cannot be used.
    """
    with unusable_is_usage():
        explanation = _explanation(path, device)
    if as_json:
        print_json(explanation.as_dict())
    else:
        echo(str(explanation))
        if nodes:
            echo("\n" + explanation.table())
    if strict:
        try:
            explanation.require_delegated()
        except UndelegatedError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(FAILED) from None


def _explanation(path: Path, device: str | None) -> Explanation:
    try:
        import torch  # noqa: F401 - here for the message
    except ImportError:
        raise ImportError("explaining needs torch: pip install 'executorch-ggml[export]'") from None
    # Late: it imports torch, which takes seconds and may be missing.
    from executorch_ggml.analysis.explain import explain as run
    from executorch_ggml.analysis.model_file import load_model_file

    model = load_model_file(path)
    return run(model.program, partitioner=model.partitioner, device=device)
