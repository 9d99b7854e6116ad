"""A whole run as text: what each step decided, and the result beside what it had to beat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from ..common.display import number, percent, with_error
from .planned import duration
from .text import BLANK, policy_report, table_of

if TYPE_CHECKING:
    from ..evaluation.validation import Row, Validation
    from ..tuning.finished import Finished

_STEP = 9  # characters of the longest name of a step


def step_line(step: str, decided: str, seconds: float, *, skipped: bool = False, again: str = "") -> str:
    """What a step decided and what it cost, on one line.

    Parameters
    ----------
    step
        Its name.
    decided
        What it decided.
    seconds
        What it cost when it was made.
    skipped
        Whether its result was there already.
    again
        Why a result that was there was made again; empty where none was.

    Returns
    -------
    line
        Without its end.
    """
    cost = f"there already, {duration(seconds)} then" if skipped else duration(seconds)
    made = f" (made again: {again})" if again else ""
    return f"{step:<{_STEP}} {decided} [{cost}]{made}"


def quantized_report(words: str, mixed: Validation, uniform: Validation | None, rival: str, chosen: Finished) -> Group:
    """The result of a run.

    Parameters
    ----------
    words
        Which network is returned, and why.
    mixed, uniform
        What was measured of the policy and of the best uniform one, each before and after the last pass.
    rival
        The name of the uniform one; empty without one.
    chosen
        The network that is returned.

    Returns
    -------
    report
        Every network that was run, the verdict, what the last pass decided, and the policy layer by layer.
    """
    measured = mixed.policy.measured
    finished = [] if uniform is None else [_row(uniform.policy, f"{rival}, same rounder, finished")]
    rows = [*(_row(row, row.name) for row in mixed.rows[:-1]), *finished, _row(mixed.policy, "policy, finished")]
    headings = ("network", "bytes", "measured KL", "accuracy", "loss", "predicted KL")
    best = mixed if chosen.policy == mixed.policy.policy or uniform is None else uniform
    return Group(
        Text(words),
        BLANK,
        Text(f"KL and loss in {mixed.unit}, on {measured.samples} samples that nothing was fitted to"),
        BLANK,
        table_of(headings, rows),
        BLANK,
        Text(best.verdict),
        BLANK,
        Text("\n".join(chosen.decided.words)),
        BLANK,
        policy_report(chosen.policy),
    )


def _row(row: Row, name: str) -> tuple[str, ...]:
    return (
        name,
        f"{row.weight_bytes:,}",
        with_error(row.measured.kl, row.measured.kl_stderr),
        percent(row.measured.accuracy),
        number(row.measured.loss),
        with_error(row.predicted, row.predicted_stderr),
    )
