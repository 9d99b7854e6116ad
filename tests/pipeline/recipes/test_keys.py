"""The names that a recipe knows without PyTorch are those that there are."""

from __future__ import annotations

import dataclasses

from mckp_quant.cli.networks import DTYPES as OF_COMMANDS
from mckp_quant.network.likelihood import LIKELIHOODS as OF_NETWORKS
from mckp_quant.pipeline.recipes.keys import DTYPES, LIKELIHOODS, METHODS, RANGES, ROUNDERS
from mckp_quant.rounding import ROUNDERS as OF_ROUNDING
from mckp_quant.rounding.calibration import RULES
from mckp_quant.sensitivity import ESTIMATORS


def test_names_are_those_of_their_rooms() -> None:
    assert set(ROUNDERS) == {"auto", *OF_ROUNDING}
    assert set(RANGES) == set(RULES)
    assert set(LIKELIHOODS) == set(OF_NETWORKS)
    assert set(DTYPES) == set(OF_COMMANDS)
    # One that has an option without a default cannot be named.
    assert set(METHODS) == {name for name, each in ESTIMATORS.items() if _plain(each)}


def _plain(estimator: type) -> bool:
    missing = dataclasses.MISSING
    return not any(each.default is each.default_factory is missing for each in dataclasses.fields(estimator))
