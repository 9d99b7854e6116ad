"""From a network to a checked result in one call."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..allocation.request import Request, as_request
from ..common.run_options import RunOptions
from ..formats.menus import AUTO
from ..network.checkpoints.plain_names import unwrapped
from ..network.outputs import Outputs
from ..rounding.banking import rounder_of
from .calibration import part_data
from .result import MIXED, Candidate, Quantized
from .running import run_steps
from .settings import Settings
from .state import State
from .steps import STEPS
from .steps.confirming import table_of
from .steps.finishing import pair_of
from .steps.judging import judged_of
from .steps.rounding import bank_of
from .work import Telling, Work

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    from torch import nn

    from ..common.amounts import Amount
    from ..rounding.rounder import Rounder
    from .result import Decision
    from .settings import Formats


def quantize(
    model: nn.Module,
    batches: Iterable[object] | Mapping[str, object],
    request: Request | Mapping[str, Amount],
    *,
    formats: Formats = AUTO,
    rounder: str | Rounder = "auto",
    evaluations: float = 40,
    held_out: float | Iterable[object] = 0.25,
    outputs: Outputs = Outputs(),
    output: str | os.PathLike[str] | None = None,
    run: RunOptions = RunOptions(),
) -> Quantized:
    """Quantise a network within budgets, and check the result on data that nothing was fitted to.

    In turn: every layer is rounded to every format (`round_weights`), what each rounding costs is measured (`measure`)
    on other batches than the rounder has seen, a format is chosen for every layer (`allocate`), the policy is improved
    by running the network (`refine`), the best network of it is made (`finish`), and that is judged (`validate`). The
    best uniform format within the same request goes through the same: rounder, last pass, data. It is what is returned
    where mixed precision is not better beyond two standard errors of the paired difference.

    Parameters
    ----------
    model
        The float network; it is given back as it was.
    batches
        As for `measure`, and kept in memory. Several sets by name: a mapping to `CalibrationSet`, or to batches. The
        losses of the table are then the weighted mean of those on each set; rounding, refining and the last pass see
        all sets, each sample alike.
    request
        A `Request`, or in short a mapping of budgets such as ``{"weight_bytes": "90kB"}``.
    formats
        To choose from; ``"auto"`` takes some 36 of weights, which the request's target takes.
    rounder
        A rounder or its name; ``"auto"`` is `Gptq`, which rounds layers whose inputs are not seen to nearest.
    evaluations
        Passes over the batches that `refine` may spend; 0 leaves it out.
    held_out
        The share of the samples of every set that only judges, drawn by the seed: whole batches where there are
        enough, else the end of each. Or batches of its own.
    outputs
        What the network returns, and what its numbers mean.
    output
        A folder that keeps the result of every step, with ``provenance.json``. What is there and fits is not made
        again. Without one nothing is kept.
    run
        The seed of all draws, how many batches are read of every set, the memory limit of rounding and measuring, and
        progress, step by step.

    Returns
    -------
    quantized
        The network, its policy and codes, what it was compared with, and what every step decided and cost.

    Raises
    ------
    InvalidInput
        When an argument cannot be used, there are too few samples to hold some back, or the folder holds the results of
        another network.
    NoSolution
        When no policy is within the budgets.
    """
    run.only("quantize", "seed", "max_batches", "memory_limit", "progress")
    model = unwrapped(model)
    asked = as_request(request)
    settings = Settings(formats=formats, rounder=rounder, evaluations=evaluations)
    data = part_data(batches, held_out, model, rounder_of(rounder), seed=run.seed, max_batches=run.max_batches)
    state = None if output is None else State(Path(output))
    work = Work(model, data, asked, settings, outputs, run, state, STEPS)
    total = sum(step.asked(work) for step in STEPS)
    done: list[Decision] = []

    def decided(decision: Decision) -> None:
        done.append(decision)
        run.report(len(done), total)

    decisions, provenance = run_steps(work, Telling(decided=decided))
    return quantized_of(work, decisions, provenance)


def quantized_of(work: Work, decisions: tuple[Decision, ...], provenance: dict[str, Any]) -> Quantized:
    """The result of a run whose steps are made; what was skipped is loaded."""
    pair, judged = pair_of(work), judged_of(work)
    uniform = None
    if pair.uniform is not None and judged.uniform is not None:
        uniform = Candidate(pair.rival, pair.uniform, judged.uniform)
    difference, error = judged.difference
    return Quantized(
        chosen=judged.chosen,
        mixed=Candidate(MIXED, pair.mixed, judged.mixed),
        uniform=uniform,
        difference=difference,
        difference_stderr=error,
        table=table_of(work),
        bank=bank_of(work),
        decisions=decisions,
        provenance=provenance,
    )
