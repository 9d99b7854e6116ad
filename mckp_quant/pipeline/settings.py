"""How the steps of a run go, in one object: everything but the network, its data and what is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from ..common.checks import check_count, check_fraction, check_least, check_seconds
from ..errors import InvalidInput, unknown
from ..export.exporting import EXPORTERS
from ..formats.format import as_formats
from ..formats.menus import AUTO

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..formats.format import Format
    from ..rounding.rounder import Rounder
    from ..sensitivity.estimator import AnyEstimator

Formats: TypeAlias = "str | Sequence[str | Format]"


@dataclass(frozen=True)
class Settings:
    """How the steps of a run go.

    Attributes
    ----------
    formats
        The formats to choose from, as for `round_weights`; ``"auto"`` takes some 36 of weights.
    rounder
        What rounds the weights, as for `round_weights`.
    activation_range
        How ranges of activations are chosen.
    method, precision
        The estimator, and the relative standard error at which it stops; see `measure`.
    solver, seconds
        See `allocate`.
    confirm_evaluations
        Passes over the batches that `confirm_table` may spend, 0 to leave it out.
    evaluations, refine_held_back
        Passes over the batches that `refine` may spend, 0 to leave it out, and the share of them that it holds back.
    finish_held_back, finish_steps
        What `finish` holds back, and how many steps it learns.
    exports
        Names of the toolchains to write files for.

    Raises
    ------
    InvalidInput
        When a value cannot be used.
    """

    formats: Formats = AUTO
    rounder: str | Rounder = "auto"
    activation_range: str = "mse"
    method: str | AnyEstimator = "gauss_newton"
    precision: float | None = None
    solver: str = "auto"
    seconds: float = 60.0
    confirm_evaluations: int = 40
    evaluations: float = 40
    refine_held_back: float = 0.125
    finish_held_back: float = 0.25
    finish_steps: int = 0
    exports: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Refuse, before anything runs, what a later step would refuse."""
        if self.formats != AUTO:
            as_formats(self.formats)
        check_count("confirm_evaluations", self.confirm_evaluations, 0)
        check_least("evaluations", self.evaluations, 0)
        check_seconds(self.seconds)
        check_fraction("refine_held_back", self.refine_held_back)
        check_fraction("finish_held_back", self.finish_held_back)
        check_count("finish_steps", self.finish_steps, 0)
        if isinstance(self.exports, str):
            raise InvalidInput(f"exports is {self.exports!r}: give a list of targets, such as ['torchao']")
        object.__setattr__(self, "exports", tuple(self.exports))
        for target in self.exports:
            if target not in EXPORTERS:
                raise unknown("export target", target, EXPORTERS)
