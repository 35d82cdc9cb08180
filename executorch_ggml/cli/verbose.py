"""The option -v, which stands before or after the name of a command."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

_LOGGER = logging.getLogger("executorch_ggml")
_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)

Verbose = Annotated[int, typer.Option("--verbose", "-v", count=True, help="Log more: -v info, -vv debug.")]


def set_verbosity(count: int) -> None:
    """0: warnings, 1: info, 2 and more: debug."""
    _LOGGER.setLevel(_LEVELS[min(count, 2)])


def with_verbose(function: Callable[..., None]) -> Callable[..., None]:
    """The command with -v as an option of its own, which adds to that of the application."""

    @wraps(function)
    def command(*given: Any, verbose: int = 0, **named: Any) -> None:
        if verbose:
            set_verbosity(_LEVELS.index(_LOGGER.level) + verbose)
        function(*given, **named)

    signature = inspect.signature(function, eval_str=True)
    own = inspect.Parameter("verbose", inspect.Parameter.KEYWORD_ONLY, default=0, annotation=Verbose)
    parameters = [*signature.parameters.values(), own]
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command
