"""The options of sampling: given ones, else the file's, else common values."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import echo_err

if TYPE_CHECKING:
    from executorch_ggml.llm.text.sampling import Sampling

_PANEL = "Sampling (default: the file's values, or those in brackets)"


def _option(*names: str, help: str, **limits: Any) -> Any:
    return typer.Option(*names, help=help, show_default=False, rich_help_panel=_PANEL, **limits)


Temperature = Annotated[
    float | None, _option("--temperature", "--temp", min=0.0, help="0 takes the most likely token. [0.7]")
]
TopK = Annotated[int | None, _option("--top-k", min=0, help="Choose among the k most likely; 0 = all. [40]")]
TopP = Annotated[
    float | None, _option("--top-p", min=0.0, max=1.0, help="Choose among the most likely that sum to p. [0.95]")
]
MinP = Annotated[float | None, _option("--min-p", min=0.0, max=1.0, help="Drop what is this much less likely. [0.05]")]
RepeatPenalty = Annotated[float | None, _option("--repeat-penalty", help="Above 1 discourages repetition. [1]")]
Seed = Annotated[int | None, _option("--seed", min=0, help="0 = another one each time. [0]")]


def chosen_sampling(defaults: Sampling, *, quiet: bool, **given: Any) -> Sampling:
    """The sampling of a run. Options that have no effect are named on stderr."""
    named = {name: value for name, value in given.items() if value is not None}
    sampling = replace(defaults, **named)
    idle = [f"--{name.replace('_', '-')}" for name in named if name in ("top_k", "top_p", "min_p", "seed")]
    if sampling.temperature == 0 and idle and not quiet:
        echo_err(f"[at temperature 0 the most likely token is taken: {', '.join(idle)} without effect]")
    return sampling
