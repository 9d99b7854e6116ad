"""A policy in plain types, for its JSON file and for programs that read what the command line prints."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..common.documents import entries, field, whole
from ..common.files import readable
from ..costs.costs import Budget
from ..errors import InvalidInput, unknown
from ..formats.format import format_document, format_from
from ..formats.ranges import ActivationRanges

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..formats.format import Format

_CORRECTED = ("corrected", "corrected_stderr", "correction")


def policy_document(policy: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a policy in plain types.

    Parameters
    ----------
    policy
        The arguments of `Policy` by name, with its ``gap`` and ``bits_per_weight``.

    Returns
    -------
    document
        All of these; formats are described once, and layers name them.

    Raises
    ------
    InvalidInput
        When a user's own format comes without the bits that its layers take.
    """
    names: tuple[str, ...] = policy["layer_names"]
    formats: tuple[Format, ...] = policy["formats"]
    bits: tuple[int | None, ...] = policy["layer_bits"] or (None,) * len(names)
    own = next((entry.name for entry in formats if not entry.built_in), None)
    if own is not None and None in bits:
        raise InvalidInput(
            f"format {own!r} is a user's own and the policy does not know its stored bits: "
            "make the policy with allocate or Policy.uniform, or give layer_bits"
        )
    rows = list(zip(names, formats, bits, strict=True))
    copied = (
        *("made_by", "status", "ground", "tolerance", "solver", "seed"),
        *("unit", "predicted", "predicted_stderr", "bound", "gap"),
    )
    return {
        **{name: policy[name] for name in copied},
        **({name: policy[name] for name in _CORRECTED} if policy["correction"] else {}),
        "costs": dict(policy["costs"]),
        "weights": policy["n_weights"],
        "bits_per_weight": policy["bits_per_weight"],
        "budgets": [_budget(each) for each in policy["budgets"]],
        "target": policy["target"],
        "table": policy["table"],
        **({"rounder": policy["rounder"]} if policy["rounder"] else {}),
        **({} if policy["ranges"] is None else {"activation_ranges": policy["ranges"].document()}),
        "ties": [list(tied) for tied in policy["ties"]],
        "pinned": [{"layer": layer, "format": name} for layer, name in policy["pinned"]],
        "formats": [
            format_document(entry, {layer: count for layer, each, count in rows if each == entry and count is not None})
            for entry in dict.fromkeys(formats)
        ],
        "layers": [{"layer": layer, "format": entry.name, "stored_bits": count} for layer, entry, count in rows],
    }


def _budget(budget: Budget) -> dict[str, Any]:
    plain: dict[str, Any] = {"name": budget.name, "asked": budget.asked, "limit": budget.limit}
    return plain | ({"unit": budget.unit} if budget.unit else {}) | ({"least": True} if budget.least else {})


def policy_arguments(document: dict[str, Any], source: str) -> dict[str, Any]:
    """Read the arguments of `Policy` from what `policy_document` made.

    Parameters
    ----------
    document
        The content of the file.
    source
        Which file it is from, for errors.

    Returns
    -------
    arguments
        By name.

    Raises
    ------
    InvalidInput
        When the content is damaged or does not fit together.
    """
    formats = [format_from(entry, source) for entry in entries(document, "formats", source)]
    by_name = {entry.name: entry for entry in formats}
    rows = entries(document, "layers", source)
    with readable(source):
        layers = tuple(str(row["layer"]) for row in rows)
        missing = next((row["format"] for row in rows if row["format"] not in by_name), None)
        if missing is not None:
            raise unknown("format", missing, by_name)
        bits = tuple(row["stored_bits"] for row in rows)
        weights = whole(field(document, "weights", source), "weights", source)
        return dict(
            layer_names=layers,
            formats=tuple(by_name[row["format"]] for row in rows),
            predicted=_number(document, "predicted", source),
            predicted_stderr=_number(document, "predicted_stderr", source),
            corrected=_number({"corrected": document.get("corrected")}, "corrected", source),
            corrected_stderr=_number(
                {"corrected_stderr": document.get("corrected_stderr")}, "corrected_stderr", source
            ),
            correction=str(document.get("correction", "")),
            unit=str(field(document, "unit", source)),
            layer_bits=() if None in bits else tuple(whole(count, "stored_bits", source) for count in bits),
            n_weights=weights,
            costs={
                str(name): whole(total, str(name), source) for name, total in field(document, "costs", source).items()
            },
            budgets=tuple(
                Budget(
                    str(each["name"]),
                    str(each["asked"]),
                    whole(each["limit"], "limit", source),
                    weights,
                    str(each.get("unit", "")),
                    bool(each.get("least", False)),
                )
                for each in entries(document, "budgets", source)
            ),
            bound=_number(document, "bound", source),
            status=str(field(document, "status", source)),
            ground=str(field(document, "ground", source)),
            solver=str(field(document, "solver", source)),
            seed=whole(field(document, "seed", source), "seed", source),
            ties=tuple(tuple(str(name) for name in names) for names in entries(document, "ties", source)),
            pinned=tuple((str(each["layer"]), str(each["format"])) for each in entries(document, "pinned", source)),
            tolerance=_number({"tolerance": document.get("tolerance")}, "tolerance", source),
            target=str(document.get("target") or ""),
            table=str(field(document, "table", source)),
            ranges=None
            if document.get("activation_ranges") is None
            else ActivationRanges.from_document(document["activation_ranges"], source),
            rounder=str(document.get("rounder", "")),
            made_by=str(field(document, "made_by", source)),
        )


def _number(document: dict[str, Any], name: str, source: str) -> float:
    entry = field(document, name, source)
    return math.nan if entry is None else float(entry)
