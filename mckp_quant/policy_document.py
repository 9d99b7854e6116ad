"""A policy in plain types, for its JSON file and for programs that read what the command line prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import InvalidInput
from .formats import format_document

if TYPE_CHECKING:
    from .formats import Format
    from .policy import Policy


def policy_document(policy: Policy) -> dict[str, Any]:
    """Describe a policy in plain types.

    Parameters
    ----------
    policy
        The policy.

    Returns
    -------
    document
        Every field; formats are described once, and layers name them.

    Raises
    ------
    InvalidInput
        When a user's own format comes without the bits that its layers take.
    """
    bits: tuple[int | None, ...] = policy.layer_bits or (None,) * len(policy)
    own = next((entry.name for entry in policy.formats if not entry.built_in), None)
    if own is not None and None in bits:
        raise InvalidInput(
            f"format {own!r} is a user's own and the policy does not know its stored bits: "
            "make the policy with allocate or Policy.uniform, or give layer_bits"
        )
    return {
        "made_by": policy.made_by,
        "status": policy.status,
        "ground": policy.ground,
        "solver": policy.solver,
        "seed": policy.seed,
        "unit": policy.unit,
        "predicted": policy.predicted,
        "predicted_stderr": policy.predicted_stderr,
        "bound": policy.bound,
        "gap": policy.gap,
        "costs": dict(policy.costs),
        "weights": policy.weights,
        "bits_per_weight": policy.bits_per_weight,
        "budgets": [{"name": each.name, "asked": each.asked, "limit": each.limit} for each in policy.budgets],
        "table": policy.table,
        "ties": [list(names) for names in policy.ties],
        "pinned": [{"layer": layer, "format": name} for layer, name in policy.pinned],
        "formats": [_format(policy, entry, bits) for entry in dict.fromkeys(policy.formats)],
        "layers": [
            {"layer": layer, "format": entry.name, "stored_bits": count}
            for layer, entry, count in zip(policy.layers, policy.formats, bits, strict=True)
        ],
    }


def _format(policy: Policy, entry: Format, bits: tuple[int | None, ...]) -> dict[str, Any]:
    known = zip(policy.layers, policy.formats, bits, strict=True)
    return format_document(entry, {layer: count for layer, own, count in known if own == entry and count is not None})
