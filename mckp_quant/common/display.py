"""HTML and drawings for people: the same code that shows the results of the solvers."""

from __future__ import annotations

from ..solvers.display.axes import LETTER, Scale, cut, drawing, frame, letters, levels, line, place_names, short
from ..solvers.display.faces import Face, bar, grid, heat
from ..solvers.display.figures import counted, log_share, number, percent, with_error
from ..solvers.display.markup import Markup, element, joined, name_of
from ..solvers.display.staircase import Mark, draw_staircase

__all__ = [
    "LETTER",
    "Face",
    "Mark",
    "Markup",
    "Scale",
    "bar",
    "counted",
    "cut",
    "draw_staircase",
    "drawing",
    "element",
    "frame",
    "grid",
    "heat",
    "joined",
    "letters",
    "levels",
    "line",
    "log_share",
    "name_of",
    "number",
    "percent",
    "place_names",
    "short",
    "with_error",
]
