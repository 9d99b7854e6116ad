"""The command line: ``mckp-quant``, or ``python -m mckp_quant``."""

from __future__ import annotations

from .entry import main

__all__ = ["main"]
