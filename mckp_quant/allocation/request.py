"""What is asked of a policy, in one object: budgets, and everything that narrows the choice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..common.amounts import Amount
    from ..formats.format import Format
    from ..layers import Activation
    from ..tables.cost_table import CostTable
    from ..tables.table import SensitivityTable
    from .constraints.constraints import Constraints

_MAPPINGS = {
    "budgets": "{'weight_bytes': '90kB'}",
    "at_least": "{'bops': '20%'}",
    "pinned": "{'head': 'w8'}",
    "choices": "{'kind:linear': ['w4', 'w8']}",
}


@dataclass(frozen=True)
class Request:
    """What is asked of a policy beside a small loss; the fields are the arguments of `allocate`.

    Attributes
    ----------
    budgets
        The most of each resource, from names to amounts.
    at_least
        The least of each resource.
    pinned
        From layers to the format that each must have.
    tied
        Sets of layers that must share one format.
    costs
        Costs that were measured.
    choices
        From layers, patterns, kinds or places to the names of the formats that these may have.
    target
        The export target that must take the formats.
    constraints
        Constraints on the policy as a whole.
    activations
        The activation tensors; where there are none, those of the table count.

    Raises
    ------
    InvalidInput
        When there is no budget at all, or one of the mappings is something else.
    """

    budgets: Mapping[str, Amount]
    at_least: Mapping[str, Amount] | None = None
    pinned: Mapping[str, str | Format] | None = None
    tied: Sequence[Sequence[str]] = ()
    costs: Sequence[CostTable] = field(default=())
    choices: Mapping[str, Sequence[str]] | None = None
    target: str | None = None
    constraints: Constraints | None = None
    activations: Sequence[Activation] = ()

    def __post_init__(self) -> None:
        """Refuse a request that limits nothing, and what is no mapping."""
        for name in ("budgets", "at_least", "pinned", "choices"):
            given = getattr(self, name)
            if given is not None and not isinstance(given, Mapping):
                raise InvalidInput(f"{name} = {given!r}: give a mapping, such as {_MAPPINGS[name]}")
        if not self.budgets and not self.at_least:
            raise InvalidInput("no budget given: name at least one, such as weight_bytes='90kB'")

    def tensors(self, table: SensitivityTable) -> tuple[Activation, ...]:
        """The activation tensors: those given, else those that were found when the table was measured."""
        return tuple(self.activations) or table.activations


def as_request(
    request: Request | Mapping[str, Amount],
    *,
    target: str | None = None,
    pinned: Mapping[str, str | Format] | None = None,
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
