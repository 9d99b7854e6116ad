"""What a measurement will take, as text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from ..common.display import number
from .text import BLANK, table_of

if TYPE_CHECKING:
    from ..sensitivity.planning import Plan

_LONG = 120  # seconds from which minutes are easier to read, and minutes from which hours are


def plan_report(plan: Plan) -> Group:
    """The layers, the memory and the time of a planned measurement, with what the time is reckoned from."""
    layers = [
        (
            layer.name,
            layer.kind,
            " x ".join(map(str, layer.shape)),
            f"{layer.elements:,}",
            "-" if layer.macs is None else f"{layer.macs:,}",
        )
        for layer in plan.layers
    ]
    measured = sum(layer.elements for layer in plan.layers)
    kept = "activations and logits"
    if plan.blocks:
        kept = f"inputs of {plan.blocks} blocks, activations of one, and logits,"
    memory = [
        ("weights of the network", plan.weight_bytes - plan.mapped),
        ("the largest weight gradient, once, to check the hooks", plan.gradients),
        (f"{kept} of a batch of {plan.samples}", plan.activations),
        (f"rounding errors in {len(plan.formats)} formats, held in memory", plan.held),
        ("rounding errors that are computed at a time", plan.largest),
        ("thresholds from which they are computed", plan.thresholds),
        *([("codes of the bank, and sums over inputs", plan.banked)] if plan.banked else []),
        ("together", plan.peak),
        ("read from the checkpoint's files as they are needed", plan.mapped),
        ("least --memory-limit that works", plan.least),
    ]
    rounding = sum(plan.rates.rounded) / len(plan.rates.rounded)
    again = sum(plan.rates.again) / max(1, len(plan.rates.again))
    time = [("round all weights", duration(plan.seconds_to_round)), ("a batch", duration(plan.seconds_per_batch))]
    if plan.batches is not None:
        time.append((f"everything, with {plan.batches} batches", duration(plan.seconds)))
    nanoseconds = number(rounding * 1e9, 3)
    basis = (
        f"time by: {number(plan.flops / 1e9, 3)} GFLOP for a gradient evaluation of one batch (three times its forward "
        f"pass), {number(plan.evaluations, 3)} of them for {plan.method};\n"
        f"this machine: {number(plan.rates.flops / 1e9, 3)} GFLOP/s in a matrix product, {nanoseconds} ns "
        f"to round a weight to a format, {number(again * 1e9, 3)} ns to compute its error again."
    )
    head = f"{plan.parameters:,} parameters, {measured:,} of them in {len(plan.layers)} layers to measure"
    return Group(
        Text(head),
        BLANK,
        table_of(("layer", "kind", "shape", "weights", "MACs per sample"), layers, left=3),
        BLANK,
        table_of(("memory", "bytes"), [(what, f"{size:,}") for what, size in memory]),
        BLANK,
        table_of(("time", "estimate"), time),
        BLANK,
        Text(basis),
    )


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, in three digits; a dash where unknown."""
    if math.isnan(seconds):
        return "-"
    if seconds < _LONG:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 60 * _LONG else f"{seconds / 3600:.3g} h"
