"""What is asked of a policy, in one object: budgets, and everything that narrows the choice."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ..common.documents import check_schema, plain, read_document, write_document
from ..common.files import read_toml, readable
from ..errors import InvalidInput
from .choices import SHARED_INPUTS, find_ties
from .constraints.constraints import Constraints
from .constraints.peak_memory import shared_inputs
from .request_document import amounts_document, constraints_document, costs_document, pinned_document, request_fields

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..common.amounts import Amount
    from ..formats.format import Format
    from ..layers import Activation
    from ..tables.cost_table import CostTable
    from ..tables.table import SensitivityTable

# From layers to the format that each must have, or its name.
Pins: TypeAlias = "Mapping[str, str | Format]"

KIND = "request"
VERSION = 1
_MAPPINGS = {
    "budgets": "{'weight_bytes': '90kB'}",
    "at_least": "{'bops': '20%'}",
    "pinned": "{'head': 'w8'}",
    "choices": "{'kind:linear': ['w4', 'w8']}",
}


@dataclass(frozen=True)
class Request:
    """What is asked of a policy beside a small loss. Every function that needs budgets takes one.

    Attributes
    ----------
    budgets
        The most of each resource, from names such as ``"weight_bytes"``, ``"bits_per_weight"``, ``"bops"``,
        ``"activation_bytes"`` or ``"total_bytes"`` to an amount such as ``90_000``, ``"90kB"`` or ``"25%"``.
    at_least
        The least of each resource, from names to amounts as in `budgets`.
    pinned
        From layers to the format that each must have.
    tied
        Sets of layers that must share one format.
    tie_rules
        Rules by which layers of the table are tied, as `find_ties` takes them, and ``"shared_inputs"``, which ties the
        layers that read one activation tensor.
    costs
        Costs that were measured, such as latencies; their names may then stand in `budgets` and `at_least`.
    choices
        From layers, patterns such as ``"blocks.*.mlp.*"``, ``"kind:linear"``, ``"first"`` or ``"last"`` to the names of
        the formats that these may have; the last rule that matches counts.
    target
        The export target, such as ``"torchao"``: only formats that it takes, layers that it fuses tied, and weights
        counted as it stores them.
    constraints
        Constraints on the policy as a whole, such as a limit on distinct formats; only some solvers take them.
    activations
        The activation tensors, for the budgets ``"activation_bytes"`` and ``"total_bytes"``; where there are none,
        those of the table count.

    Raises
    ------
    InvalidInput
        When there is no budget at all, or a field is of another type.
    """

    budgets: Mapping[str, Amount]
    at_least: Mapping[str, Amount] | None = None
    pinned: Pins | None = None
    tied: Sequence[Sequence[str]] = ()
    tie_rules: Sequence[str] = ()
    costs: Sequence[CostTable] = ()
    choices: Mapping[str, Sequence[str]] | None = None
    target: str | None = None
    constraints: Constraints | None = None
    activations: Sequence[Activation] = ()

    def __post_init__(self) -> None:
        """Copy, and refuse a request that limits nothing and fields of another type."""
        for name, example in _MAPPINGS.items():
            given = getattr(self, name)
            if given is not None and not isinstance(given, Mapping):
                raise InvalidInput(f"{name} = {given!r}: give a mapping, such as {example}")
            object.__setattr__(self, name, None if given is None else dict(given))
        for name in ("tied", "tie_rules", "costs", "activations"):
            given = getattr(self, name)
            if isinstance(given, (str, Mapping)):
                raise InvalidInput(f"{name} = {given!r}: give a list")
            object.__setattr__(self, name, tuple(given))
        if self.constraints is not None and not isinstance(self.constraints, Constraints):
            raise InvalidInput(
                f"constraints is a {type(self.constraints).__name__}: give Constraints, such as "
                "Constraints(max_formats=2)"
            )
        if not self.budgets and not self.at_least:
            raise InvalidInput("no budget given: name at least one, such as weight_bytes='90kB'")

    def tensors(self, table: SensitivityTable) -> tuple[Activation, ...]:
        """The activation tensors: those given, else those that were found when the table was measured."""
        return tuple(self.activations) or table.activations

    def ties(self, table: SensitivityTable) -> tuple[Sequence[str], ...]:
        """The sets of layers that must share one format: those given, and those that the rules find in the table."""
        named = [rule for rule in self.tie_rules if rule != SHARED_INPUTS]
        found = (*self.tied, *find_ties(table.layers, named))
        return found if SHARED_INPUTS not in self.tie_rules else (*found, *shared_inputs(self.tensors(table)))

    def document(self) -> dict[str, Any]:
        """The request in plain types, as `save` writes it; raises InvalidInput for what cannot be written."""
        entries = {
            "at_least": amounts_document(self.at_least),
            "pinned": pinned_document(self.pinned),
            "tied": [[names] if isinstance(names, str) else list(names) for names in self.tied],
            "tie_rules": list(self.tie_rules),
            "costs": costs_document(self.costs),
            "choices": {rule: list(names) for rule, names in (self.choices or {}).items()},
            "target": self.target,
            "constraints": constraints_document(self.constraints),
            "activations": [dataclasses.asdict(each) for each in self.activations],
        }
        asked = {name: entry for name, entry in entries.items() if entry}
        document: dict[str, Any] = plain({"budgets": amounts_document(self.budgets), **asked})
        return document

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the request as one JSON document, whole or not at all."""
        write_document(path, KIND, VERSION, self.document())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Request:
        """Read a request that `save` wrote.

        Parameters
        ----------
        path
            The JSON file. Files that it names are sought from its folder on, as in `from_toml`.

        Returns
        -------
        request
            The same request; a pin to a format of a user's own is its name.

        Raises
        ------
        InvalidInput
            When the file cannot be read, or an entry is unknown or makes no sense.
        """
        source = f"the request {os.fspath(path)!r}"
        document = read_document(path, KIND, VERSION)
        with readable(source):
            return cls.from_document(document, source=source, folder=Path(path).parent)

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str]) -> Request:
        """Read a request that a person wrote as TOML: one entry per field, as in the JSON of `save`.

        Files may be named in the place of what they hold: ``costs = ["latency.csv"]`` (or ``{file = "latency.csv", name
        = "latency", unit = "us"}``), ``activations = "tensors.json"``, and ``previous = "policy.json"`` among the
        constraints.

        Parameters
        ----------
        path
            The file. The files that it names are sought from its folder on.

        Returns
        -------
        request
            The request.

        Raises
        ------
        InvalidInput
            When a file cannot be read, or an entry is unknown or makes no sense.
        """
        source = f"the request {os.fspath(path)!r}"
        document = read_toml(path, "request")
        if "schema" in document:
            document = check_schema(document, os.fspath(path), KIND, VERSION)
        with readable(source):
            return cls.from_document(document, source=source, folder=Path(path).parent)

    @classmethod
    def from_document(
        cls, document: Mapping[str, Any], *, source: str = "the request", folder: str | os.PathLike[str] = "."
    ) -> Request:
        """Read a request from plain types.

        Parameters
        ----------
        document
            What `document` gave, or the same with files in the place of what they hold; without a schema.
        source
            What it is from, for errors.
        folder
            Where the files are that it names.

        Returns
        -------
        request
            The request.

        Raises
        ------
        InvalidInput
            When an entry is unknown, with the nearest one, or makes no sense.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        return cls(**request_fields(document, known, source, Path(folder)))


# What to write now in the place of arguments that have become fields of a request.
IN_A_REQUEST = {
    **{
        name: f"Request(budgets, {name}=...) in the place of the budgets"
        for name in ("at_least", "tied", "costs", "choices", "constraints", "activations")
    },
    "structure": "Request(budgets, constraints=...) in the place of the budgets",
    "budgets": "request=...",
}


def as_request(
    request: Request | Mapping[str, Amount],
    *,
    target: str | None = None,
    pinned: Pins | None = None,
) -> Request:
    """Read a request or its short form: a mapping of budgets, with target and pins beside it.

    Parameters
    ----------
    request
        A request, which is given back, or a mapping of budgets.
    target, pinned
        Fields of the request, beside a mapping only.

    Returns
    -------
    request
        The request.

    Raises
    ------
    InvalidInput
        When it is neither, or something stands beside a request.
    """
    if isinstance(request, Request):
        beside = [name for name, value in (("target", target), ("pinned", pinned)) if value is not None]
        if beside:
            raise InvalidInput(
                f"{beside[0]}= stands beside a Request: write Request(budgets, {beside[0]}=...), or give a mapping of "
                "budgets instead of the Request"
            )
        return request
    if not isinstance(request, Mapping):
        raise InvalidInput(
            f"request is a {type(request).__name__}: give budgets such as {{'weight_bytes': '90kB'}}, or a Request"
        )
    return Request(request, target=target, pinned=pinned)
