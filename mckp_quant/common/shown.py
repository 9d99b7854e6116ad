"""Text for people, as the solvers show it: nothing in it moves the cursor, hides or turns the order of what is read."""

from __future__ import annotations

from ..solvers.display.shown import shown

__all__ = ["shown"]
