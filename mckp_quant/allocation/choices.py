"""Rules by name, pattern and kind: which formats a layer may have, and which layers are tied."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InvalidInput
from ..formats.capabilities import capability
from ..formats.fused_layers import EXPERTS, VERSIONS, fused_by
from ..layers import matching
from ..solvers import Monotone

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from ..formats.format import Format
    from ..layers import Layer
    from ..solvers import Solver
    from ..tables.table import SensitivityTable


# Layers of one set differ only in what `part` matches. Runtimes that fuse them want one format for the set.
TIE_RULES: dict[str, str] = {
    "qkv": r"(?:^|[._])(?P<part>(?:q|k|v)_proj|to_(?:q|k|v)|query|key|value)(?:$|\.)",
    "gate_up": r"(?:^|\.)(?P<part>gate_proj|up_proj|w1|w3)(?:$|\.)",
    "experts": r"\.experts\.(?P<part>.+)$",
    # The convolutions at the start of a residual block and beside it read the same tensor.
    "residual": r"(?:^|\.)(?P<part>conv1|conv_1|identity_conv|downsample\.0|shortcut\.0|shortcut\.conv)$",
}
_NAMED = 3  # layers that a sentence names
SHARED_INPUTS = "shared_inputs"  # a rule of `Request.tie_rules` that goes by activation tensors, not by names
RUNTIME_TIES = tuple(VERSIONS)  # runtimes whose rules are those of `formats.fused_layers`


def allowed(
    table: SensitivityTable, choices: Mapping[str, Sequence[str]] | None = None, target: str | None = None
) -> NDArray[np.bool_]:
    """Which formats each layer may have.

    Parameters
    ----------
    table
        The table.
    choices
        From layers to the names of the formats that they may have. A layer is named by itself, by a pattern such as
        ``"blocks.*.mlp.*"``, by ``"kind:conv2d"``, or by ``"first"`` and ``"last"``; where several match, the last
        one counts.
    target
        The export target that must take the formats.

    Returns
    -------
    allowed
        ``(n_layers, n_formats)`` bool; False where the table has no number, a rule forbids the format, or the target
        cannot take it.

    Raises
    ------
    InvalidInput
        When a rule matches no layer, a format is unknown, or a layer is left without any.
    """
    mask = np.ones(table.loss.shape, dtype=bool)
    for rule, names in (choices or {}).items():
        if isinstance(names, str):
            raise InvalidInput(f"choices of {rule!r} are the text {names!r}: give a list of formats")
        columns = [table.column(name) for name in names]
        for row in matching(table.layers, rule):
            mask[row] = False
            mask[row, columns] = True
    if target is not None:
        refuses = capability(target).refuses
        mask &= np.array([[not refuses(layer, entry) for entry in table.formats] for layer in table.layers])
    found: NDArray[np.bool_] = mask & ~np.isnan(table.loss)
    for layer, row, known in zip(table.layers, found, ~np.isnan(table.loss), strict=True):
        if known.any() and not row.any():
            names = ", ".join(
                entry.name + (f": {why}" if target and (why := capability(target).refuses(layer, entry)) else "")
                for entry, has in zip(table.formats, known, strict=True)
                if has
            )
            told = f"the target {target!r} takes none of its formats" if target else "the rules leave it no format"
            kind = f" ({layer.kind})" if layer.kind else ""
            raise InvalidInput(
                f"layer {layer.name!r}{kind}: {told} ({names}); measure another, or add the format 'float'"
            )
    return found


def left_out(table: SensitivityTable, target: str) -> tuple[str, ...]:
    """Say which formats of a table a target does not take, and why.

    Parameters
    ----------
    table
        The table.
    target
        The export target.

    Returns
    -------
    sentences
        One for each reason, those of most layers first.
    """
    refuses = capability(target).refuses
    found: dict[str, dict[str, dict[str, None]]] = {}
    for layer, known in zip(table.layers, ~np.isnan(table.loss), strict=True):
        for entry, has in zip(table.formats, known, strict=True):
            if has and (why := refuses(layer, entry)):
                formats = found.setdefault(why, {"formats": {}, "layers": {}})
                formats["formats"][entry.name] = formats["layers"][layer.name] = None
    return tuple(
        f"the target {target!r} leaves out {', '.join(each['formats'])} for {_counted(list(each['layers']))}: {why}"
        for why, each in sorted(found.items(), key=lambda pair: -len(pair[1]["layers"]))
    )


def _counted(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:_NAMED]))
    return f"{shown} and {len(names) - _NAMED} more layers" if len(names) > _NAMED else shown


def find_ties(layers: Iterable[Layer], rules: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Find sets of layers that must share one format, by their names.

    Parameters
    ----------
    layers
        The layers.
    rules
        Names of `TIE_RULES` (``"qkv"``, ``"residual"``, ...), of `RUNTIME_TIES` (``"vllm"``, ...), or regular
        expressions with a group ``(?P<part>...)``: layers whose names differ only in that part are one set.

    Returns
    -------
    ties
        Sets of at least two layers; sets of different rules that share a layer are one.

    Raises
    ------
    InvalidInput
        When a rule is neither a name nor such an expression.
    """
    if isinstance(rules, str):
        raise InvalidInput(f"the rules are one text, {rules!r}: give a list")
    names = [layer.name for layer in layers]
    known = frozenset(names)
    owner: dict[str, list[str]] = {name: [name] for name in names}
    for expression, without in (each for rule in rules for each in _expressions(rule)):
        sets: dict[tuple[str, str], list[str]] = {}
        for name in names:
            match = expression.search(name)
            if match is not None:
                sets.setdefault((name[: match.start("part")], name[match.end("part") :]), []).append(name)
        for (head, tail), members in sets.items():
            if any(f"{head}{other}{tail}" in known for other in without):
                continue
            merged = sorted({each for name in members for each in owner[name]}, key=names.index)
            owner |= dict.fromkeys(merged, merged)
    return tuple(dict.fromkeys(tuple(members) for members in owner.values() if len(members) > 1))


def _expressions(rule: str) -> list[tuple[re.Pattern[str], tuple[str, ...]]]:
    """The expressions of a rule, each with the names of siblings where it does not hold."""
    if rule not in RUNTIME_TIES:
        return [(_expression(rule), ())]
    return [*((row.pattern, row.without) for row in fused_by(rule)), (EXPERTS, ())]


def _expression(rule: str) -> re.Pattern[str]:
    try:
        found = re.compile(TIE_RULES.get(rule, rule))
    except re.error as error:
        raise InvalidInput(f"the tie rule {rule!r} is no regular expression: {error}") from error
    if "part" not in found.groupindex:
        raise InvalidInput(
            f"the tie rule {rule!r} is neither one of {', '.join([*TIE_RULES, *RUNTIME_TIES])} nor a regular "
            "expression with a group (?P<part>...)"
        )
    return found


def check_order(formats: Sequence[Format], solver: Solver | str) -> None:
    """Refuse a solver that relies on the order of a table's formats where these do not rise in bits.

    Parameters
    ----------
    formats
        The table's, in its order.
    solver
        The solver, or its name.

    Raises
    ------
    InvalidInput
        When the solver is `solvers.Monotone` and a format stands behind one with more bits for weights.
    """
    if (solver if isinstance(solver, str) else solver.name) != Monotone.name:
        return
    for first, second in itertools.pairwise(formats):
        if first.weight_bits > second.weight_bits:
            raise InvalidInput(
                f"solver {Monotone.name!r} needs formats in the order of rising bits, but "
                f"{first.name!r} stands before {second.name!r}: measure with the formats from fewest bits to most"
            )
