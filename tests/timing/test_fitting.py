from __future__ import annotations

import numpy as np
import pytest

from mckp_quant import InvalidInput
from mckp_quant.timing.designs import enough, least, mixed_networks
from mckp_quant.timing.fitting import fit_layers

FORMATS = [(0, 1, 2), (0, 1, 2), (0, 2), (0,), (0, 1, 2), (0, 1, 2)]
WORK = [4.0, 1.0, 2.0, 1.0, 3.0, 1.0]
CHOICES = [len(each) for each in FORMATS]


def times(picked: np.ndarray, cost: list[np.ndarray]) -> np.ndarray:
    return np.array([sum(own[at] for own, at in zip(cost, row, strict=True)) for row in picked])


def costs(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.uniform(1, 3, size=count) * 1e-3 for count in CHOICES]


@pytest.mark.parametrize("seed", range(4))
def test_exact_sums_are_found_again(seed: int) -> None:
    picked, cost = mixed_networks(CHOICES, enough(CHOICES), seed), costs(seed)
    fit = fit_layers(picked, FORMATS, times(picked, cost), WORK)
    for own, found in zip(cost, fit.cost, strict=True):
        np.testing.assert_allclose(found - found.min(), own - own.min(), atol=2e-7)
    rows = np.random.default_rng(seed).integers(0, CHOICES, size=(20, len(CHOICES)))
    np.testing.assert_allclose([fit.of(row) for row in rows], times(rows, cost), rtol=1e-4)


def test_the_fastest_network_is_divided_by_work_and_no_cost_is_below_zero() -> None:
    picked, cost = mixed_networks(CHOICES, enough(CHOICES), 0), costs(0)
    fit = fit_layers(picked, FORMATS, times(picked, cost), WORK)
    least_costs = np.array([each.min() for each in fit.cost])
    assert (least_costs > 0).all()
    np.testing.assert_allclose(least_costs / least_costs.sum(), np.array(WORK) / sum(WORK), rtol=1e-6)
    alike = fit_layers(picked, FORMATS, times(picked, cost), [0.0] * len(WORK))
    np.testing.assert_allclose([each.min() for each in alike.cost], least_costs.mean(), rtol=1e-3)


def test_times_that_are_noise_alone_make_no_layer_look_fast() -> None:
    rng = np.random.default_rng(5)
    choices = [3] * 12
    picked = mixed_networks(choices, enough(choices), 5)
    fit = fit_layers(picked, [(0, 1, 2)] * 12, 1 + 0.05 * rng.standard_normal(len(picked)), [1.0] * 12)
    fastest = fit.of(np.array([each.argmin() for each in fit.cost]))
    slowest = fit.of(np.array([each.argmax() for each in fit.cost]))
    assert slowest - fastest < 0.12  # plain least squares puts 0.35 between them
    assert fit.residual == pytest.approx(0.05, rel=0.3)


def test_errors_say_how_far_differences_are_off() -> None:
    """Over many draws of noise the differences lie about as far from the true ones as their errors say."""
    misses = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        picked, cost = mixed_networks(CHOICES, 60, seed), costs(seed)
        noisy = times(picked, cost) + 2e-4 * rng.standard_normal(60)
        fit = fit_layers(picked, FORMATS, noisy, WORK)
        for own, found, error in zip(cost, fit.cost, fit.stderr, strict=True):
            best = found.argmin()
            missed = (found - found[best]) - (own - own[best])
            misses += [miss / each for miss, each in zip(missed, error, strict=True) if each > 0]
    assert 0.7 < np.std(misses) < 1.3


def test_every_format_is_in_every_layer_as_often() -> None:
    choices = [4, 2, 3, 1]
    picked = mixed_networks(choices, 40, 1)
    for column, many in zip(picked.T, choices, strict=True):
        counts = np.bincount(column, minlength=many)
        assert len(counts) == many
        assert counts[:-1].max(initial=0) - counts[:-1].min(initial=40) <= 1
    assert picked[0].tolist() == [0, 0, 0, 0]
    assert picked[3].tolist() == [3, 1, 2, 0]
    assert not np.array_equal(picked, mixed_networks(choices, 40, 2))
    assert np.array_equal(picked, mixed_networks(choices, 40, 1))


def test_how_many_networks_are_run() -> None:
    assert enough([3, 3]) == least([3, 3]) == 14
    assert enough([4] * 22) == 101
    assert enough([5] * 1000) == 300


def test_too_few_networks_are_refused() -> None:
    picked = mixed_networks(CHOICES, 9, 0)
    with pytest.raises(InvalidInput, match="networks is 9, which do not tell formats apart: run 14 at least"):
        fit_layers(picked, FORMATS, np.ones(9), WORK)
