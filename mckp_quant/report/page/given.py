"""Reads what a report is given: validations, stabilities, last passes and fronts, as objects or as their documents."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...common.documents import entries, field, whole
from ...common.files import readable
from ...errors import InvalidInput
from .lines import FrontLine, LastPass, Measured, Sure

if TYPE_CHECKING:
    from ...evaluation.validation import Validation
    from ...policy.policy import Policy
    from ...stability.result import Stability
    from ...tuning.finished import Finished

_ABOVE = ("kl_difference", "kl_difference_stderr")
_FIGURES = ("predicted", "predicted_stderr", "kl", "kl_stderr", "loss", "loss_stderr", "accuracy", "accuracy_stderr")
_EQUAL = 1e-9  # relative: the same sum, in another order
_LAST_PASS = ("before", "before_stderr", "after", "after_stderr", "gained", "gained_stderr")


@dataclass(frozen=True)
class Judged:
    """A validation: its networks, the policy last, its verdict, and the layers alone as (measured, error) by name."""

    networks: tuple[Measured, ...] = ()
    verdict: str = ""
    samples: int = 0
    alone: Mapping[str, tuple[float, float]] | None = None
    together: float = math.nan


@dataclass(frozen=True)
class Drawn:
    """A stability: the whole, and for each layer the share of draws that keep its format, and the share of each."""

    sure: Sure
    kept: Mapping[str, float]
    shares: Mapping[str, Mapping[str, float]]


def number_of(document: Mapping[str, Any], name: str, source: str) -> float:
    """A number of a document, nan where it is null or left out; raises InvalidInput for anything else."""
    found = document.get(name)
    if found is None:
        return math.nan
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise InvalidInput(f"{source} has {name} = {found!r}: it must be a number")
    return float(found)


def judged(given: Validation | Mapping[str, Any] | None) -> Judged:
    """Read a validation.

    Parameters
    ----------
    given
        A `Validation`, or what ``validate --json`` prints; None gives an empty one.

    Returns
    -------
    judged
        Its figures.

    Raises
    ------
    InvalidInput
        When the document is damaged.
    """
    if given is None:
        return Judged()
    source = "the validation"
    document = dict(given if isinstance(given, Mapping) else given.document())
    with readable(source):
        networks = tuple(_network(row, source) for row in entries(document, "rows", source))
        carriers = document.get("carriers") or {}
        alone = {
            str(each["layer"]): (number_of(each, "measured", source), number_of(each, "stderr", source))
            for each in carriers.get("layers", ())
        }
        verdict, samples = str(field(document, "verdict", source)), whole(document["samples"], "samples", source)
    if not networks:
        raise InvalidInput("the validation has no rows: it must have that of the policy at least")
    return Judged(networks, verdict, samples, alone, number_of(carriers, "together", source))


def check_judged(found: Judged, policy: Policy) -> None:
    """Refuse a validation of another policy: one whose weights take other bytes, and that predicts another loss.

    Parameters
    ----------
    found
        The validation, which may be empty.
    policy
        The policy of the report.

    Raises
    ------
    InvalidInput
        With the bytes and losses of both.
    """
    stored = policy.costs.get("weight_bytes")
    if not found.networks or stored is None:
        return
    own = found.networks[-1]
    if own.weight_bytes != stored and not math.isclose(own.predicted, policy.predicted, rel_tol=_EQUAL):
        raise InvalidInput(
            f"the validation is of another policy: its weights take {own.weight_bytes:,} bytes and its predicted loss "
            f"is {own.predicted:.4g}, this one's take {stored:,} bytes and {policy.predicted:.4g}; validate this one"
        )


def _network(row: Mapping[str, Any], source: str) -> Measured:
    figures = {name: number_of(row, name, source) for name in _FIGURES}
    above, above_stderr = (number_of(row, name, source) for name in _ABOVE)
    stored = whole(row["weight_bytes"], "weight_bytes", source)
    return Measured(str(row["name"]), stored, **figures, above=above, above_stderr=above_stderr)


def drawn(given: Stability | Mapping[str, Any] | None, policy: Policy) -> Drawn | None:
    """Read a stability of the policy.

    Parameters
    ----------
    given
        A `Stability`, or what ``stability --json`` prints; None gives None.
    policy
        The policy of the report.

    Returns
    -------
    drawn
        Its figures.

    Raises
    ------
    InvalidInput
        When the document is damaged, or about another policy.
    """
    if given is None:
        return None
    source = "the stability"
    document = dict(given if isinstance(given, Mapping) else given.document())
    with readable(source):
        nominal, robust = (dict(field(document, name, source)) for name in ("nominal", "robust"))
        formats = dict(nominal["formats"])
        layers = entries(document, "layers", source)
        kept = {str(row["layer"]): number_of(row, "kept", source) for row in layers}
        shares = {
            str(row["layer"]): {str(name): float(share) for name, share in row["shares"].items()} for row in layers
        }
        sure = Sure(
            verdict=str(field(document, "verdict", source)),
            draws=whole(field(document, "draws", source), "draws", source),
            distinct=whole(field(document, "distinct", source), "distinct", source),
            resampled=str(field(document, "resampled", source)),
            best=number_of(nominal, "best", source),
            expected_regret=number_of(nominal, "expected_regret", source),
            worst_regret=number_of(nominal, "worst_regret", source),
            robust_predicted=number_of(robust, "predicted", source),
            robust_worst_regret=number_of(robust, "worst_regret", source),
        )
    own = {layer: entry.name for layer, entry in zip(policy.layer_names, policy.formats, strict=True)}
    other = next((layer for layer in own if formats.get(layer) != own[layer]), None)
    if other is not None:
        raise InvalidInput(
            f"the stability is of another policy: layer {other!r} has {formats.get(other)!r} there and {own[other]!r} "
            "in this one; ask for it with the budgets of this policy"
        )
    return Drawn(sure, kept, shares)


def last_pass(given: Finished | Mapping[str, Any] | None, policy: Policy) -> LastPass | None:
    """Read what a last pass gained.

    Parameters
    ----------
    given
        A `Finished`, or the content of the ``finished.json`` that `finish` wrote; None gives None.
    policy
        The policy of the report.

    Returns
    -------
    last_pass
        Its figures.

    Raises
    ------
    InvalidInput
        When the document is damaged, or about another policy.
    """
    if given is None:
        return None
    source = "the finished network"
    document = dict(given if isinstance(given, Mapping) else given.document())
    with readable(source):
        decided = dict(field(document, "decided", source))
        rows = entries(dict(field(document, "policy", source)), "layers", source)
        formats = {str(row["layer"]): str(row["format"]) for row in rows}
        figures = {name: number_of(decided, name, source) for name in _LAST_PASS}
        found = LastPass(
            codes=str(field(decided, "codes", source)),
            **figures,
            held_back=whole(field(decided, "held_back", source), "held_back", source),
        )
    if formats != {layer: entry.name for layer, entry in zip(policy.layer_names, policy.formats, strict=True)}:
        raise InvalidInput("the finished network is of another policy: give that one, or finish this one")
    return found


def front_line(
    given: Sequence[tuple[int, float]] | Mapping[str, Any] | None, uniforms: Sequence[tuple[str, int, float]]
) -> FrontLine | None:
    """Read a front against the bytes of weights.

    Parameters
    ----------
    given
        Pairs of bytes and predicted loss, or a document with such ``points``; None gives None.
    uniforms
        Name, bytes and predicted loss of one format for all layers, where the document has none.

    Returns
    -------
    front
        By rising bytes.

    Raises
    ------
    InvalidInput
        When the document is damaged, or its front is along another budget.
    """
    if given is None:
        return None
    source = "the front"
    with readable(source):
        if isinstance(given, Mapping):
            document = dict(given)
            if field(document, "counts", source) != "weight_bytes":
                raise InvalidInput(
                    f"{source} is along {document.get('along')!r}: the report shows one along 'weight_bytes'"
                )
            pairs = [_point(each, source) for each in entries(document, "points", source)]
            named = [(str(each["name"]), *_point(each, source)) for each in document.get("uniforms", ())]
        else:
            pairs, named = [(int(used), float(loss)) for used, loss in given], []
    if not pairs:
        raise InvalidInput("the front has no points: give pairs of bytes and predicted loss")
    return FrontLine(tuple(sorted(pairs)), tuple(named or uniforms))


def _point(entry: Mapping[str, Any], source: str) -> tuple[int, float]:
    return whole(entry["used"], "used", source), number_of(entry, "predicted", source)
