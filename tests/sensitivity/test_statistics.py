from __future__ import annotations

import math

import torch

from mckp_quant.sensitivity._statistics import Moments


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) ** 2


def test_units_of_one_sample_give_the_usual_mean_and_standard_error() -> None:
    values = noise(40, 2, 3)
    moments = Moments(2, 3)
    for part in values.split([15, 1, 24]):
        for row in range(2):
            moments.add(row, part[:, row], 1)
    torch.testing.assert_close(moments.mean, values.mean(dim=0))
    torch.testing.assert_close(moments.stderr, values.std(dim=0) / math.sqrt(40))


def test_units_of_equal_size_give_the_standard_error_over_units() -> None:
    sums = noise(9, 1, 2)
    moments = Moments(1, 2)
    for each in sums:
        moments.add(0, each, 8)
    torch.testing.assert_close(moments.mean, sums.mean(dim=0) / 8)
    torch.testing.assert_close(moments.stderr, sums.std(dim=0) / 3 / 8)


def test_the_standard_error_covers_the_spread_of_repeated_samples_of_unequal_units() -> None:
    generator = torch.Generator().manual_seed(3)
    means, errors = [], []
    for _ in range(400):
        moments = Moments(1, 1)
        for size in (1, 2, 3, 4, 5, 6) * 4:
            total = size + math.sqrt(size) * torch.randn(1, 1, generator=generator, dtype=torch.float64)
            moments.add(0, total, size)
        means.append(moments.mean)
        errors.append(moments.stderr)
    spread = torch.cat(means).std()
    claimed = torch.cat(errors).square().mean().sqrt()
    assert 0.9 < float(spread / claimed) < 1.1


def test_one_unit_has_no_standard_error() -> None:
    moments = Moments(1, 1)
    moments.add(0, torch.ones(1, 1, dtype=torch.float64), 4)
    assert moments.mean.item() == 0.25
    assert moments.stderr.isnan().all()
