"""Writes the chosen network for toolchains, and reads it back."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...export.exporting import EXPORTERS, available, export
from ..result import UNIFORM
from .finishing import pair_of
from .judging import judged_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ...common.run_options import RunOptions
    from ...export.records import FileSize
    from ...tuning.finished import Finished
    from ..work import Work

NAME = "export"


@dataclass(frozen=True)
class Export:
    """The step that writes artefacts."""

    name: str = NAME

    def asked(self, work: Work) -> bool:
        """Where there is a target, and a folder to write to."""
        return bool(work.settings.exports) and work.state is not None

    def depends(self, work: Work) -> Mapping[str, Any]:
        """The targets."""
        return {"to": list(work.settings.exports)}

    def make(self, work: Work, folder: Path | None, run: RunOptions) -> tuple[tuple[Path, ...], str]:
        """Export to one target after the other."""
        assert folder is not None
        chosen, written, lines = chosen_of(work), [], []
        for target in work.settings.exports:
            output = folder / target
            shutil.rmtree(output, ignore_errors=True)  # of a process that was killed
            report = export(
                chosen.policy,
                target,
                model=work.model,
                output=output,
                batches=work.data.fitted[:1],
                finished=chosen,
            )
            written.append(output)
            stored = f"{report.stored_bytes:,} bytes of weights as read back" if report.layers else "written"
            lines += ["; ".join([f"{target}: {stored}{_on_disk(report.size)}", *report.notes])]
        return tuple(written), "; ".join(lines)

    def load(self, work: Work, folder: Path) -> tuple[Path, ...]:
        """Where the artefacts are."""
        return tuple(folder / target for target in work.settings.exports)


def _on_disk(size: FileSize | None) -> str:
    """The size of the file, beside the budget where there is one; empty where no file holds the network."""
    if size is None:
        return ""
    return f", {size.nbytes:,} on disk" + ("" if size.budget is None else f" of {size.budget:,} allowed")


def chosen_of(work: Work) -> Finished:
    """The network that is returned."""
    pair = pair_of(work)
    return pair.uniform if judged_of(work).chosen == UNIFORM and pair.uniform is not None else pair.mixed


def why_not(target: str, asked: str | None) -> str:
    """Why a target cannot be exported to in the end, found before anything runs; empty where it can.

    Parameters
    ----------
    target
        The export target.
    asked
        The target of the request.

    Returns
    -------
    why
        In words, with what to do.
    """
    reason = available()[target]
    if reason is not None:
        return reason
    if target == "gguf":
        return (
            "its metadata come from a float .gguf file, which a run does not have: take it out, and then export the "
            "bank of the finished network with model=FILE.gguf"
        )
    if EXPORTERS[target].capability is not None and asked is None:
        return (
            f"the request names no target, so formats may be chosen that {target} cannot take: write target = "
            f"{EXPORTERS[target].capability!r} in the request"
        )
    return ""
