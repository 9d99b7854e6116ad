"""The option that draws a result: the same in every command whose result has a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...common.packages import require
from ...report.plots.canvas import WITHOUT, check_picture, save_figure
from ..console import note
from ..options import check_output

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class PictureOptions:
    """Where the result is drawn."""

    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Where to draw the result, as .png or .svg.")
    ] = None

    def check(self) -> None:
        """Refuse, before any work, what cannot be drawn.

        Raises
        ------
        InvalidInput
            When the file is no picture, or cannot be written.
        PackageMissing
            When matplotlib is not installed.
        """
        if self.plot is not None:
            check_output(self.plot, "--plot")
            check_picture(self.plot)
            require("matplotlib", "plot", WITHOUT)

    def draw(self, picture: Callable[[], Any]) -> None:
        """Draw and write what is wanted, and say so.

        Parameters
        ----------
        picture
            Makes the figure of matplotlib.
        """
        if self.plot is not None:
            save_figure(picture(), self.plot)
            note(f"wrote {self.plot}")
