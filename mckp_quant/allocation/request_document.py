"""A request in plain types: what its JSON file holds, and what a user writes in TOML; both have the same entries."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from fractions import Fraction
from numbers import Integral
from typing import TYPE_CHECKING, Any

from ..common.documents import PREFIX, check_schema
from ..common.files import readable
from ..errors import InvalidInput, unknown
from ..layers import Activation
from ..policy.document import policy_arguments
from ..policy.policy import KIND as POLICY
from ..policy.policy import VERSION as POLICY_VERSION
from ..policy.policy import Policy
from ..tables.cost_table import NOT_MEASURED, CostTable
from ..tables.readers.activation_files import read_activations
from ..tables.readers.cost_files import read_costs
from .constraints.constraints import Constraints
from .constraints.conversion import Conversion

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from ..common.amounts import Amount
    from ..formats.format import Format

_FRACTION = re.compile(r"\d{1,20}/\d{1,20}")
_COST_TABLE = ("name", "unit", "layers", "formats", "cost")
_COST_FILE = ("file", "name", "unit")
_CONSTRAINTS = tuple(field.name for field in dataclasses.fields(Constraints))
_CONVERSION = ("resource", "edges", "cost")
_PAIR = ("before", "after", "cost")


def amounts_document(amounts: Mapping[str, Amount] | None) -> dict[str, int | float | str]:
    """Amounts in plain types; a fraction becomes text such as ``"1/3"``, raises InvalidInput for nan and infinity."""
    found: dict[str, int | float | str] = {}
    given: Mapping[str, object] = amounts or {}
    for name, amount in given.items():
        if isinstance(amount, str):
            found[name] = amount
        elif not isinstance(amount, bool) and isinstance(amount, Integral):
            found[name] = int(amount)
        elif not isinstance(amount, float):  # exact: a fraction or a decimal
            found[name] = str(amount)
        elif math.isfinite(amount):
            found[name] = float(amount)
        else:
            raise InvalidInput(f"{name} = {amount!r} is not finite: give a number that is at least 0")
    return found


def pinned_document(pinned: Mapping[str, str | Format] | None) -> dict[str, str]:
    """Pins by the names of formats: also of a user's own, since a pin only names a column of the table."""
    return {layer: entry if isinstance(entry, str) else entry.name for layer, entry in (pinned or {}).items()}


def costs_document(costs: Iterable[CostTable]) -> list[dict[str, Any]]:
    """Cost tables in plain types, as cost files in JSON hold them; None where nothing was measured."""
    return [
        {
            "name": each.name,
            "unit": each.unit,
            "layers": list(each.layer_names),
            "formats": list(each.formats),
            "cost": [[None if cost == NOT_MEASURED else cost for cost in row] for row in each.cost.tolist()],
        }
        for each in costs
    ]


def constraints_document(constraints: Constraints | None) -> dict[str, Any]:
    """Constraints in plain types, those that limit something; raises InvalidInput where a policy cannot be written."""
    if constraints is None:
        return {}
    found: dict[str, Any] = {}
    if constraints.max_formats is not None:
        found["max_formats"] = constraints.max_formats
    if constraints.previous is not None:
        found["previous"] = {"schema": f"{PREFIX}/{POLICY}/{POLICY_VERSION}", **constraints.previous.document()}
        found["max_changes"] = constraints.max_changes
    for name in ("falling", "rising"):
        if getattr(constraints, name):
            found[name] = [list(names) for names in getattr(constraints, name)]
    if constraints.conversions:
        found["conversions"] = [_conversion_document(each) for each in constraints.conversions]
    return found


def _conversion_document(conversion: Conversion) -> dict[str, Any]:
    cost: Any = conversion.cost
    if isinstance(cost, Mapping):
        cost = [{"before": before, "after": after, "cost": int(each)} for (before, after), each in cost.items()]
    else:
        cost = int(cost)
    return {"resource": conversion.resource, "edges": [list(edge) for edge in conversion.edges], "cost": cost}


def request_fields(document: Mapping[str, Any], known: Sequence[str], source: str, folder: Path) -> dict[str, Any]:
    """Read the fields of a request.

    Parameters
    ----------
    document
        The entries, without the schema.
    known
        The names of the fields.
    source
        What the entries are from, for errors.
    folder
        Where files are that the entries name: cost tables, activation tensors, the previous policy.

    Returns
    -------
    fields
        The arguments of `Request`, by name.

    Raises
    ------
    InvalidInput
        When an entry is unknown, with the nearest one, or cannot be read.
    """
    _check_names(document, known, f"entry of {source}:")
    with readable(source):
        found: dict[str, Any] = {"budgets": {}}
        for name in ("budgets", "at_least"):
            if name in document:
                amounts = _table(document[name], name, source)
                found[name] = {resource: _amount(amount) for resource, amount in amounts.items()}
        if "pinned" in document:
            pinned = _table(document["pinned"], "pinned", source)
            found["pinned"] = {layer: _text(name, f"pinned.{layer}", source) for layer, name in pinned.items()}
        if "tied" in document:
            found["tied"] = _texts_of_texts(document["tied"], "tied", source)
        if "tie_rules" in document:
            found["tie_rules"] = _texts(document["tie_rules"], "tie_rules", source)
        if "costs" in document:
            found["costs"] = tuple(_costs(entry, source, folder) for entry in _list(document["costs"], "costs", source))
        if "choices" in document:
            choices = _table(document["choices"], "choices", source)
            found["choices"] = {rule: _texts(names, f"choices.{rule}", source) for rule, names in choices.items()}
        if document.get("target") is not None:
            found["target"] = _text(document["target"], "target", source)
        if document.get("constraints") is not None:
            found["constraints"] = _constraints(document["constraints"], source, folder)
        if "activations" in document:
            found["activations"] = _activations(document["activations"], source, folder)
        return found


def _amount(entry: Any) -> Any:
    return Fraction(entry) if isinstance(entry, str) and _FRACTION.fullmatch(entry.strip()) else entry


def _costs(entry: Any, source: str, folder: Path) -> CostTable:
    """Costs that stand in the document, or in a file that it names; a file alone gives them its name."""
    if isinstance(entry, str):
        entry = {"file": entry}
    costs = _table(entry, "an entry of costs", source)
    if "file" in costs:
        _check_names(costs, _COST_FILE, f"entry of costs in {source}:")
        path = folder / _text(costs["file"], "costs.file", source)
        name = _text(costs.get("name", path.stem), "costs.name", source)
        return read_costs(path, name=name, unit=_text(costs["unit"], "costs.unit", source) if "unit" in costs else None)
    _check_names(costs, _COST_TABLE, f"entry of costs in {source}:")
    layers, formats = (_texts(costs[name], f"costs.{name}", source) for name in ("layers", "formats"))
    rows = [[NOT_MEASURED if cost is None else cost for cost in row] for row in costs["cost"]]
    name, unit = (
        _text(costs.get(each, other), f"costs.{each}", source) for each, other in (("name", None), ("unit", "ns"))
    )
    return CostTable(name, unit, layers, formats, rows)  # type: ignore[arg-type]  # it makes an array of them


def _constraints(entry: Any, source: str, folder: Path) -> Constraints:
    entries = _table(entry, "constraints", source)
    _check_names(entries, _CONSTRAINTS, f"constraint in {source}:")
    return Constraints(
        max_formats=entries.get("max_formats"),
        previous=None if entries.get("previous") is None else _policy(entries["previous"], source, folder),
        max_changes=entries.get("max_changes"),
        falling=_texts_of_texts(entries.get("falling", ()), "constraints.falling", source),
        rising=_texts_of_texts(entries.get("rising", ()), "constraints.rising", source),
        conversions=tuple(
            _conversion(each, source)
            for each in _list(entries.get("conversions", ()), "constraints.conversions", source)
        ),
    )


def _policy(entry: Any, source: str, folder: Path) -> Policy:
    if isinstance(entry, str):
        return Policy.load(folder / entry)
    where = f"the previous policy in {source}"
    return Policy(**policy_arguments(check_schema(entry, where, POLICY, POLICY_VERSION), where))


def _conversion(entry: Any, source: str) -> Conversion:
    name = "an entry of constraints.conversions"
    entries = _table(entry, name, source)
    _check_names(entries, _CONVERSION, f"entry of conversions in {source}:")
    cost = entries["cost"]
    if isinstance(cost, list):
        for each in cost:
            _check_names(_table(each, "a cost of conversions", source), _PAIR, f"entry of a conversion in {source}:")
        cost = {(each["before"], each["after"]): each["cost"] for each in cost}
    edges = [tuple(edge) for edge in _texts_of_texts(entries["edges"], f"the edges of {name}", source)]
    return Conversion(_text(entries["resource"], "resource", source), edges, cost)  # type: ignore[arg-type]


def _activations(entry: Any, source: str, folder: Path) -> tuple[Activation, ...]:
    if isinstance(entry, str):
        return read_activations(folder / entry)
    tensors = _list(entry, "activations", source)
    return tuple(Activation.from_document(each, f"{source}, activation {at}") for at, each in enumerate(tensors))


def _check_names(entries: Mapping[str, Any], known: Sequence[str], kind: str) -> None:
    for name in entries:
        if name not in known:
            raise unknown(kind, name, known)


def _table(entry: Any, name: str, source: str) -> Mapping[str, Any]:
    if not isinstance(entry, Mapping):
        raise InvalidInput(f"{source} has {name} = {entry!r}: it must be a table of names and values")
    return entry


def _list(entry: Any, name: str, source: str) -> Sequence[Any]:
    if not isinstance(entry, (list, tuple)):
        raise InvalidInput(f"{source} has {name} = {entry!r}: it must be a list")
    return entry


def _text(entry: Any, name: str, source: str) -> str:
    if not isinstance(entry, str):
        raise InvalidInput(f"{source} has {name} = {entry!r}: it must be text")
    return entry


def _texts(entry: Any, name: str, source: str) -> tuple[str, ...]:
    return tuple(_text(each, name, source) for each in _list(entry, name, source))


def _texts_of_texts(entry: Any, name: str, source: str) -> tuple[tuple[str, ...], ...]:
    return tuple(_texts(each, name, source) for each in _list(entry, name, source))
