"""Reads what `measure` and `plan` are asked: estimator, layers, number of batches, ranges, bank."""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Sized
from typing import TYPE_CHECKING

from ..errors import InvalidInput, unknown
from ..formats.ranges import ActivationRanges
from ..network.discovery import discover
from ..network.fingerprint import DataDigest
from ..rounding.bank import WeightBank
from ..rounding.banking import described, round_weights, rounder_of
from ..rounding.calibration import RULES, calibrate_ranges
from ..rounding.rounder import INPUTS
from .columns import stores_weights
from .estimator import DataFreeEstimator, Estimator
from .estimators import ESTIMATORS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from torch import nn

    from ..formats.format import Format
    from ..layers import Layer
    from ..network.batch import Batch
    from ..rounding.rounder import Rounder
    from .estimator import AnyEstimator

logger = logging.getLogger(__name__)

RANGE_RULE = "mse"  # how ranges of inputs are chosen unless something else is said
RANGE_BATCHES = 8  # ranges of inputs are calibrated on so many batches, which are held in memory meanwhile


def length_of(batches: object) -> int | None:
    """How many batches there are; None for generators, and for loaders that do not know."""
    try:
        return len(batches) if isinstance(batches, Sized) else None
    except TypeError:
        return None


def chosen_layers(model: nn.Module, batch: Batch, names: Iterable[str] | None) -> tuple[Layer, ...]:
    """Find the layers of these names, or all; raises InvalidInput, with the nearest name, for one that is not there."""
    if names is None:
        return discover(model, batch)
    wanted = {names} if isinstance(names, str) else set(names)
    found = discover(model, batch, wanted)
    known = [layer.name for layer in found]
    for name in sorted(wanted):
        if name not in known:
            raise unknown("layer", name, known)
    if not wanted:
        raise InvalidInput("layers is empty: name at least one layer, or leave it out to measure all")
    return tuple(layer for layer in found if layer.name in wanted)


def estimator_of(method: object, probes: int | None = None) -> AnyEstimator:
    """The estimator that a caller means.

    Parameters
    ----------
    method
        An estimator, or the name of one that needs no options.
    probes
        Its number of random probes, where `method` is a name; None for the default.

    Returns
    -------
    estimator
        The estimator itself, or one of this name.

    Raises
    ------
    InvalidInput
        When there is no such estimator, it draws no probes, or it has an option without a default.
    """
    facts = facts_of(method)
    if not isinstance(facts, type):
        return facts
    fields = dataclasses.fields(facts)  # type: ignore[arg-type]
    needed = [each.name for each in fields if each.default is each.default_factory is dataclasses.MISSING]
    if needed:
        raise InvalidInput(
            f"method={facts.name!r} needs {needed[0]}: give method={facts.__name__}({needed[0]}=...), see its docstring"
        )
    if probes is None:
        return facts()
    if "probes" not in {each.name for each in fields}:
        raise InvalidInput(f"probes is {probes}, but method={facts.name!r} draws none: leave it out")
    return dataclasses.replace(facts(), probes=probes)  # type: ignore[type-var]


def facts_of(method: object) -> AnyEstimator | type[AnyEstimator]:
    """The estimator, or the class of this name; raises InvalidInput where it is neither."""
    if isinstance(method, str):
        if method not in ESTIMATORS:
            raise unknown("method", method, ESTIMATORS)
        return ESTIMATORS[method]
    if isinstance(method, type) or not isinstance(method, Estimator | DataFreeEstimator):
        raise InvalidInput(
            f"method is {method!r}: give a name ({', '.join(ESTIMATORS)}) or an estimator such as GaussNewton()"
        )
    return method


def check_formats(
    formats: Sequence[Format], facts: AnyEstimator | type[AnyEstimator], activation_range: str | ActivationRanges
) -> None:
    """Refuse formats of activations where the estimator reads only weights, and rules for ranges that do not exist."""
    if not isinstance(activation_range, ActivationRanges) and activation_range not in RULES:
        raise unknown("activation_range", activation_range, RULES)
    name = next((entry.name for entry in formats if entry.activation_scheme is not None), None)
    if name is not None and not facts.reads_inputs:
        reading = [known for known, each in ESTIMATORS.items() if each.reads_inputs]
        raise InvalidInput(
            f"format {name!r} also stores activations, of which method={facts.name!r} knows nothing: use one of "
            f"{', '.join(reading)}, or formats of weights"
        )


def ranges_for(
    formats: Sequence[Format],
    activation_range: str | ActivationRanges,
    known: ActivationRanges | None,
    model: nn.Module,
    batches: Iterator[Batch],
    most: int | None,
) -> tuple[ActivationRanges | None, Iterator[Batch]]:
    """The ranges of inputs that formats need, calibrated where they are not given.

    Parameters
    ----------
    formats
        The formats.
    activation_range
        The rule, or the ranges.
    known
        The ranges for which the weights of a bank were rounded; None where there are none.
    model
        The network.
    batches
        The batches.
    most
        How many of them will be read; None for all.

    Returns
    -------
    ranges, batches
        None where no range has to be fixed; and the batches from the first one on.

    Raises
    ------
    InvalidInput
        When another rule is asked for than that of the ranges that are known.
    """
    needed = [entry for entry in formats if entry.activation_scheme is not None and entry.activation_scheme.calibrated]
    if not needed:
        return None, batches
    if isinstance(activation_range, ActivationRanges):
        return activation_range, batches
    if known is not None:
        if activation_range not in (RANGE_RULE, known.rule):
            raise InvalidInput(
                f"activation_range is {activation_range!r}, but the bank's weights were rounded for ranges by "
                f"{known.rule!r}: leave it out, or round the weights with this rule"
            )
        schemes = {scheme for _, scheme in known.ranges}
        needed = [entry for entry in needed if entry.activation_scheme and entry.activation_scheme.name not in schemes]
        if not needed:
            return known, batches
    held = list(itertools.islice(batches, min(RANGE_BATCHES, most or RANGE_BATCHES)))
    rule = known.rule if known is not None and known.rule in RULES else activation_range
    found = calibrate_ranges(model, held, needed, rule=rule)
    if known is not None:
        found = dataclasses.replace(found, ranges={**found.ranges, **known.ranges})
    return found, itertools.chain(held, batches)


def rounder_asked(bank: WeightBank | Rounder | str | None, formats: Sequence[Format]) -> Rounder | None:
    """The rounder that a bank has to be made with; None where there is a bank, or rounding to nearest needs none."""
    if bank is None or isinstance(bank, WeightBank):
        return None
    rounder = rounder_of(bank)
    needless = described(rounder) == "nearest" or not any(map(stores_weights, formats))
    return None if needless else rounder


def bank_for(
    rounder: Rounder,
    formats: Sequence[Format],
    ranges: ActivationRanges | None,
    model: nn.Module,
    layers: Sequence[Layer],
    batches: Sequence[Batch],
    *,
    read: bool,
) -> tuple[WeightBank, list[Batch]]:
    """Make a bank from some of the batches, and leave the others to measure on.

    On the samples that a rounder has seen the losses of its weights are too low, by a half and more where layers are
    small.

    Parameters
    ----------
    rounder
        The rounder.
    formats
        The formats.
    ranges
        The ranges of inputs; None where no format needs any.
    model
        The network.
    layers
        The layers.
    batches
        All batches.
    read
        Whether the table is measured on batches at all.

    Returns
    -------
    bank, batches
        The bank is made from every other batch, beginning with the first; of a single batch from every other sample.
        It is made from all, and all are given back, where the rounder or the table needs none.

    Raises
    ------
    InvalidInput
        When there is a single sample, or a single batch that cannot be taken apart.
    """
    seen, others = list(batches), list(batches)
    if read and rounder.needs == INPUTS:
        seen, others = parted(batches, rounder.name)
    rule = "mse" if ranges is None else ranges
    names = [layer.name for layer in layers]
    bank = round_weights(model, seen, formats, rounder=rounder, layers=names, activation_range=rule)
    return bank, others


def parted(batches: Sequence[Batch], rounder: str) -> tuple[list[Batch], list[Batch]]:
    """Part batches into those that a rounder sees and those that a table is measured on.

    Parameters
    ----------
    batches
        All batches.
    rounder
        The rounder's name, for the error.

    Returns
    -------
    seen, others
        Every other batch, beginning with the first, and those between; of a single batch every other sample.

    Raises
    ------
    InvalidInput
        When there is a single sample, or a single batch that cannot be taken apart.
    """
    seen, others = list(batches[::2]), list(batches[1::2])
    if others:
        return seen, others
    halves = batches[0].cut()
    if halves is None:
        raise InvalidInput(
            f"{rounder} and the table need samples of their own, and there is one batch (inputs {batches[0].shape}) "
            "that cannot be cut in two: give more batches, or bank=round_weights(...)"
        )
    return [halves[0]], [halves[1]]


def told_of_shared(batches: Iterable[Batch], bank: WeightBank) -> Iterator[Batch]:
    """The same batches, with a warning where all that a bank was made from is among them."""
    digest = DataDigest()
    for batch in batches:
        if bank.data and digest.add(batch) == bank.data:
            logger.warning(
                "the weights were rounded on the data that the table is measured on: its losses, and whatever is "
                "predicted from them, are too low; measure on other batches"
            )
        yield batch
