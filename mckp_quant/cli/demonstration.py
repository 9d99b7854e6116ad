"""The demo: a network that comes with the program, from its weights to policies checked on held-out images."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..allocation.allocating import allocate
from ..common.documents import PREFIX, write_document
from ..common.files import write_text
from ..common.packages import require
from ..common.run_options import RunOptions
from ..policy.policy import Policy
from ..report.measured import EqualBytes, equal_bytes_report, sensitivity_report
from ..report.text import BLANK, as_text
from ..tables.table import KIND, VERSION
from .console import progress
from .options import MADE_FROM

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from rich.console import RenderableType

    from ..tables.table import SensitivityTable

TABLE = "table.json"
FORMATS = "w1,w2,w3,w4,w5,w6,w7,w8"
LEVELS = ("w2", "w3", "w4", "w5")  # at the bytes of these uniform policies mixed precision is solved


def demonstrate(folder: Path, seed: int, made_from: str) -> tuple[dict[str, Any], list[Path], RenderableType]:
    """Measure, solve at several budgets, validate, and write everything into a folder.

    Parameters
    ----------
    folder
        Where to write; made where it is missing.
    seed
        The seed of the measurement's probes and of the solvers.
    made_from
        The digest of the inputs, which the table keeps.

    Returns
    -------
    document
        The results in plain types.
    written
        The files that were written.
    report
        The results for people.
    """
    require("torch", "demo", without="solve and compare work on a table without it")
    with _one_thread():
        table, levels = _results(seed)
    parts: Sequence[RenderableType] = (sensitivity_report(table), equal_bytes_report(levels))
    written = [folder / TABLE, *(folder / f"policy-{level.name}-bytes.json" for level in levels)]
    write_document(written[0], KIND, VERSION, {MADE_FROM: made_from, **table.document()})
    for level, path in zip(levels, written[1:], strict=True):
        level.mixed.save(path)
    written.append(folder / "report.txt")
    write_text(written[-1], as_text(parts[0], BLANK, parts[1]))
    document = {"schema": f"{PREFIX}/demo/1", "seed": seed, "levels": [level.document() for level in levels]}
    return document, written, parts[1]


def _results(seed: int) -> tuple[SensitivityTable, list[EqualBytes]]:
    from .. import demo
    from ..evaluation.validation import validate
    from ..sensitivity.measuring import measure

    network, held_out = demo.model(), demo.held_out()
    with progress("measuring the demo network") as report:
        table = measure(network, demo.calibration(), formats=FORMATS, run=RunOptions(seed=seed, progress=report))
    levels = []
    with progress("solving and validating") as report:
        for done, name in enumerate(LEVELS):
            report(done, len(LEVELS))
            uniform = Policy.uniform(table, name)
            mixed = allocate(table, {"weight_bytes": uniform.costs["weight_bytes"]}, seed=seed).policy
            levels.append(EqualBytes(uniform, mixed, validate(network, mixed, held_out, against=[uniform])))
    return table, levels


@contextmanager
def _one_thread() -> Iterator[None]:
    """The network is so small that threads cost more than they bring, and on a busy machine far more."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
