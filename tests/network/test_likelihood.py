from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mckp_quant import InvalidInput
from mckp_quant.network.likelihood import unit
from mckp_quant.network.likelihoods import Categorical, Gaussian
from mckp_quant.network.likelihoods import categorical as module

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 9.0, -30.0]], dtype=torch.float64)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
def test_categorical_probes_have_the_hessian_of_the_loss_as_covariance(monkeypatch: pytest.MonkeyPatch) -> None:
    covariance = torch.zeros(2, 3, 3, dtype=torch.float64)
    mean = torch.zeros(2, 3, dtype=torch.float64)
    every = list(itertools.product([-1.0, 1.0], repeat=3))
    for signs in every:
        drawn = torch.tensor([signs, signs], dtype=torch.float64)
        monkeypatch.setattr(module, "rademacher", lambda like, generator, drawn=drawn: drawn)
        v = Categorical().curvature_probe(LOGITS, torch.Generator())
        covariance += v[:, :, None] * v[:, None, :] / len(every)
        mean += v / len(every)
    for n in range(2):
        hessian = torch.func.hessian(lambda z: F.cross_entropy(z, torch.tensor(1)))(LOGITS[n])
        torch.testing.assert_close(covariance[n], hessian, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=1e-15)


@pytest.mark.parametrize("likeliest", [0.5, 0.8, 0.999, 1.0])
def test_probes_of_a_sample_that_knows_two_classes_have_no_noise(likeliest: float) -> None:
    p = torch.tensor([likeliest, 0.0, 1 - likeliest], dtype=torch.float64).repeat(64, 1)
    v = Categorical().curvature_probe(p.log().clamp(min=-200), torch.Generator().manual_seed(0))
    exact = torch.diag(p[0]) - torch.outer(p[0], p[0])
    torch.testing.assert_close(v[:, :, None] * v[:, None], exact.expand(64, 3, 3), rtol=1e-9, atol=1e-12)


def test_turning_the_signs_takes_noise_out_of_uncertain_predictions() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = (2 * torch.randn(1, 10, generator=generator)).double()
    directions = torch.randn(400, 10, generator=generator).double()
    turned = Categorical().curvature_probe(logits.expand(2000, 10), generator)
    plain = Categorical().curvature_probe(logits.expand(1, 2000, 10), generator)[0]
    before, after = ((v @ directions.T).square().var(dim=0) for v in (plain, turned))
    assert float(after.mean()) < 0.75 * float(before.mean())


@pytest.mark.parametrize("shape", [(4, 3), (2, 5, 3)])
def test_gaussian_probes_are_signs_because_the_hessian_is_the_identity(shape: tuple[int, ...]) -> None:
    v = Gaussian().curvature_probe(torch.zeros(shape), torch.Generator().manual_seed(0))
    assert v.shape == shape
    assert set(v.flatten().tolist()) == {-1.0, 1.0}


@pytest.mark.parametrize("shape", [(64, 10), (8, 16, 10)])
def test_probes_of_samples_and_tokens_are_independent(shape: tuple[int, ...]) -> None:
    v = Categorical().curvature_probe(torch.zeros(shape), torch.Generator().manual_seed(0)).flatten(0, -2)
    correlation = (v @ v.T / v.norm(dim=1) / v.norm(dim=1)[:, None]).fill_diagonal_(0)
    assert float(correlation.mean().abs()) < 0.03


@pytest.mark.parametrize("shape", [(6, 3), (2, 5, 3)])
def test_categorical_loss_is_the_mean_cross_entropy_of_positions(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(shape, generator=generator)
    targets = torch.randint(0, 3, shape[:-1], generator=generator)
    log_p = torch.log_softmax(logits, dim=-1)
    expected = -log_p.gather(-1, targets[..., None]).mean()
    torch.testing.assert_close(Categorical().mean_loss(logits, targets), expected)


@pytest.mark.parametrize(("shape", "terms"), [((4,), 4), ((4, 3), 4), ((2, 5, 3), 10), ((2, 3, 4, 5), 2)])
def test_gaussian_loss_is_half_the_squared_error_summed_over_outputs(shape: tuple[int, ...], terms: int) -> None:
    outputs, targets = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    expected = (outputs - targets).square().sum() / 2 / terms
    torch.testing.assert_close(Gaussian().mean_loss(outputs, targets), expected)


def test_sequences_are_counted_per_token() -> None:
    assert unit(torch.zeros(2, 5, 3)) == "nats per token"
    assert unit(torch.zeros(2, 3)) == "nats per sample"
    for each in (Categorical(), Gaussian()):
        assert each.positions(torch.zeros(2, 5, 3)) == 5
        assert each.positions(torch.zeros(2, 3)) == 1


@pytest.mark.parametrize("shape", [(4,), (4, 1), (2, 3, 4, 4)])
def test_logits_that_are_no_class_scores_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(
        InvalidInput, match=r"categorical logits have the shape .*write outputs=Outputs\(class_dim=1\), for regression"
    ):
        Categorical().positions(torch.zeros(shape))


@pytest.mark.parametrize("targets", [torch.zeros(4), torch.zeros(4, 1).long(), torch.zeros(3).long()])
def test_targets_that_are_no_class_numbers_are_refused(targets: Tensor) -> None:
    with pytest.raises(InvalidInput, match=r"targets are .* they must be whole class numbers of shape \(4,\)"):
        Categorical().mean_loss(torch.zeros(4, 3), targets)


@pytest.mark.parametrize("wrong", [3, -1])
def test_targets_beyond_the_classes_are_refused(wrong: int) -> None:
    with pytest.raises(InvalidInput, match=f"targets hold the class {wrong}: the model has 3 classes"):
        Categorical().mean_loss(torch.zeros(2, 3), torch.tensor([0, wrong]))


def test_ignored_targets_do_not_count() -> None:
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    both = Categorical().mean_loss(logits, torch.tensor([1, -100, 2]))
    torch.testing.assert_close(both, Categorical().mean_loss(logits[[0, 2]], torch.tensor([1, 2])))


def test_regression_targets_must_have_the_shape_of_the_outputs() -> None:
    with pytest.raises(InvalidInput, match=r"targets have the shape \(4,\): .* \(4, 1\)"):
        Gaussian().mean_loss(torch.zeros(4, 1), torch.zeros(4))
