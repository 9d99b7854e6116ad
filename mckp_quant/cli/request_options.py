"""What is asked of a policy, as options: the same ones in every command that needs budgets, and a file of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from ..allocation.choices import RUNTIME_TIES, SHARED_INPUTS, TIE_RULES
from ..allocation.constraints.constraints import Constraints
from ..allocation.constraints.conversion import Conversion
from ..allocation.request import Request
from ..costs.costs import FILE_BYTES, PEAKS, RESOURCES, VARIANTS
from ..errors import InvalidInput, unknown
from ..formats.capabilities import TARGETS
from ..policy.policy import Policy
from ..tables import read_activations, read_costs
from .options import names, pairs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..tables.cost_table import CostTable

T = TypeVar("T")

PANEL = "Request"
# Which option says what a field of `Constraints` says.
CONSTRAINTS = {
    "max_formats": "--max-formats",
    "previous": "--previous",
    "falling": "--falling",
    "rising": "--rising",
    "conversions": "--convert",
}


@dataclass(frozen=True)
class RequestOptions:
    """The options of a request. `read` makes the `Request`, which says what each of them means."""

    budget: Annotated[
        list[str] | None,
        typer.Option(
            "--budget",
            metavar="NAME=VALUE",
            rich_help_panel=PANEL,
            help="A limit, such as weight_bytes=90kB, bits_per_weight=2.5 or bops=25%; may be repeated. Names: "
            f"{', '.join([*RESOURCES, FILE_BYTES, *PEAKS, *VARIANTS])}, and those of --costs.",
        ),
    ] = None
    at_least: Annotated[
        list[str] | None,
        typer.Option(
            "--at-least",
            metavar="NAME=VALUE",
            rich_help_panel=PANEL,
            help="A minimum, as a budget is a maximum; may be repeated.",
        ),
    ] = None
    pin: Annotated[
        list[str] | None,
        typer.Option(
            "--pin",
            metavar="LAYER=FORMAT",
            rich_help_panel=PANEL,
            help="A layer that must have this format; may be repeated.",
        ),
    ] = None
    tie: Annotated[
        list[str] | None,
        typer.Option(
            "--tie",
            metavar="LAYER,LAYER",
            rich_help_panel=PANEL,
            help="Layers that must share one format; may be repeated.",
        ),
    ] = None
    tie_rule: Annotated[
        list[str] | None,
        typer.Option(
            "--tie-rule",
            metavar="RULE",
            rich_help_panel=PANEL,
            help=f"Tie layers by a rule: {', '.join([*TIE_RULES, *RUNTIME_TIES])}, {SHARED_INPUTS} (those that read "
            "one activation tensor), or an expression with (?P<part>...); may be repeated.",
        ),
    ] = None
    allow: Annotated[
        list[str] | None,
        typer.Option(
            "--allow",
            metavar="RULE=FORMAT,FORMAT",
            rich_help_panel=PANEL,
            help="The only formats of a layer, a pattern, kind:linear, first or last; may be repeated, the last "
            "counts.",
        ),
    ] = None
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            rich_help_panel=PANEL,
            help=f"Only formats that this target takes: {', '.join(TARGETS)}; vllm:tp8 for eight devices.",
        ),
    ] = None
    costs: Annotated[
        list[str] | None,
        typer.Option(
            "--costs",
            metavar="NAME=FILE",
            rich_help_panel=PANEL,
            help="Measured costs, whole numbers per layer and format, as .csv, .json or HAQ's .npy; NAME may then be a "
            "budget. "
            "NAME:UNIT=FILE says what they count, by default as the file says, else ns. May be repeated.",
        ),
    ] = None
    max_formats: Annotated[
        int | None, typer.Option("--max-formats", rich_help_panel=PANEL, help="The most distinct formats.")
    ] = None
    previous: Annotated[
        Path | None,
        typer.Option(
            "--previous",
            metavar="POLICY",
            rich_help_panel=PANEL,
            help="A policy to stay close to; see --max-changes.",
        ),
    ] = None
    max_changes: Annotated[
        int | None,
        typer.Option("--max-changes", rich_help_panel=PANEL, help="The most layers that may differ from --previous."),
    ] = None
    falling: Annotated[
        list[str] | None,
        typer.Option(
            "--falling",
            metavar="LAYER,LAYER",
            rich_help_panel=PANEL,
            help="Layers along which weight bits never rise; may be repeated.",
        ),
    ] = None
    rising: Annotated[
        list[str] | None,
        typer.Option(
            "--rising",
            metavar="LAYER,LAYER",
            rich_help_panel=PANEL,
            help="Layers along which weight bits never fall; may be repeated.",
        ),
    ] = None
    convert: Annotated[
        list[str] | None,
        typer.Option(
            "--convert",
            metavar="BUDGET:LAYER>LAYER=COST",
            rich_help_panel=PANEL,
            help="What a budget loses where these two layers have different formats, in what it counts; may be "
            "repeated.",
        ),
    ] = None
    activations: Annotated[
        Path | None,
        typer.Option(
            "--activations",
            metavar="FILE",
            rich_help_panel=PANEL,
            help="Activation tensors for limits on peak memory, where the table holds none: a JSON list of objects "
            "with elements, first, last and readers.",
        ),
    ] = None
    request: Annotated[
        Path | None,
        typer.Option(
            "--request",
            metavar="FILE",
            rich_help_panel=PANEL,
            help="A request as .toml, or as .json. The other options add to its lists and tables, and override its "
            "single values and what has the same name.",
        ),
    ] = None

    def read(self, lifted: str | None = None) -> Request:
        """Read the options and the file.

        Parameters
        ----------
        lifted
            The budget that is 100% where none is given, for a command that needs none.

        Returns
        -------
        request
            The request; what the options say counts more than the file.

        Raises
        ------
        InvalidInput
            When an option or a file cannot be read, or there is no budget.
        """
        file = None if self.request is None else _from_file(self.request)
        budgets, at_least = pairs("--budget", self.budget), pairs("--at-least", self.at_least)
        if file is None and not budgets and not at_least and lifted is not None:
            budgets = {lifted: "100%"}
        if file is None and not budgets and not at_least:
            raise InvalidInput(
                "Missing option '--budget': name a limit, such as --budget weight_bytes=90kB, or a file with --request"
            )
        said: dict[str, Any] = {} if file is None else vars(file)
        costs = _costs(self.costs)
        return Request(
            _over(said.get("budgets"), budgets),
            at_least=_over(said.get("at_least"), at_least),
            pinned=_over(said.get("pinned"), pairs("--pin", self.pin)),
            tied=(*said.get("tied", ()), *_sets(self.tie)),
            tie_rules=(*said.get("tie_rules", ()), *(self.tie_rule or ())),
            costs=(*(each for each in said.get("costs", ()) if each.name not in costs), *costs.values()),
            choices=_over(
                said.get("choices"),
                {rule: names(formats) for rule, formats in pairs("--allow", self.allow).items()},
            ),
            target=self.target or said.get("target"),
            constraints=self._constraints(said.get("constraints")),
            activations=read_activations(self.activations) if self.activations else said.get("activations", ()),
        )

    def _constraints(self, file: Constraints | None) -> Constraints | None:
        known = Constraints() if file is None else file
        found = Constraints(
            max_formats=known.max_formats if self.max_formats is None else self.max_formats,
            previous=known.previous if self.previous is None else Policy.load(self.previous),
            max_changes=known.max_changes if self.max_changes is None else self.max_changes,
            falling=(*known.falling, *(names(text) for text in self.falling or ())),
            rising=(*known.rising, *(names(text) for text in self.rising or ())),
            conversions=(
                *known.conversions,
                *(_conversion(said, cost) for said, cost in pairs("--convert", self.convert).items()),
            ),
        )
        return None if found == Constraints() else found


def refuse_constraints(request: Request, command: str, why: str) -> None:
    """Refuse constraints that a command cannot honour.

    Parameters
    ----------
    request
        The request.
    command
        The command, and with which option where it is that.
    why
        Why it cannot, as a clause.

    Raises
    ------
    InvalidInput
        With the option that says the first of them.
    """
    for name, option in CONSTRAINTS.items():
        if request.constraints is not None and getattr(request.constraints, name):
            raise InvalidInput(
                f"{command} cannot honour {option} (constraints.{name} in a request): {why}; leave it out, or use "
                "'solve'"
            )


def _from_file(path: Path) -> Request:
    kinds = {".toml": Request.from_toml, ".json": Request.load}
    kind = path.suffix.casefold()
    if kind not in kinds:
        raise unknown("kind of request", kind or str(path), kinds)
    return kinds[kind](path)


def _over(file: Mapping[str, T] | None, options: Mapping[str, T]) -> dict[str, T]:
    """Entries of the file, then those of the options: of rules, the last that matches counts."""
    return {**{name: entry for name, entry in (file or {}).items() if name not in options}, **options}


def _sets(texts: Sequence[str] | None) -> list[list[str]]:
    found = [names(text) for text in texts or ()]
    for members, text in zip(found, texts or (), strict=True):
        if len(members) < 2:
            raise InvalidInput(f"--tie {text!r} names {len(members)} layer: name at least two, as in --tie A,B")
    return found


def _costs(texts: Sequence[str] | None) -> dict[str, CostTable]:
    found = {}
    for said, file in pairs("--costs", texts).items():
        name, _, unit = said.partition(":")
        costs = read_costs(file, name=name, unit=unit or None)
        found[costs.name] = costs
    return found


def _conversion(said: str, cost: str) -> Conversion:
    budget, colon, edge = said.partition(":")
    before, arrow, after = (part.strip() for part in edge.partition(">"))
    if not (budget.strip() and colon and before and arrow and after and cost.isdecimal()):
        raise InvalidInput(f"--convert '{said}={cost}' cannot be read: write --convert latency:conv1>conv2=120")
    return Conversion(budget.strip(), [(before, after)], int(cost))
