"""Runs the steps of a run, one after the other: those whose results are there and fit are skipped."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from .._version import __version__
from ..common.run_options import RunOptions
from ..costs.costs import FILE_BYTES
from ..costs.files import GIVE, form_of_target
from ..errors import InvalidInput
from ..formats.capabilities import TARGETS, capability
from ..formats.file_facts import GGUF
from ..network.weight_uses import check_usable, uses_in
from .provenance import check_same_run, fingerprint_of, provenance_of, with_steps, write_provenance
from .recipes.recipe import FILE as RECIPE
from .result import Decision
from .state import depends_digest
from .steps.exporting import why_not

if TYPE_CHECKING:
    from .work import Step, Telling, Work

TENSORS = "gguf_tensors"  # the GGUF files that a run can write
_NAMED = 3  # targets that an error names


def run_steps(work: Work, telling: Telling, *, force: bool = False) -> tuple[tuple[Decision, ...], dict[str, Any]]:
    """Run all steps that are asked.

    Parameters
    ----------
    work
        What to run.
    telling
        Who is told.
    force
        Whether to delete results of another network or of other data that are in the folder.

    Returns
    -------
    decisions, provenance
        What each step decided, and where the results come from, which is written into the folder after every step.

    Raises
    ------
    InvalidInput
        When the folder holds the results of another network, a target cannot be exported to or takes none of the
        network's layers, or a step refuses what it is given.
    """
    for target in work.settings.exports:
        reason = why_not(target, work.request.target)
        if reason:
            raise InvalidInput(f"cannot export to {target!r}: {reason}")
    check_usable(work.model)
    _check_target(work)
    begun = datetime.now(UTC)
    fingerprint = fingerprint_of(work.model, work.data, work.outputs)
    if work.state is not None:
        if force:
            for step in work.steps:
                work.state.clear(step.name)
        else:
            check_same_run(work.state.folder, fingerprint)
        if work.recipe is not None:
            work.recipe.save(work.state.folder / RECIPE)
    document = provenance_of(fingerprint, work.data, work.request, work.settings, work.limits.seed, begun)
    before = {
        "version": __version__,
        "network": depends_digest(fingerprint.tensors),
        "calibration data": depends_digest({part.name: part.digest for part in work.data.parts}),
        "seed": work.limits.seed,
    }
    decisions: list[Decision] = []
    for step in work.steps:
        if not step.asked(work):
            continue
        if work.state is not None:
            write_provenance(work.state.folder, with_steps(document, decisions))
        depends = {**before, **step.depends(work)}
        decisions.append(_run(step, work, depends, telling))
        telling.decided(decisions[-1])
        before = {"a step before it": depends_digest(depends)}
    whole = with_steps(document, decisions)
    if work.state is not None:
        write_provenance(work.state.folder, whole)
    return tuple(decisions), whole


def _check_target(work: Work) -> None:
    """Refuse what no step could do for a target, before anything is rounded for it: no layer taken, no file weighed."""
    target = work.request.target
    if FILE_BYTES in work.request.budgets and form_of_target(target) == GGUF and TENSORS not in work.settings.exports:
        raise InvalidInput(
            f"a run does not learn the size of files of target {target!r}, which takes {GIVE[GGUF]}: go by way of "
            f"measure, solve and export, export to {TENSORS!r}, or budget weight_bytes"
        )
    if target is None:
        return
    taken = capability(target).kinds
    kinds = dict.fromkeys(use.kind for use in uses_in(work.model).values())
    if not any(kind in taken for kind in kinds):
        able = [each for each, other in TARGETS.items() if set(kinds) & set(other.kinds)]
        raise InvalidInput(
            f"the target {target!r} takes none of the network's layers: they are {', '.join(kinds)}, and it quantises "
            f"{', '.join(taken)}; name another target, such as {', '.join(able[:_NAMED])}"
        )


def _run(step: Step, work: Work, depends: dict[str, Any], telling: Telling) -> Decision:
    again = ""
    if work.state is not None:
        kept, again = work.state.kept(step.name, depends)
        if kept is not None:
            return Decision(step.name, kept.decided, kept.seconds, kept.made, skipped=True, files=kept.files)
    folder = None if work.state is None else work.state.begin(step.name, depends)
    started = time.perf_counter()
    with telling.step(step.name) as progress:
        run = RunOptions(seed=work.limits.seed, memory_limit=work.limits.memory_limit, progress=progress)
        work.made[step.name], decided = step.make(work, folder, run)
    seconds = time.perf_counter() - started
    if work.state is None:
        return Decision(step.name, decided, seconds)
    kept = work.state.finish(step.name, depends, decided, seconds)
    return Decision(step.name, decided, seconds, kept.made, again=again, files=kept.files)
