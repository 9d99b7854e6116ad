from __future__ import annotations

import math

import torch

from mckp_quant.sensitivity.moments import Moments


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) ** 2


def test_units_of_one_sample_give_the_usual_mean_and_standard_error() -> None:
    values = noise(40, 2, 3)
    moments = Moments(2, 3)
    for part in values.split([15, 1, 24]):
        for row in range(2):
            moments.add(row, part[:, row], torch.ones(len(part)).double())
    torch.testing.assert_close(moments.mean, values.mean(dim=0))
    torch.testing.assert_close(moments.stderr, values.std(dim=0) / math.sqrt(40))


def test_units_of_equal_size_give_the_standard_error_over_units() -> None:
    sums = noise(9, 1, 2)
    moments = Moments(1, 2)
    for each in sums:
        moments.add(0, each, torch.full((len(each),), 8.0).double())
    torch.testing.assert_close(moments.mean, sums.mean(dim=0) / 8)
    torch.testing.assert_close(moments.stderr, sums.std(dim=0) / 3 / 8)


def test_the_standard_error_covers_the_spread_of_repeated_samples_of_unequal_units() -> None:
    generator = torch.Generator().manual_seed(3)
    means, errors = [], []
    for _ in range(400):
        moments = Moments(1, 1)
        for size in (1, 2, 3, 4, 5, 6) * 4:
            total = size + math.sqrt(size) * torch.randn(1, 1, generator=generator, dtype=torch.float64)
            moments.add(0, total, torch.tensor([size]).double())
        means.append(moments.mean)
        errors.append(moments.stderr)
    spread = torch.cat(means).std()
    claimed = torch.cat(errors).square().mean().sqrt()
    assert 0.9 < float(spread / claimed) < 1.1


def test_separations_have_the_spread_of_repeated_samples() -> None:
    generator = torch.Generator().manual_seed(5)
    for first, second in ((2.0, 1.0), (1.0, -0.5)):
        found, claimed = [], []
        for _ in range(300):
            shared = 1 + 0.5 * torch.randn(60, 1, generator=generator, dtype=torch.float64)
            own = 0.1 * torch.randn(60, 2, generator=generator, dtype=torch.float64)
            moments = Moments(1, 2)
            moments.add(0, shared * torch.tensor([[first, second]]) + own, torch.ones(60).double())
            distance, stderr = moments.separation(0, 0, 1)
            found.append(distance)
            claimed.append(stderr)
        spread = torch.tensor(found).std() / torch.tensor(claimed).square().mean().sqrt()
        assert 0.85 < float(spread) < 1.15


def test_columns_in_a_fixed_ratio_are_told_apart_by_any_two_units() -> None:
    moments = Moments(1, 2)
    moments.add(0, noise(2, 1) * torch.tensor([[1.0, 1.001]], dtype=torch.float64), torch.ones(2).double())
    distance, stderr = moments.separation(0, 1, 0)
    assert abs(distance - math.log(1.001)) < 1e-12
    assert stderr < 1e-7


def test_one_unit_has_no_standard_error() -> None:
    moments = Moments(1, 1)
    moments.add(0, torch.ones(1, 1, dtype=torch.float64), torch.tensor([4.0]).double())
    assert moments.mean.item() == 0.25
    assert moments.stderr.isnan().all()
    assert math.isnan(moments.separation(0, 0, 0)[1])
