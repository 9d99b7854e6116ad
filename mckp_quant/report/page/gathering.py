"""Gathers what a report shows from a table, a policy and whatever else is known of it."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..._version import __version__
from ...allocation.allocating import Allocation
from ...common.documents import plain
from ...formats.schemes import FLOAT_BITS
from ...policy.policy import Policy
from ...policy.repricing import predicted_by
from ...stability.sanity import check_table
from ..text import rounder_line
from .data import Facts, ReportData
from .given import Drawn, Judged, check_judged, drawn, front_line, judged, last_pass
from .lines import Doubted, LayerLine, Missing
from .worth import budget_lines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ...evaluation.validation import Validation
    from ...stability.result import Stability
    from ...tables.table import SensitivityTable
    from ...tuning.finished import Finished
    from .lines import Measured

_VALIDATE = "mckp-quant validate POLICY --model MODEL --data HELD_OUT --table TABLE --json > validation.json"
_ALONE = "mq.validate(model, policy, held_out, table=table, by_layer=True)"
_STABILITY = "mckp-quant stability TABLE --budget NAME=AMOUNT --json > stability.json"
_FINISH = "mckp-quant finish MODEL POLICY --data DATA -o FOLDER"
_REPORT = "mckp-quant report TABLE POLICY"
_POLICY, _NAMED = "policy", ("uniform", "mixed")  # the network of a validation there, and in that of another


def report_data(
    table: SensitivityTable,
    policy: Policy | Allocation,
    *,
    validation: Validation | Mapping[str, Any] | None = None,
    uniform: Validation | Mapping[str, Any] | None = None,
    stability: Stability | Mapping[str, Any] | None = None,
    finished: Finished | Mapping[str, Any] | None = None,
    front: Sequence[tuple[int, float]] | Mapping[str, Any] | None = None,
    recipe: str = "",
    provenance: Mapping[str, Any] | str = "",
    name: str = "",
) -> ReportData:
    """Gather what a report shows; what is not given is left out, and the report says how to get it.

    Parameters
    ----------
    table
        The sensitivities.
    policy
        The policy, or the allocation that it is from: then the report says what a byte is worth.
    validation
        What was measured of it on held-back data: what `validate` gives, or what its command prints with ``--json``.
    uniform
        The same of one format for all layers that was made in the same way, such as the rival of a finished network;
        where the policy is itself uniform, of the one that it was preferred to, whose name begins with ``"mixed"``.
    stability
        How sure it is: what `check_stability` gives, or what its command prints with ``--json``.
    finished
        What the last pass made, or the content of its ``finished.json``.
    front
        Bytes and predicted loss of the best policies of other sizes, or the document of a front.
    recipe
        Text that repeats what was run.
    provenance
        Where the results come from, as text or in plain types.
    name
        What the network is called.

    Returns
    -------
    data
        What every form of the report is made from.

    Raises
    ------
    InvalidInput
        When the policy has layers or formats that the table lacks, or something given is damaged or about another
        policy.
    """
    allocation = policy if isinstance(policy, Allocation) else None
    chosen = predicted_by(table, policy.policy if isinstance(policy, Allocation) else policy)
    seen = judged(validation)
    check_judged(seen, chosen)
    resampled, passed = drawn(stability, chosen), last_pass(finished, chosen)
    # The allocation's prices are its table's: another table's say nothing of this policy.
    priced = allocation if allocation is not None and chosen is allocation.policy else None
    line = front_line(front, _uniforms(table))
    shown = [row for row, name in enumerate(table.layer_names) if name in set(chosen.layer_names)]
    return ReportData(
        name=name,
        facts=_facts(table, chosen),
        formats=table.format_names,
        bits=tuple(entry.weight_bits for entry in table.formats),
        layers=_layers(table, chosen, seen, resampled),
        loss=_rows(table.loss, shown),
        stderr=_rows(table.stderr, shown),
        doubts=tuple(Doubted(each.kind, each.layer, each.format, each.words) for each in check_table(table)),
        budgets=budget_lines(chosen, priced),
        front=line,
        networks=(*seen.networks[:-1], *_rival(uniform), *seen.networks[-1:]),
        verdict=seen.verdict,
        samples=seen.samples,
        together=seen.together,
        sure=None if resampled is None else resampled.sure,
        last_pass=passed,
        made_from=_made_from(table, chosen),
        recipe=recipe,
        provenance=provenance if isinstance(provenance, str) else json.dumps(plain(dict(provenance)), indent=1),
        missing=_missing(seen, resampled is None, passed is None, line is None),
    )


def _rows(matrix: NDArray[np.float64], shown: list[int]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in matrix[shown].tolist())


def _rival(given: Validation | Mapping[str, Any] | None) -> tuple[Measured, ...]:
    """The network that another validation is of, under a name that says so."""
    if given is None:
        return ()
    own = judged(given).networks[-1]
    named = own.name.startswith(_NAMED)
    return (own if named else dataclasses.replace(own, name=own.name.replace(_POLICY, _NAMED[0], 1)),)


def _facts(table: SensitivityTable, policy: Policy) -> Facts:
    known = {layer.name: layer for layer in table.layers}
    return Facts(
        weight_bytes=policy.costs.get("weight_bytes"),
        float_bytes=sum(known[name].elements for name in policy.layer_names if name in known) * FLOAT_BITS // 8,
        bits_per_weight=policy.bits_per_weight,
        predicted=policy.predicted,
        predicted_stderr=policy.predicted_stderr,
        corrected=policy.corrected,
        corrected_stderr=policy.corrected_stderr,
        bound=policy.bound,
        gap=policy.gap,
        status=policy.status,
        ground=policy.ground,
        unit=policy.unit,
        solver=policy.solver,
        seed=policy.seed,
        rounder=policy.rounder,
        target=policy.target,
        made_by=policy.made_by,
    )


def _layers(table: SensitivityTable, policy: Policy, seen: Judged, resampled: Drawn | None) -> tuple[LayerLine, ...]:
    """Every layer of the policy, in the order of the table, which is that of the network."""
    wide = table.with_float()
    bits = dict(zip(policy.layer_names, policy.layer_bits, strict=False))
    rows = [(row, layer) for row, layer in enumerate(table.layers) if layer.name in set(policy.layer_names)]
    losses = {layer.name: float(wide.loss[row, wide.column(policy[layer.name].name)]) for row, layer in rows}
    positive = math.fsum(max(each, 0.0) for each in losses.values())
    tied = {name: f"tied set {number + 1}" for number, names in enumerate(policy.ties) for name in names}
    notes = {**tied, **{name: "pinned" for name, _ in policy.pinned}}
    lines = []
    for row, layer in rows:
        name, entry = layer.name, policy[layer.name]
        stored = -(-bits[name] // 8) if name in bits else None
        alone, error = (seen.alone or {}).get(name, (math.nan, math.nan))
        drawn_shares = {} if resampled is None else resampled.shares.get(name, {})
        lines.append(
            LayerLine(
                name=name,
                kind=layer.kind,
                weights=layer.elements,
                format=entry.name,
                bits=entry.weight_bits,
                stored_bytes=stored,
                predicted=losses[name],
                stderr=float(wide.stderr[row, wide.column(entry.name)]),
                bytes_share=math.nan if stored is None else 8 * stored / max(sum(bits.values()), 1),
                loss_share=max(losses[name], 0.0) / positive if positive > 0 else math.nan,
                note=notes.get(name, ""),
                measured=alone,
                measured_stderr=error,
                kept=math.nan if resampled is None else resampled.kept.get(name, math.nan),
                shares=tuple(drawn_shares.get(each, 0.0) for each in table.format_names) if drawn_shares else (),
            )
        )
    return tuple(lines)


def _uniforms(table: SensitivityTable) -> list[tuple[str, int, float]]:
    """One format for all layers, of those that every layer may have."""
    found = []
    for entry in table.formats:
        if not np.isnan(table.loss[:, table.column(entry.name)]).any():
            policy = Policy.uniform(table, entry)
            found.append((entry.name, policy.costs["weight_bytes"], policy.predicted))
    return found


def _made_from(table: SensitivityTable, policy: Policy) -> tuple[tuple[str, str], ...]:
    batches = "" if table.batch_sizes is None else f" in {len(table.batch_sizes)} batches"
    facts = {
        "policy made by": policy.made_by,
        "report made by": f"mckp-quant {__version__}",
        "table": f"{len(table.layers)} layers x {len(table.formats)} formats, digest {table.digest}",
        "sensitivities": f"{table.method} on {table.samples} samples{batches}, seed {table.seed}",
        "weights": rounder_line(table.rounder) if table.rounder else "",
        "solver": f"{policy.solver}, seed {policy.seed}" if policy.solver else "",
        "stored as by": policy.target,
        "budgets": "; ".join(str(each) for each in policy.budgets),
        "ties": "; ".join(", ".join(names) for names in policy.ties),
        "pinned": ", ".join(f"{layer} in {name}" for layer, name in policy.pinned),
    }
    return tuple((name, value) for name, value in facts.items() if value)


def _missing(seen: Judged, draws: bool, finished: bool, line: bool) -> tuple[Missing, ...]:
    """What was not given, in the order of the sections."""
    found = []
    if line:
        found.append(Missing("the trade-off of size and loss", _REPORT))
    if not seen.networks:
        found.append(Missing("what the network really loses", f"{_VALIDATE}, then {_REPORT} --validation"))
    if not seen.alone:
        found.append(Missing("predicted against measured, layer by layer", _ALONE))
    if draws:
        found.append(Missing("how sure the policy is", f"{_STABILITY}, then {_REPORT} --stability"))
    if finished:
        found.append(Missing("what a last pass gains", f"{_FINISH}, then {_REPORT} --finished FOLDER"))
    return tuple(found)
