"""Makes the best network of the policy, and of the best uniform one that it has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...common.documents import read_document, write_document
from ...common.run_options import RunOptions
from ...tuning.finished import Finished
from ...tuning.finishing import finish
from ..rivals import best_uniform, uniforms_within
from .confirming import table_of
from .refining import policy_of
from .rounding import bank_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ...policy.policy import Policy
    from ..work import Work

NAME = "finish"
_MIXED, _UNIFORM, _RIVAL = "mixed", "uniform", "rival.json"


@dataclass(frozen=True, eq=False)
class Pair:
    """Two finished networks.

    Attributes
    ----------
    mixed
        Of the policy.
    uniform
        Of the best uniform one; None where there is none.
    rival
        The name of that one, such as ``"uniform w3"``; empty without one.
    """

    mixed: Finished
    uniform: Finished | None
    rival: str


@dataclass(frozen=True)
class Finish:
    """The step of the last pass."""

    name: str = NAME

    def asked(self, work: Work) -> bool:
        """Always."""
        return True

    def depends(self, work: Work) -> Mapping[str, Any]:
        """What it holds back, and how many steps it learns."""
        return {"held_back": work.settings.finish_held_back, "steps": work.settings.finish_steps}

    def make(self, work: Work, folder: Path | None, run: RunOptions) -> tuple[Pair, str]:
        """Choose the uniform policy on what the table was measured on, and finish both on all calibration data."""
        policy, bank = policy_of(work), bank_of(work)
        uniforms = uniforms_within(table_of(work), work.request, work.settings.seconds)
        others = {name: each for name, each in uniforms.items() if each != policy}
        rival = best_uniform(work.model, others, work.data.measured, work.outputs, bank)
        mixed = _finished(work, policy, run)
        pair = Pair(mixed, None, "") if rival is None else Pair(mixed, _finished(work, rival[1], run), rival[0])
        if folder is not None:
            pair.mixed.save(folder / _MIXED)
            if pair.uniform is not None:
                pair.uniform.save(folder / _UNIFORM)
            write_document(folder / _RIVAL, "rival", 1, {"name": pair.rival})
        return pair, _line(pair)

    def load(self, work: Work, folder: Path) -> Pair:
        """Read both networks."""
        rival = str(read_document(folder / _RIVAL, "rival", 1).get("name", ""))
        uniform = Finished.load(folder / _UNIFORM, work.model) if rival else None
        return Pair(Finished.load(folder / _MIXED, work.model), uniform, rival)


def pair_of(work: Work) -> Pair:
    """The finished networks."""
    pair: Pair = work.result(NAME)
    return pair


def _finished(work: Work, policy: Policy, run: RunOptions) -> Finished:
    return finish(
        work.model,
        policy,
        work.data.fitted,
        bank=bank_of(work),
        rounder=work.settings.rounder,
        held_back=work.settings.finish_held_back,
        steps=work.settings.finish_steps,
        outputs=work.outputs,
        run=RunOptions(seed=run.seed, progress=run.progress),
    )


def _line(pair: Pair) -> str:
    done = pair.mixed.decided
    line = (
        f"codes {done.codes}; {done.words[1]}; KL {done.before:.4g} -> {done.after:.4g} {done.unit} on "
        f"{done.held_back} samples that judged it"
    )
    return (
        f"{line}; the same for {pair.rival}" if pair.rival else f"{line}; no other uniform policy is within the request"
    )
