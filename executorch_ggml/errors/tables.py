"""Tables as text: the same in a terminal, a pipe, a log and a message. No colours, nothing cut off, nothing folded."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

from .printable import printable


def table(
    rows: Iterable[Sequence[object]],
    header: Sequence[str] = (),
    *,
    right: Sequence[int] = (),
    markdown: bool = False,
) -> str:
    """The rows in aligned columns, one line each; control characters are written out.

    Args:
        rows: the cells, as many in each row as in the first.
        header: names of the columns. Without names there is no line for them.
        right: numbers of the columns that are aligned to the right.
        markdown: with the lines of a Markdown table.
    """
    # Late: only output needs it, and programs that print nothing start faster.
    from rich.box import MARKDOWN
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = [[printable(cell, one_line=True) for cell in row] for row in rows]
    count = len(header) or max(map(len, cells), default=0)
    for row in cells:
        if len(row) != count:
            raise ValueError(f"a row of {len(row)} cells in a table of {count} columns")
    if markdown:
        cells = [[cell.replace("|", "\\|") for cell in row] for row in cells]
        grid = Table(box=MARKDOWN, padding=(0, 1), show_header=True)
    else:
        grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=bool(header))
    for i in range(count):
        name = Text(header[i]) if header else ""
        grid.add_column(name, justify="right" if i in right else "left")
    for row in cells:
        grid.add_row(*map(Text, row))  # as text: a name may look like rich's markup
    out = io.StringIO()
    # As wide as the table, since rich cuts off or folds the rest; a character takes two columns at most.
    width = 2 * sum(max([len(row[i]) for row in [*cells, header] if row]) + 2 for i in range(count)) + 2
    console = Console(file=out, width=width, color_system=None, force_terminal=False, legacy_windows=False)
    console.print(grid)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines() if line.strip() or not markdown)
