"""The faces of what was measured: the figures that there are, and predicted beside measured."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..common.display import Face, counted, grid, number, percent, with_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..common.display import Markup

_SHARES = ("accuracy", "agreement")
_COLUMNS = ("network", "bytes", "predicted KL", "measured KL", "loss", "accuracy")


def figure_text(name: str, amount: float, stderr: float) -> str:
    """A figure with its error, as a share where it is one."""
    if name in _SHARES:
        return percent(amount) if math.isnan(stderr) else f"{percent(amount)} +- {percent(stderr)}"
    return with_error(amount, stderr)


def evaluation_face(samples: int, unit: str, figures: Sequence[tuple[str, float, float]]) -> Face:
    """Names, amounts and standard errors of figures in a few lines; those that there are not are left out."""
    facts = [(name, figure_text(name, *both)) for name, *both in figures if not math.isnan(both[0])]
    return Face(f"Evaluation: {counted(samples, 'sample')}, {unit}", tuple(facts))


def validation_face(
    verdict: str, unit: str, samples: int, predicted: tuple[float, float], measured: tuple[float, float], ratio: float
) -> Face:
    """What was predicted and measured of the policy, and the verdict."""
    facts = [("predicted", f"{with_error(*predicted)} {unit}")] if not math.isnan(predicted[0]) else []
    facts.append(("measured", f"{with_error(*measured)} {unit}"))
    facts += [("ratio", number(ratio, 3))] if not math.isnan(ratio) else []
    facts.append(("verdict", verdict))
    return Face(f"Validation: on {counted(samples, 'sample')}", tuple(facts))


def networks_grid(rows: Sequence[tuple[str, int, tuple[float, float], tuple[float, float], float, float]]) -> Markup:
    """A line for each network: name, bytes, predicted and measured KL with their errors, loss and accuracy."""
    cells = [
        (
            name,
            f"{stored:,}",
            with_error(*predicted),
            with_error(*measured),
            number(loss),
            percent(accuracy),
        )
        for name, stored, predicted, measured, loss, accuracy in rows
    ]
    return grid(_COLUMNS, cells)
