"""Text tables: printing rows in aligned columns on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from shutil import get_terminal_size

import click

#: Characters; the first column is not shortened below this to fit the terminal.
_MIN_FIRST_COLUMN = 10


def print_table(rows: Sequence[Sequence[object]], *, max_cell: int | None = None) -> None:
    """Print rows in columns. Cells that are too long are cut and end in an ellipsis.

    Args:
        rows: the header and the rows, all of the same length.
        max_cell: upper limit of the characters of each cell. If None, only the first column is
            shortened, as far as needed for a line to fit the terminal.

    """
    cells = [[printable(str(cell)).replace("\n", "?") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    if max_cell is None:
        others = sum(widths[1:]) + 2 * len(widths[1:])
        widths[0] = min(widths[0], max(_MIN_FIRST_COLUMN, get_terminal_size().columns - others))
    else:
        widths = [min(width, max_cell) for width in widths]
    for row in cells:
        line = (_fit(cell, width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(line).rstrip())


def printable(text: str) -> str:
    """Return a text without control characters except line breaks.

    Texts from Anam or from a configuration could otherwise move the cursor of a terminal.
    """
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)


def _fit(cell: str, width: int) -> str:
    return cell.ljust(width) if len(cell) <= width else f"{cell[: width - 1]}…"
