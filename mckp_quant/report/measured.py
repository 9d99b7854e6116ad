"""What was measured, as text: sensitivity tables and validations."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from ..common.display import number, percent, with_error
from .text import BLANK, rounder_line, table_of

if TYPE_CHECKING:
    from ..evaluation.validation import Validation
    from ..tables.table import SensitivityTable


def sensitivity_report(table: SensitivityTable) -> Group:
    """The predicted loss of every layer in every format, in the table's unit."""
    rows = [
        (layer.name, f"{layer.elements:,}", *(number(float(loss), 3) for loss in losses))
        for layer, losses in zip(table.layers, table.loss, strict=True)
    ]
    head = f"predicted loss increase, {table.unit}, by {table.method} on {table.samples} samples, seed {table.seed}"
    lines = [head, rounder_line(table.rounder)] if table.rounder else [head]
    return Group(Text("\n".join(lines)), BLANK, table_of(("layer", "weights", *table.format_names), rows))


def validation_report(validation: Validation) -> Group:
    """Every network that was run, and the verdict."""
    own = _own_figures(validation)
    headings = ("network", "bytes", "predicted KL", "measured KL", "KL above policy", "loss", "accuracy", *own.values())
    rows = [
        (
            row.name,
            f"{row.weight_bytes:,}",
            with_error(row.predicted, row.predicted_stderr),
            with_error(row.measured.kl, row.measured.kl_stderr),
            with_error(row.kl_difference, row.kl_difference_stderr),
            number(row.measured.loss),
            percent(row.measured.accuracy),
            *(number(getattr(row.measured, figure), 4) for figure in own),
        )
        for row in validation.rows
    ]
    samples = validation.policy.measured.samples
    return Group(
        Text(f"KL and loss in {validation.unit}, on {samples} samples"),
        BLANK,
        table_of(headings, rows),
        BLANK,
        Text("\n".join([validation.verdict, *_changes(validation, own)])),
    )


def _own_figures(validation: Validation) -> dict[str, str]:
    """What people judge this network by beside its accuracy, with its heading."""
    floating = validation.rows[0].measured
    found = {} if math.isnan(floating.perplexity) else {"perplexity": "perplexity"}
    return {**found, "metric": floating.metric_name} if floating.metric_name else found


def _changes(validation: Validation, own: dict[str, str]) -> list[str]:
    """What the policy does to each of these figures, a line each."""
    lines = []
    for figure, name in {"accuracy": "accuracy", **own}.items():
        before, after = (getattr(row.measured, figure) for row in (validation.rows[0], validation.policy))
        if math.isnan(before) or math.isnan(after):
            continue
        change, error = validation.change(figure)
        if figure == "accuracy":
            lines.append(
                f"{name}: {percent(before)} in floating point, {percent(after)} under the policy: "
                f"{100 * change:+.2f} +- {100 * error:.2f} points"
            )
        else:
            lines.append(
                f"{name}: {number(before, 4)} in floating point, {number(after, 4)} under the policy: "
                f"{change:+.3g} +- {error:.2g}"
            )
    return lines
