"""Mixed precision against uniform formats of the same bytes, with one rounder for both, as text."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.text import Text

from ..common.display import number, percent, with_error
from .text import BLANK, table_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..evaluation.validation import Row, Validation
    from ..policy.policy import Policy
    from .ruled import Ruled


@dataclass(frozen=True, eq=False)
class Pair:
    """Uniform and mixed precision within the same bytes, with weights of one rounder.

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

    def document(self) -> dict[str, Any]:
        """The comparison in plain types, for JSON."""
        return {
            "uniform": self.uniform.document(),
            "mixed": self.mixed.document(),
            "validation": self.validation.document(),
        }


@dataclass(frozen=True, eq=False)
class EqualBytes:
    """Uniform and mixed precision within the same bytes: rounded to nearest, by a better rounder, and finished.

    Attributes
    ----------
    nearest, rounded
        The pair with weights rounded to nearest, and with those of the rounder.
    finished
        The rows of the second pair, uniform and mixed, after the last pass; None where that was not made.
    """

    nearest: Pair
    rounded: Pair
    finished: tuple[Row, Row] | None = None

    @property
    def name(self) -> str:
        """The uniform policies' format."""
        return self.nearest.uniform.formats[0].name

    def document(self) -> dict[str, Any]:
        """The comparison in plain types, for JSON."""
        pairs = {"nearest": self.nearest.document(), "rounded": self.rounded.document()}
        finished = None
        if self.finished is not None:
            names = ("uniform", "mixed")
            finished = {
                name: {"kl": row.measured.kl, "kl_stderr": row.measured.kl_stderr}
                for name, row in zip(names, self.finished, strict=True)
            }
        return {"weight_bytes": self.nearest.uniform.costs["weight_bytes"], **pairs, "finished": finished}


def equal_bytes_report(levels: Sequence[EqualBytes]) -> Group:
    """Uniform against mixed precision, one level of bytes after the other."""
    measured = levels[0].nearest.validation
    floating = measured.rows[0]
    rounder = levels[0].rounded.mixed.rounder.partition("(")[0]
    rows = [_row(floating, "float", "")]
    for level in levels:
        for pair, how in ((level.nearest, "nearest"), (level.rounded, rounder)):
            uniform, mixed = pair.validation.rows[1:]
            rows.append(_row(uniform, f"uniform {level.name}", how))
            rows.append(_row(mixed, "mixed", how))
        if level.finished is not None:
            uniform, mixed = level.finished
            rows.append(_row(uniform, f"uniform {level.name}", f"{rounder}, finished"))
            rows.append(_row(mixed, "mixed", f"{rounder}, finished"))
    headings = (
        "policy",
        "rounded by",
        "bytes",
        "measured KL",
        "accuracy",
        "predicted KL",
        "bits/weight",
    )
    head = f"uniform against mixed precision at equal bytes; KL in {measured.unit}"
    samples = f"on {floating.measured.samples} held-out samples"
    words = [_proofs(levels), *(_sentence(level, rounder) for level in levels)]
    tail = (Text("\n".join(words)), BLANK, formats_by_level(levels))
    return Group(Text(f"{head}, {samples}"), BLANK, table_of(headings, rows, left=2), BLANK, *tail)


def formats_by_level(levels: Sequence[EqualBytes]) -> Ruled:
    """Which layer got which format at each level of bytes, by the rounder's own table."""
    policies = [level.rounded.mixed for level in levels]
    rows = [(layer, *(policy[layer].name for policy in policies)) for layer in policies[0].layer_names]
    return table_of(("layer", *(f"at {level.name}'s bytes" for level in levels)), rows)


def _proofs(levels: Sequence[EqualBytes]) -> str:
    """What is proved of the mixed policies."""
    mixed = [pair.mixed for level in levels for pair in (level.nearest, level.rounded)]
    grounds = ", ".join(dict.fromkeys(policy.ground for policy in mixed))
    widest = max(policy.gap for policy in mixed)
    return f"no policy of its table is better than a mixed one by more than {number(widest, 2)}: {grounds}"


def _row(row: Row, name: str, rounder: str) -> tuple[str, ...]:
    finished = "finished" in rounder
    return (
        name,
        rounder,
        f"{row.weight_bytes:,}",
        with_error(row.measured.kl, row.measured.kl_stderr),
        percent(row.measured.accuracy),
        "" if finished else with_error(row.predicted, row.predicted_stderr),
        number(math.nan if row.policy is None else row.policy.bits_per_weight, 4),
    )


def _sentence(level: EqualBytes, rounder: str) -> str:
    compared = {"rounded to nearest": level.nearest.validation.rows[1:]}
    compared[f"both by {rounder}"] = level.rounded.validation.rows[1:]
    if level.finished is not None:
        compared["both finished"] = level.finished
    bytes_ = level.nearest.uniform.costs["weight_bytes"]
    figures = ", ".join(f"{how} {_gain(*rows)}" for how, rows in compared.items())
    lines = [f"within the {bytes_:,} bytes of uniform {level.name}, the KL of mixed over that of uniform: {figures}"]
    if not _better(*list(compared.values())[-1]):
        samples = level.rounded.validation.policy.measured.samples
        lines.append(f"here allocation adds nothing to uniform with the same rounder that {samples} samples can show")
    lines.append(level.rounded.validation.verdict)
    return "\n  ".join(lines)


def _gain(uniform: Row, mixed: Row) -> str:
    ratio = mixed.measured.kl / uniform.measured.kl if uniform.measured.kl else math.nan
    return f"{number(ratio, 2)} ({with_error(*uniform.measured.kl_difference(mixed.measured))} less)"


def _better(uniform: Row, mixed: Row) -> bool:
    """Whether mixed precision is better beyond its error."""
    from ..evaluation.verdict import ERRORS

    difference, error = uniform.measured.kl_difference(mixed.measured)
    return difference > ERRORS * error
