"""Runs of a small network for the tests of the pipeline, and what its folders hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mckp_quant as mq

from ..search import small

if TYPE_CHECKING:
    from pathlib import Path

BUDGET = {"bits_per_weight": 5}
TIMED = {"step.json", "provenance.json"}  # files that say when, and how long


def quantized(**changed: Any) -> mq.Quantized:
    """A run that takes little: weights to nearest, nothing refined."""
    asked: dict[str, Any] = {"formats": "w2,w4,w8", "rounder": "nearest", "evaluations": 0, **changed}
    request = asked.pop("request", BUDGET)
    batches = asked.pop("batches", None)
    return mq.quantize(small.network(), small.data(samples=96) if batches is None else batches, request, **asked)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a run but those that say when."""
    found = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in TIMED)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}
