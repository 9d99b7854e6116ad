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
from ..report.measured import sensitivity_report
from ..report.page import report_data, write_report
from ..report.page.worth import allocation_of, weight_front
from ..report.rivals import EqualBytes, Pair, equal_bytes_report
from ..report.text import BLANK, as_text
from ..tables.table import KIND, VERSION
from .console import note, progress, show, show_json
from .option_groups import Inputs, with_groups
from .options import (
    DEMO_FOLDER,
    MADE_FROM,
    FolderOption,
    ForceOption,
    JsonOption,
    SeedOption,
    check_output,
    check_replaced,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.console import RenderableType
    from torch import nn

    from ..evaluation.validation import Row
    from ..report.page import ReportData
    from ..rounding.bank import WeightBank
    from ..tables.table import SensitivityTable

TABLE = "table.json"
FORMATS = "w1,w2,w3,w4,w5,w6,w7,w8"
LEVELS = ("w2", "w3", "w4", "w5")  # at the bytes of these uniform policies mixed precision is solved
FINISHED = "w3"  # the level whose networks also get the last pass, which takes longer than all the rest
ROUNDER = "gptq"


@with_groups
def demo(
    inputs: Inputs,
    output: FolderOption = DEMO_FOLDER,
    seed: SeedOption = 0,
    force: ForceOption = False,
    json: JsonOption = False,
) -> None:
    """Do all of it with a network that comes along: measure, solve at several budgets, validate on real images."""
    check_output(output / "report.txt")
    if output != DEMO_FOLDER:  # which is the demo's own
        check_replaced(output / TABLE, inputs, force=force)
    document, written, report = demonstrate(output, seed, inputs.digest)
    if json:
        show_json(document)
    else:
        show(report)
    for path in written:
        note(f"wrote {path}")


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
        tables, levels = _results(seed)
    shown = equal_bytes_report(levels)
    written = []
    for table, name in zip(tables, (TABLE, f"table-{ROUNDER}.json"), strict=True):
        written.append(folder / name)
        write_document(written[-1], KIND, VERSION, {MADE_FROM: made_from, **table.document()})
    for level in levels:
        for policy, name in ((level.nearest.mixed, ""), (level.rounded.mixed, f"-{ROUNDER}")):
            written.append(folder / f"policy-{level.name}-bytes{name}.json")
            policy.save(written[-1])
    written.append(folder / "report.html")
    write_report(_page(tables[1], levels), written[-1])
    written.append(folder / "report.txt")
    write_text(written[-1], as_text(*(part for table in tables for part in (sensitivity_report(table), BLANK)), shown))
    document = {"schema": f"{PREFIX}/demo/2", "seed": seed, "levels": [level.document() for level in levels]}
    return document, written, shown


def _page(table: SensitivityTable, levels: list[EqualBytes]) -> ReportData:
    """The report on the policy that the most was found out about: the one that was finished."""
    level = next(each for each in levels if each.name == FINISHED)
    policy, recipe = level.rounded.mixed, f"mckp-quant demo  # seed {level.rounded.mixed.seed}"
    front = weight_front(table, policy) or None
    found = allocation_of(table, policy) or policy
    return report_data(
        table, found, validation=level.rounded.validation, front=front, recipe=recipe, name="the demo network"
    )


def _results(seed: int) -> tuple[tuple[SensitivityTable, SensitivityTable], list[EqualBytes]]:
    """The tables of weights rounded to nearest and by the rounder, and what they give at each level of bytes."""
    from .. import demo
    from ..rounding.banking import round_weights
    from ..sensitivity.measuring import measure

    network, data = demo.model(), demo.calibration()
    with progress("measuring the demo network") as report:
        nearest = measure(network, data, formats=FORMATS, run=RunOptions(seed=seed, progress=report))
    with progress("rounding it, and measuring that") as report:
        # Not on the same batches: a table of weights that were fitted to its own batches predicts too little.
        bank = round_weights(network, data[::2], FORMATS, rounder=ROUNDER)
        rounded = measure(network, data[1::2], formats=FORMATS, bank=bank, run=RunOptions(seed=seed, progress=report))
    levels = []
    with progress("solving, finishing and validating") as report:
        for done, name in enumerate(LEVELS):
            report(done, len(LEVELS))
            first, second = (
                _compared(network, table, name, own, seed) for table, own in ((nearest, None), (rounded, bank))
            )
            last = _finished(network, second, bank, seed) if name == FINISHED else None
            levels.append(EqualBytes(first, second, last))
    return (nearest, rounded), levels


def _compared(network: nn.Module, table: SensitivityTable, name: str, bank: WeightBank | None, seed: int) -> Pair:
    """A uniform policy and the best one within its bytes, run on the held-out images."""
    from .. import demo
    from ..evaluation.validation import validate

    uniform = Policy.uniform(table, name)
    mixed = allocate(table, {"weight_bytes": uniform.costs["weight_bytes"]}, seed=seed).policy
    return Pair(uniform, mixed, validate(network, mixed, demo.held_out(), against=[uniform], bank=bank))


def _finished(network: nn.Module, pair: Pair, bank: WeightBank, seed: int) -> tuple[Row, Row]:
    """Both policies of a pair after the last pass, run on the held-out images."""
    from .. import demo
    from ..tuning.finishing import finish
    from ..tuning.judging import validate_finished

    made = [
        finish(network, policy, demo.calibration(), bank=bank, run=RunOptions(seed=seed))
        for policy in (pair.uniform, pair.mixed)
    ]
    uniform, mixed = (validate_finished(network, each, demo.held_out(), bank=bank).policy for each in made)
    return uniform, mixed


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
