"""What was measured, as text: sensitivity tables and validations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from .text import BLANK, number, percent, rounder_line, table_of, with_error

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
    headings = ("network", "bytes", "predicted KL", "measured KL", "KL above policy", "loss", "accuracy")
    rows = [
        (
            row.name,
            f"{row.weight_bytes:,}",
            with_error(row.predicted, row.predicted_stderr),
            with_error(row.measured.kl, row.measured.kl_stderr),
            with_error(row.kl_difference, row.kl_difference_stderr),
            number(row.measured.loss),
            percent(row.measured.accuracy),
        )
        for row in validation.rows
    ]
    samples = validation.policy.measured.samples
    return Group(
        Text(f"KL and loss in {validation.unit}, on {samples} samples"),
        BLANK,
        table_of(headings, rows),
        BLANK,
        Text(validation.verdict),
    )
