"""Odd cells of a table from elsewhere: what is odd, where it stands, and what the user wants done about it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import InvalidInput, unknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ANSWERS: dict[str, tuple[str, ...]] = {
    "missing": ("error", "drop"),
    "negative": ("error", "keep", "clip", "drop"),
    "non_monotone": ("error", "keep", "isotonic", "drop"),
    "duplicate": ("error", "drop"),
}
_WORDS = {
    "missing": "no number",
    "negative": "a negative loss",
    "non_monotone": "more bits and more loss",
    "duplicate": "given a second time",
}
_DONE = {"drop": "dropped", "keep": "kept", "clip": "set to 0", "isotonic": "pooled", "error": "refused"}
_SHOWN = 20  # findings that an error lists before it counts the rest


@dataclass(frozen=True)
class Place:
    """Where something stands: the file or object, its row, and its column.

    Attributes
    ----------
    source
        The file, or what the numbers came in.
    row
        The line of the file, counted from 1 with the heading, or the row of the array, counted from 0.
    column
        The heading of the column.
    """

    source: str
    row: int | str
    column: str

    def __str__(self) -> str:
        """Such as ``table.csv, row 3, column 'w4'``."""
        return f"{self.source}, row {self.row}, column {self.column!r}"


@dataclass(frozen=True)
class Finding:
    """One odd cell, about which the user has to decide.

    Attributes
    ----------
    kind
        ``"missing"``, ``"negative"``, ``"non_monotone"`` or ``"duplicate"``.
    place
        Where it stands.
    layer, format
        Which cell it is.
    found
        What stands there.
    answer
        What was done about it: the user's answer for this kind.
    """

    kind: str
    place: Place
    layer: str
    format: str
    found: str
    answer: str

    def __str__(self) -> str:
        """One line for people."""
        cell = f"layer {self.layer!r}, format {self.format!r}"
        return f"{self.place} ({cell}): {self.found} is {_WORDS[self.kind]} - {_DONE[self.answer]}"


@dataclass(frozen=True)
class Handling:
    """What to do about cells that are odd; whatever is not named is an error, and nothing is repaired silently.

    Attributes
    ----------
    missing
        Cells that are empty, hold one of `marks`, nan or an infinity: ``"error"``, or ``"drop"``, which makes the
        format one that is not allowed for the layer.
    negative
        Losses below 0: ``"error"``, ``"keep"``, ``"clip"`` (to 0) or ``"drop"``.
    non_monotone
        Losses above that of a format with fewer stored bits, among formats of equal activation bits: ``"error"``,
        ``"keep"``, ``"isotonic"`` (the nearest losses in least squares that fall as stored bits grow) or ``"drop"``
        (of the format with more bits).
    duplicate
        A layer and format that stand in the table twice: ``"error"``, or ``"drop"``, which keeps the first.
    marks
        Texts that stand for a missing number, beside empty cells; published tables hold ``404``.

    Raises
    ------
    InvalidInput
        When an answer is not one of these.
    """

    missing: str = "error"
    negative: str = "error"
    non_monotone: str = "error"
    duplicate: str = "error"
    marks: tuple[str, ...] = ("404",)

    def __post_init__(self) -> None:
        """Refuse answers that do not exist."""
        for kind, answers in ANSWERS.items():
            if getattr(self, kind) not in answers:
                raise unknown(f"handling of {kind} cells", getattr(self, kind), answers)

    @classmethod
    def of(cls, answers: Mapping[str, str]) -> Handling:
        """Handling from kinds and answers as text, such as ``{"missing": "drop"}``.

        Parameters
        ----------
        answers
            From kinds of findings to what to do about them.

        Returns
        -------
        handling
            The handling.

        Raises
        ------
        InvalidInput
            When a kind or an answer does not exist.
        """
        for kind in answers:
            if kind not in ANSWERS:
                raise unknown("kind of cell", kind, ANSWERS)
        missing, negative, non_monotone, duplicate = (answers.get(kind, "error") for kind in ANSWERS)
        return cls(missing, negative, non_monotone, duplicate)

    def answer(self, kind: str) -> str:
        """What to do about this kind of finding."""
        return str(getattr(self, kind))


KEEP = Handling(negative="keep", non_monotone="keep")
"""Takes measured numbers as they are: only what is no number, or stands there twice, is refused."""


def refuse_errors(source: str, findings: Iterable[Finding]) -> None:
    """Raise one error that lists every finding whose answer is ``"error"``.

    Parameters
    ----------
    source
        The file, or what the numbers came in.
    findings
        All findings.

    Raises
    ------
    InvalidInput
        With a line for each such finding, and what to type.
    """
    refused = [each for each in findings if each.answer == "error"]
    if not refused:
        return
    count = f"{len(refused)} cell{'s' if len(refused) > 1 else ''}"
    kinds = dict.fromkeys(each.kind for each in refused)
    hints = ", ".join(f"{kind}={' or '.join(ANSWERS[kind][1:])}" for kind in kinds)
    raise InvalidInput(
        f"{source} has {count} that need a decision; say what to do about them (handling, or --on: {hints}):\n"
        + report(dataclasses.replace(each, answer="error") for each in refused)
    )


def report(findings: Iterable[Finding]) -> str:
    """The findings as lines for people, the first of them in full and then how many more there are."""
    lines = [f"- {each}" for each in findings]
    more = [f"- and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return "\n".join(lines[:_SHOWN] + more)
