"""The options that several commands share, and how their values are read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..allocation.choices import RUNTIME_TIES, TIE_RULES, find_ties
from ..allocation.constraints.constraints import Constraints
from ..allocation.constraints.conversion import Conversion
from ..allocation.constraints.peak_memory import shared_inputs
from ..costs.costs import PEAKS, RESOURCES, VARIANTS
from ..errors import InvalidInput
from ..formats.capabilities import TARGETS
from ..policy.policy import Policy
from ..tables import Handling, read_activations, read_costs, read_table
from ..tables.findings import ANSWERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..layers import Activation
    from ..tables.cost_table import CostTable
    from ..tables.table import SensitivityTable

SHARED_INPUTS = "shared_inputs"

TableArgument = Annotated[
    Path,
    typer.Argument(
        metavar="TABLE", help="A sensitivity table: .json as 'measure' writes it, .csv (wide, long) or .npz."
    ),
]
OnOption = Annotated[
    list[str] | None,
    typer.Option(
        "--on",
        metavar="KIND=ANSWER",
        help="What to do about odd cells of a .csv or .npz, such as missing=drop; may be repeated. "
        + ", ".join(f"{kind}: {' '.join(answers)}" for kind, answers in ANSWERS.items())
        + ".",
    ),
]
AtLeastOption = Annotated[
    list[str] | None,
    typer.Option("--at-least", metavar="NAME=VALUE", help="A minimum, as a budget is a maximum; may be repeated."),
]
CostsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--costs",
        metavar="NAME=FILE",
        help="Measured costs, whole numbers per layer and format, as .csv or .json; NAME may then be a budget. "
        "NAME:UNIT=FILE says what they count, ns by default. May be repeated.",
    ),
]
BudgetOption = Annotated[
    list[str],
    typer.Option(
        "--budget",
        metavar="NAME=VALUE",
        help=f"A limit, such as weight_bytes=90kB, bits_per_weight=2.5 or bops=25%; may be repeated. "
        f"Names: {', '.join([*RESOURCES, *PEAKS, *VARIANTS])}, and those of --costs.",
    ),
]
PinOption = Annotated[
    list[str] | None,
    typer.Option("--pin", metavar="LAYER=FORMAT", help="A layer that must have this format; may be repeated."),
]
TieOption = Annotated[
    list[str] | None,
    typer.Option("--tie", metavar="LAYER,LAYER", help="Layers that must share one format; may be repeated."),
]
AllowOption = Annotated[
    list[str] | None,
    typer.Option(
        "--allow",
        metavar="RULE=FORMAT,FORMAT",
        help="The only formats of a layer, a pattern, kind:linear, first or last; may be repeated, the last counts.",
    ),
]
TargetOption = Annotated[
    str | None, typer.Option("--target", help=f"Only formats that this target takes: {', '.join(TARGETS)}.")
]
TieRuleOption = Annotated[
    list[str] | None,
    typer.Option(
        "--tie-rule",
        metavar="RULE",
        help=f"Tie layers by a rule: {', '.join([*TIE_RULES, *RUNTIME_TIES])}, {SHARED_INPUTS} (those that read one "
        "activation tensor of the table), or an expression with (?P<part>...).",
    ),
]
MaxFormatsOption = Annotated[int | None, typer.Option("--max-formats", help="The most distinct formats.")]
PreviousOption = Annotated[
    Path | None, typer.Option("--previous", metavar="POLICY", help="A policy to stay close to; see --max-changes.")
]
MaxChangesOption = Annotated[
    int | None, typer.Option("--max-changes", help="The most layers that may differ from --previous.")
]
FallingOption = Annotated[
    list[str] | None,
    typer.Option("--falling", metavar="LAYER,LAYER", help="Layers along which weight bits never rise; repeatable."),
]
RisingOption = Annotated[
    list[str] | None,
    typer.Option("--rising", metavar="LAYER,LAYER", help="Layers along which weight bits never fall; repeatable."),
]
ConvertOption = Annotated[
    list[str] | None,
    typer.Option(
        "--convert",
        metavar="BUDGET:LAYER>LAYER=COST",
        help="What a budget loses where these two layers have different formats, in what it counts; may be repeated.",
    ),
]
ActivationsOption = Annotated[
    Path | None,
    typer.Option(
        "--activations",
        metavar="FILE",
        help="Activation tensors for limits on peak memory, where the table holds none: a JSON list of objects with "
        "elements, first, last and readers.",
    ),
]
SecondsOption = Annotated[float, typer.Option("--seconds", help="Time limit of each solver.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Seed of whatever draws random numbers.")]
OutputOption = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write the result.")]
MaybeOutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to write the result; by default nowhere.")
]
FolderOption = Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where to write the results.")]
DEMO_FOLDER = Path("demo-output")
PolicyArgument = Annotated[Path, typer.Argument(metavar="POLICY", help="A policy, as 'solve' writes it.")]
MaybeTableOption = Annotated[
    Path | None, typer.Option("--table", metavar="TABLE", help="Run the uniform policies of this table too.")
]
DataOption = Annotated[
    str,
    typer.Option(
        "--data",
        metavar="DATA",
        help="Batches: package.module:function, file.py:function, or .npz with inputs, targets.",
    ),
]
BatchSizeOption = Annotated[int, typer.Option("--batch-size", help="Samples in a batch, for an .npz.")]
LikelihoodOption = Annotated[str, typer.Option("--likelihood", help="categorical, or gaussian for regression.")]
ClassDimOption = Annotated[
    int | None, typer.Option("--class-dim", help="Where dense outputs, (N, C, H, W), have their classes: 1 there.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, for programs.")]


def pairs(option: str, texts: Sequence[str] | None) -> dict[str, str]:
    """Read repeated ``NAME=VALUE`` options.

    Parameters
    ----------
    option
        The option, for the error.
    texts
        What the user wrote.

    Returns
    -------
    pairs
        From names to values.

    Raises
    ------
    InvalidInput
        When there is no ``=``, a side is empty, or a name stands twice.
    """
    found: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            raise InvalidInput(f"{option} {text!r} cannot be read: write {option} NAME=VALUE")
        if name in found:
            raise InvalidInput(f"{option} {name!r} is given twice ({found[name]!r} and {value!r}): give it once")
        found[name] = value
    return found


def sets(texts: Sequence[str] | None) -> list[list[str]]:
    """Read repeated ``--tie A,B,C`` options; raises InvalidInput for a set of fewer than two layers."""
    found = [names(text) for text in texts or ()]
    for members, text in zip(found, texts or (), strict=True):
        if len(members) < 2:
            raise InvalidInput(f"--tie {text!r} names {len(members)} layer: name at least two, as in --tie A,B")
    return found


def names(text: str) -> list[str]:
    """Split a comma-separated list."""
    return [part.strip() for part in text.split(",") if part.strip()]


def table_from(path: Path, answers: Sequence[str] | None) -> SensitivityTable:
    """Read the table, doing about odd cells what ``--on`` says."""
    return read_table(path, handling=Handling.of(pairs("--on", answers))).table


def ties_from(table: SensitivityTable, texts: Sequence[str] | None, rules: Sequence[str] | None) -> list[Sequence[str]]:
    """The sets of ``--tie``, and those that ``--tie-rule`` finds."""
    named = [rule for rule in rules or () if rule != SHARED_INPUTS]
    found = [*sets(texts), *find_ties(table.layers, named)]
    return found if SHARED_INPUTS not in (rules or ()) else [*found, *shared_inputs(table.activations)]


def constraints_from(
    max_formats: int | None,
    previous: Path | None,
    max_changes: int | None,
    falling: Sequence[str] | None,
    rising: Sequence[str] | None,
    convert: Sequence[str] | None,
) -> Constraints:
    """The constraints on the policy as a whole."""
    return Constraints(
        max_formats=max_formats,
        previous=None if previous is None else Policy.load(previous),
        max_changes=max_changes,
        falling=tuple(names(text) for text in falling or ()),
        rising=tuple(names(text) for text in rising or ()),
        conversions=tuple(_conversion(said, cost) for said, cost in pairs("--convert", convert).items()),
    )


def _conversion(said: str, cost: str) -> Conversion:
    budget, colon, edge = said.partition(":")
    before, arrow, after = (part.strip() for part in edge.partition(">"))
    if not (budget.strip() and colon and before and arrow and after and cost.isdecimal()):
        raise InvalidInput(f"--convert '{said}={cost}' cannot be read: write --convert latency:conv1>conv2=120")
    return Conversion(budget.strip(), [(before, after)], int(cost))


def activations_from(path: Path | None) -> tuple[Activation, ...]:
    """The tensors of ``--activations``; none without it."""
    return () if path is None else read_activations(path)


def choices_from(texts: Sequence[str] | None) -> dict[str, list[str]]:
    """Read repeated ``--allow RULE=FORMAT,FORMAT`` options."""
    return {rule: names(formats) for rule, formats in pairs("--allow", texts).items()}


def costs_from(texts: Sequence[str] | None) -> list[CostTable]:
    """Read repeated ``--costs NAME=FILE`` options."""
    found = []
    for said, file in pairs("--costs", texts).items():
        name, _, unit = said.partition(":")
        found.append(read_costs(file, name=name, unit=unit or "ns"))
    return found


def check_output(path: Path | None) -> None:
    """Refuse an output that cannot be written, before any work is done for it; raises InvalidInput."""
    if path is None:
        return
    if path.is_dir():
        raise InvalidInput(f"-o {str(path)!r} is a folder: name a file")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InvalidInput(f"-o {str(path)!r} cannot be written: {str(folder)!r} is no folder that can be written to")
