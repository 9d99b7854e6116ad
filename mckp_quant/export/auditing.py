"""How far an existing policy is from the best one of its size, and from the smallest one of its loss."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..allocation.allocating import allocate
from ..allocation.builder import build
from ..costs.costs import FILE_BYTES
from ..costs.files import file_bytes
from ..errors import InvalidInput
from ..formats.file_facts import FORMS
from ..formats.schemes import FLOAT
from ..policy.policy import Policy
from ..policy.prediction import totals
from ..solvers import least_cost
from .gguf_blocks import HALVES, own_name

if TYPE_CHECKING:
    from ..tables.table import SensitivityTable

_BYTES = "weight_bytes"


@dataclass(frozen=True)
class Audit:
    """A policy between the best of its size and the smallest of its loss.

    Attributes
    ----------
    policy
        The policy, predicted on the table.
    best
        The policy of least predicted loss that takes no more bytes.
    least_bytes
        The fewest bytes at which the predicted loss is no larger.
    proved
        Whether fewer bytes at that loss are proved impossible.
    left_out
        Layers of the policy that the table does not have.
    resource
        What is compared: ``"file_bytes"`` where the artefact's size is known, and what the table's other choices would
        take in such a file; else ``"weight_bytes"``.
    """

    policy: Policy
    best: Policy
    least_bytes: int
    proved: bool
    left_out: tuple[str, ...] = ()
    resource: str = _BYTES

    def __str__(self) -> str:
        """The comparison in one sentence."""
        size = self.policy.costs[self.resource]
        what = " on disk" if self.resource == FILE_BYTES else ""
        return (
            f"this policy: {size:,} bytes{what}, predicted loss {self.policy.predicted:.4g} {self.policy.unit}; best "
            f"at {size:,} bytes: {self.best.predicted:.4g}; same loss at {self.least_bytes:,} bytes"
        )

    def document(self) -> dict[str, Any]:
        """The audit in plain types, for JSON."""
        return {
            "policy": self.policy.document(),
            "best": self.best.document(),
            "least_bytes": self.least_bytes,
            "proved": self.proved,
            "left_out": list(self.left_out),
            "resource": self.resource,
        }


def audit(
    policy: Policy,
    table: SensitivityTable,
    *,
    target: str | None = None,
    seconds: float = 60.0,
    other_rounder: bool = False,
) -> Audit:
    """Compare a policy with the optimum on a table.

    Parameters
    ----------
    policy
        The policy, such as `read_policy` gives it. Layers that the table does not have are left out of the comparison.
    table
        Measured sensitivities of the same network.
    target
        The export target that the other policies are for; all sizes are those of its files. A policy that was read from
        an artefact knows the size of the file: then files are compared, where the table knows what those of the target
        take.
    seconds
        The time limit of each of the two searches.
    other_rounder
        Whether the weights may have been rounded by another rounder than the table is about, whose prediction then
        does not hold for them.

    Returns
    -------
    audit
        The policy, the best one of its size, and the size of the smallest one of its loss.

    Raises
    ------
    InvalidInput
        When the policy lacks a layer of the table or was made for another network; when the table lacks a format of it,
        or is about another rounder.
    NoSolution
        When the target has no policy of that size or loss.
    """
    if policy.rounder and table.rounder and policy.rounder != table.rounder and not other_rounder:
        raise InvalidInput(
            f"the table is about weights rounded by {table.rounder}, but those of the policy are rounded by "
            f"{policy.rounder}: give the table that was measured with this rounder, or say other_rounder=True, and the "
            "prediction does not hold"
        )
    # A table may have ggml's names for what an artefact has in ours, or the other way round.
    known = {own_name(entry.name).lower(): entry for entry in table.formats}
    formats = []
    bits = dict(zip(policy.layer_names, policy.layer_bits, strict=False))
    for layer in table.layers:
        # An artefact may name another module with the same weight.
        name = next((each for each in (layer.name, *layer.ties) if each in policy.layer_names), layer.name)
        entry = policy[name]
        if entry.built_in and bits.get(name, entry.storage_bits(layer)) != entry.storage_bits(layer):
            raise InvalidInput(
                f"layer {name!r} takes {entry.storage_bits(layer):,} bits in {entry.name} in the table, but "
                f"{bits[name]:,} in the policy: it was made for another network; measure this one, and solve again"
            )
        name_of = own_name(entry.name).lower()
        if name_of == FLOAT and FLOAT not in known:  # a reader calls ggml's halves float, as no loss is known of them
            halves = [each.lower() for each in HALVES if each.lower() in known]
            name_of = halves[0] if len(halves) == 1 else FLOAT
        if name_of not in known:
            raise InvalidInput(
                f"layer {name!r} has the format {entry.name!r}, which the table does not have: measure it, with "
                f"formats={','.join([*(each.name for each in table.formats), entry.name])}"
            )
        formats.append(known[name_of])
    own = Policy.on_table(table, formats)
    own = replace(own, costs=totals(table.layers, formats, target=target), target=target or "")
    on_disk = policy.costs.get(FILE_BYTES)
    weighed = on_disk is not None and any(each.form == FORMS.get(target or "") for each in table.files)
    resource = FILE_BYTES if weighed else _BYTES
    if on_disk is not None and target is not None and weighed:
        own = replace(own, costs={**own.costs, FILE_BYTES: on_disk})
        # What is counted for a file is a little more than what it takes, of this policy as of others.
        size = max(on_disk, file_bytes(table, formats, target))
    else:
        size = own.costs[_BYTES]
    best = allocate(table, {resource: size}, target=target, seconds=seconds).policy
    problem, index = build(table, {resource: size}, target=target)
    least = least_cost(problem, own.predicted, seconds=seconds)
    compared = {name for layer in table.layers for name in (layer.name, *layer.ties)}
    left_out = tuple(name for name in policy.layer_names if name not in compared)
    return Audit(own, best, least.cost + index.budgets[0].fixed, least.proved, left_out, resource)
