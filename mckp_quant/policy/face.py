"""The face of a policy: what is predicted and proved of it, and the bytes of every layer."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from ..common.display import Face, bar, counted, grid, number, with_error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..common.display import Markup
    from ..costs.costs import Budget
    from .prediction import Prediction

_LISTED = 4  # formats and budgets


def policy_face(
    formats: Sequence[str],
    status: str,
    expected: Prediction,
    unit: str,
    bound: tuple[float, float],
    costs: Mapping[str, int],
    bits_per_weight: float,
    budgets: Sequence[Budget],
    more: tuple[tuple[str, str], ...],
) -> Face:
    """A policy in a few lines; `bound` is with its gap."""
    counts = Counter(formats).most_common()
    named = ", ".join(f"{name} in {count:,}" for name, count in counts[:_LISTED])
    facts = [("formats", named + (f", and {len(counts) - _LISTED} more" if len(counts) > _LISTED else ""))]
    if not math.isnan(expected.loss):
        facts.append(("predicted", f"{with_error(expected.loss, expected.stderr)} {unit}"))
    if not math.isnan(bound[0]):
        facts.append(("bound", f"no policy is below {number(bound[0], 4)} by the table (gap {number(bound[1], 3)})"))
    if "weight_bytes" in costs:
        facts.append(("weights", f"{costs['weight_bytes']:,} bytes, {number(bits_per_weight, 4)} bits per weight"))
    facts += [("budget", str(each)) for each in budgets[:_LISTED]]
    if len(budgets) > _LISTED:
        facts.append(("", f"and {counted(len(budgets) - _LISTED, 'more budget')}"))
    return Face(f"Policy: {counted(len(formats), 'layer')}, {status}", (*facts, *more))


def layers_grid(layers: Sequence[str], formats: Sequence[str], layer_bits: Sequence[int]) -> Markup:
    """A line for each layer, with its format and, where they are known, its bytes."""
    if not layer_bits:
        return grid(("layer", "format"), list(zip(layers, formats, strict=True)), left=2)
    most = max(*layer_bits, 1)
    rows = [
        (layer, name, bar(bits / most), f"{-(-bits // 8):,}")
        for layer, name, bits in zip(layers, formats, layer_bits, strict=True)
    ]
    return grid(("layer", "format", "", "bytes"), rows, left=3)
