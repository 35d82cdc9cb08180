"""A line on stderr while something takes time: the work, its present stage, the seconds so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from executorch_ggml.errors.printable import printable


@contextmanager
def stages(what: str) -> Iterator[Callable[[str], None]]:
    """Gives a function to name each stage with. Nothing is drawn before the first, or where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        tasks: list[object] = []
        title = printable(what, one_line=True)

        def stage(name: str) -> None:
            text = f"{title}: {printable(name, one_line=True)}"
            if not tasks:
                tasks.append(bar.add_task(text, total=None))
            else:
                bar.update(tasks[0], description=text)  # type: ignore[arg-type]

        yield stage
