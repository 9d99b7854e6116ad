"""What every room needs and none owns: documents and npz files, amounts with units, checks of numbers, run options.

Only the errors may be imported here. What knows of layers, formats or networks belongs in a room of its own.
"""

from __future__ import annotations

from .run_options import Progress, RunOptions

__all__ = [
    "Progress",
    "RunOptions",
]
