"""Tables of plain text that fit a width: headings over a rule, and nothing else, in ASCII."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text

from ..common.shown import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console, ConsoleOptions, RenderResult

CUT = "\u2026"  # stands for what was left out of a name
_GAPS = (3, 2)  # between columns, the wide one where there is room for it
_NAME, _WORDS = 14, 12  # columns that names and sentences keep at least
_HEADS = (1 / 2, 2 / 3, 1 / 3)  # shares of a cut name that stand before the cut, tried in turn
_ERROR = " +- "  # a number and its error stay in one line


@dataclass(frozen=True)
class Ruled:
    """A table. Where it is too wide, sentences and headings are wrapped and names lose their middle; what is still
    too wide is set below, with the first columns again.

    Attributes
    ----------
    headings
        Of the columns.
    rows
        Of cells.
    left
        How many columns, from the first, are words; the others are numbers, and end at the right.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Give the lines."""
        for line in self.lines(options.max_width):
            yield Text(line, no_wrap=True, overflow="ignore")

    def lines(self, width: int) -> list[str]:
        """The lines of the table, none longer than `width`, unless one column alone is."""
        columns = [
            _Column(heading, tuple(row[at] for row in self.rows), at < self.left)
            for at, heading in enumerate(self.headings)
        ]
        found: list[str] = []
        for block in _blocks(columns, width):
            found += [""] if found else []
            found += _drawn(block, width)
        return found


@dataclass(frozen=True)
class _Column:
    """A column as it was given."""

    heading: str
    cells: tuple[str, ...]
    left: bool

    @cached_property
    def natural(self) -> int:
        """The width at which nothing is wrapped or cut."""
        return max(map(cell_len, (self.heading, *self.cells)))

    @cached_property
    def least(self) -> int:
        """The width below which it cannot be read any more."""
        return max([self._least_heading, *(self._least_of(cell) for cell in self.cells)])

    @cached_property
    def least_with_whole_cells(self) -> int:
        """The width at which only the heading is wrapped."""
        return max([self._least_heading, *map(cell_len, self.cells)])

    @property
    def _least_heading(self) -> int:
        return max(map(cell_len, self.heading.split()), default=0)

    def _least_of(self, cell: str) -> int:
        if _is_number(cell):
            return cell_len(cell)
        if " " in cell:
            return min(cell_len(cell), max(_WORDS, *(cell_len(word) for word in cell.split())))
        return min(cell_len(cell), self._least_name) if self.left else cell_len(cell)

    @cached_property
    def _least_name(self) -> int:
        """The width at which names that differ do so still."""
        return next(width for width in range(_NAME, max(_NAME, self.natural) + 1) if self.cut_to(width) is not None)

    def cut_to(self, width: int) -> Callable[[str], str] | None:
        """How names are cut so that those that differ do so still, or None where that cannot be done."""
        names = {cell for cell in self.cells if " " not in cell}
        for share in _HEADS:
            head = int((width - 1) * share)

            def cut(name: str, head: int = head) -> str:
                return middle_cut(name, width, head)

            if len({cut(name) for name in names}) == len(names):
                return cut
        return None

    def wrapped(self, width: int) -> list[list[str]]:
        """The lines of the heading, and of every cell."""
        cut = self.cut_to(width) or (lambda name: middle_cut(name, width, (width - 1) // 2))
        found = [_wrapped(self.heading, width)]
        for cell in self.cells:
            found.append(_wrapped(cell, width) if " " in cell and not _is_number(cell) else [cut(cell)])
        return found


def middle_cut(name: str, width: int, head: int) -> str:
    """A name without its middle where it is wider, `head` columns of it before the cut."""
    return name if cell_len(name) <= width else f"{name[:head]}{CUT}{name[len(name) - (width - 1 - head) :]}"


def ruled(headings: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> Ruled:
    """A table of what may be shown."""
    return Ruled(tuple(map(shown, headings)), tuple(tuple(map(shown, row)) for row in rows), left)


def wrapped_line(line: str, width: int) -> list[str]:
    """A line for people, wrapped: what goes on stands below the words behind its label, dash or indentation."""
    if cell_len(line) <= width:
        return [line]
    start = len(line) - len(line.lstrip())
    label, gap, value = line.strip().partition("  ")
    if line.startswith("- "):
        start = 2
    elif gap:
        start += len(label) + len(gap) + len(value) - len(value.lstrip())
    hanging = start if 2 * start <= width else 2
    return _wrapped(line, width, " " * hanging)


def _wrapped(text: str, width: int, hanging: str = "") -> list[str]:
    return textwrap.wrap(text, max(width, 1), subsequent_indent=hanging, break_on_hyphens=False) or [""]


def _is_number(cell: str) -> bool:
    return _ERROR in cell or not any(each.isalpha() for each in cell)


def _blocks(columns: Sequence[_Column], width: int) -> list[list[_Column]]:
    """The columns in as many tables as it takes, with the first ones in each."""
    if _least(columns) <= width:
        return [list(columns)]
    keys = [column for column in columns if column.left]
    if 2 * _least(keys) > width or len(keys) == len(columns):
        keys = list(columns[:1])
    found, block = [], list(keys)
    for column in columns[len(keys) :]:
        if len(block) > len(keys) and _least([*block, column]) > width:
            found.append(block)
            block = list(keys)
        block.append(column)
    return [*found, block]


def _least(columns: Sequence[_Column]) -> int:
    return sum(column.least for column in columns) + _GAPS[-1] * (len(columns) - 1)


def _drawn(columns: Sequence[_Column], width: int) -> list[str]:
    widths = [column.natural for column in columns]
    gap = next((gap for gap in _GAPS if sum(widths) + gap * (len(widths) - 1) <= width), _GAPS[-1])
    # Headings are wrapped first, since that costs no reader anything, then sentences and names; in the end names may
    # look alike, which their order tells apart still. Numbers stay whole.
    for least in (
        [column.least_with_whole_cells for column in columns],
        [column.least for column in columns],
        [min(column.least, _NAME) if column.left else column.least for column in columns],
    ):
        while sum(widths) + gap * (len(widths) - 1) > width:
            shrinkable = [at for at in range(len(widths)) if widths[at] > least[at]]
            if not shrinkable:
                break
            widths[max(shrinkable, key=lambda at: widths[at])] -= 1
    cells = [column.wrapped(wide) for column, wide in zip(columns, widths, strict=True)]
    found = []
    for number, row in enumerate(zip(*cells, strict=True)):
        high = max(map(len, row))
        for at in range(high):
            parts = []
            for lines, column, wide in zip(row, columns, widths, strict=True):
                line = at - (high - len(lines)) if number == 0 else at  # headings stand on the rule
                text = lines[line] if 0 <= line < len(lines) else ""
                space = " " * (wide - cell_len(text))
                parts.append(text + space if column.left else space + text)
            found.append((" " * gap).join(parts))
        if number == 0:
            found.append("-" * (sum(widths) + gap * (len(widths) - 1)))
    return found
