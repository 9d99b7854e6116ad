"""What was measured, as text: sensitivity tables, validations, and uniform against mixed precision."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.text import Text

from .text import BLANK, number, percent, rounder_line, table_of, with_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from ..evaluation.validation import Row, Validation
    from ..policy.policy import Policy
    from ..tables.table import SensitivityTable


@dataclass(frozen=True, eq=False)
class EqualBytes:
    """Uniform and mixed precision within the same bytes.

    Attributes
    ----------
    uniform
        The uniform policy, whose bytes were the budget.
    mixed
        The policy that was found within that budget.
    validation
        Both on held-out data: the float network, the uniform policy and the mixed one.
    """

    uniform: Policy
    mixed: Policy
    validation: Validation

    @property
    def name(self) -> str:
        """The uniform policy's format."""
        return self.uniform.formats[0].name

    def document(self) -> dict[str, Any]:
        """The comparison in plain types, for JSON."""
        return {
            "weight_bytes": self.uniform.costs["weight_bytes"],
            "uniform": self.uniform.document(),
            "mixed": self.mixed.document(),
            "validation": self.validation.document(),
        }


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


def equal_bytes_report(levels: Sequence[EqualBytes]) -> Group:
    """Uniform against mixed precision, one level of bytes after the other."""
    measured = levels[0].validation
    floating = measured.rows[0]
    rows = [_equal_bytes_row(floating, "", None)]
    for level in levels:
        uniform, mixed = level.validation.rows[1:]
        rows.append(_equal_bytes_row(uniform, f"uniform {level.name}", None))
        rows.append(_equal_bytes_row(mixed, "mixed", level.mixed))
    headings = ("policy", "bytes", "bits/weight", "predicted KL", "measured KL", "accuracy", "bound", "gap", "proof")
    head = f"uniform against mixed precision at equal bytes; KL in {measured.unit}"
    samples = f"on {floating.measured.samples} held-out samples"
    words = [_sentence(level) for level in levels]
    tail = (Text("\n".join(words)), BLANK, formats_by_level(levels))
    return Group(Text(f"{head}, {samples}"), BLANK, table_of(headings, rows), BLANK, *tail)


def formats_by_level(levels: Sequence[EqualBytes]) -> Table:
    """Which layer got which format at each level of bytes."""
    names = levels[0].mixed.layer_names
    rows = [(layer, *(level.mixed[layer].name for level in levels)) for layer in names]
    return table_of(("layer", *(f"at {level.name}'s bytes" for level in levels)), rows)


def _equal_bytes_row(row: Row, name: str, proved: Policy | None) -> tuple[str, ...]:
    return (
        name or row.name,
        f"{row.weight_bytes:,}",
        number(math.nan if row.policy is None else row.policy.bits_per_weight, 4),
        with_error(row.predicted, row.predicted_stderr),
        with_error(row.measured.kl, row.measured.kl_stderr),
        percent(row.measured.accuracy),
        *(("", "", "") if proved is None else (number(proved.bound, 4), number(proved.gap, 2), proved.ground)),
    )


def _sentence(level: EqualBytes) -> str:
    uniform, mixed = level.validation.rows[1:]
    difference, stderr = uniform.kl_difference, uniform.kl_difference_stderr
    size = f"within the {uniform.weight_bytes:,} bytes of uniform {level.name}"
    ratio = mixed.measured.kl / uniform.measured.kl if uniform.measured.kl else math.nan
    gain = f"mixed precision has {number(ratio, 3)} times its KL ({with_error(difference, stderr)} less)"
    return f"{size}, {gain}\n  {level.validation.verdict}"
