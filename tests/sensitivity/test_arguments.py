from __future__ import annotations

import pytest

import mckp_quant as mq
from mckp_quant.sensitivity import GaussNewton, Hutchinson
from mckp_quant.sensitivity.arguments import estimator_of

from .tiny import perceptron


def test_an_estimator_is_meant_by_its_name_or_by_itself() -> None:
    assert estimator_of("gauss_newton") == GaussNewton()
    assert estimator_of("hutchinson", 4) == Hutchinson(probes=4)
    own = Hutchinson(probes=3)
    assert estimator_of(own) is own


@pytest.mark.parametrize(
    ("name", "probes", "message"),
    [
        ("measured_kl", 4, "probes is 4, but method='measured_kl' draws none: leave it out"),
        ("gauss_newton", 0, "probes is 0: it must be a whole number, at least 1"),
        ("hutchinson", 1.5, "probes is 1.5: it must be a whole number, at least 1"),
        ("metric", None, r"method='metric' needs distance: give method=Metric\(distance=...\)"),
        ("magic", None, "unknown method 'magic'"),
    ],
)
def test_what_no_estimator_is_is_refused(name: str, probes: int | None, message: str) -> None:
    with pytest.raises(mq.InvalidInput, match=message):
        estimator_of(name, probes)


def test_unknown_rules_for_ranges_are_refused() -> None:
    model, inputs = perceptron()
    with pytest.raises(mq.InvalidInput, match="unknown activation_range 'mes': did you mean 'mse'"):
        mq.measure(model, [inputs], formats="w4", activation_range="mes")
