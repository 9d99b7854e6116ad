from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

import mckp_quant as mq
from mckp_quant.evaluation.evaluator import Evaluator, evaluate

if TYPE_CHECKING:
    from mckp_quant.evaluation.figures import Evaluation

FIGURES = ("kl", "loss", "accuracy", "agreement")


class Lookup(nn.Module):
    """A network that has learnt its logits by heart: input i gives row i."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.register_buffer("logits", logits)

    def forward(self, index: Tensor) -> Tensor:
        logits: Tensor = self.get_buffer("logits")[index]
        return logits


def draw(seed: int, *shape: int, scale: float = 2.0) -> Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def classes(seed: int, *shape: int, count: int = 5) -> Tensor:
    return torch.randint(count, shape, generator=torch.Generator().manual_seed(seed))


def measure(
    own: Tensor, wanted: Tensor, targets: Tensor | None = None, *, step: int = 4, likelihood: str = "categorical"
) -> Evaluation:
    index = torch.arange(len(own))
    batches: list[object] = [part if targets is None else (part, targets[part]) for part in index.split(step)]
    return evaluate(Lookup(own), Lookup(wanted), batches, outputs=mq.Outputs(likelihood=likelihood))


def naive(own: Tensor, wanted: Tensor, targets: Tensor) -> dict[str, list[float]]:
    """The definitions in plain Python, one sample after the other."""
    found: dict[str, list[float]] = {name: [] for name in FIGURES}
    for z, w, y in zip(own.tolist(), wanted.tolist(), targets.tolist(), strict=True):
        log_q = [each - math.log(math.fsum(map(math.exp, z))) for each in z]
        log_p = [each - math.log(math.fsum(map(math.exp, w))) for each in w]
        found["kl"].append(math.fsum(math.exp(p) * (p - q) for p, q in zip(log_p, log_q, strict=True)))
        found["loss"].append(-log_q[y])
        found["accuracy"].append(float(z.index(max(z)) == y))
        found["agreement"].append(float(z.index(max(z)) == w.index(max(w))))
    return found


@given(
    seed=st.integers(0, 10**6), samples=st.integers(2, 30), step=st.integers(1, 31), scale=st.sampled_from([0.01, 1, 9])
)
def test_figures_and_errors_are_the_mean_and_standard_error_of_the_definitions(
    seed: int, samples: int, step: int, scale: float
) -> None:
    own, wanted = draw(seed, samples, 5, scale=scale), draw(seed + 1, samples, 5, scale=scale)
    targets = classes(seed, samples)
    got = measure(own, wanted, targets, step=step)
    for name, entries in naive(own, wanted, targets).items():
        assert getattr(got, name) == pytest.approx(np.mean(entries), rel=1e-9, abs=1e-12)
        assert getattr(got, f"{name}_stderr") == pytest.approx(
            np.std(entries, ddof=1) / samples**0.5, rel=1e-7, abs=1e-12
        )
    assert (got.samples, got.unit) == (samples, "nats per sample")


def test_token_figures_are_means_over_tokens_with_errors_over_sequences() -> None:
    own, wanted, targets = draw(1, 9, 7, 5), draw(2, 9, 7, 5), classes(3, 9, 7)
    got = measure(own, wanted, targets)
    for name, entries in naive(own.flatten(0, 1), wanted.flatten(0, 1), targets.flatten()).items():
        per_sequence = np.reshape(entries, (9, 7)).mean(axis=1)
        assert getattr(got, name) == pytest.approx(np.mean(entries), rel=1e-9)
        assert getattr(got, f"{name}_stderr") == pytest.approx(per_sequence.std(ddof=1) / 3, rel=1e-9)
    assert (got.samples, got.unit) == (9, "nats per token")


def test_sequences_of_unequal_length_count_by_their_tokens() -> None:
    long, short = draw(1, 3, 8, 5), draw(2, 2, 3, 5)
    model, reference = nn.Identity(), nn.Identity()
    model.register_forward_hook(lambda module, args, output: output * 0.7)
    got = evaluate(model, reference, [long, short])
    every = torch.cat([long.flatten(0, 1), short.flatten(0, 1)])
    wanted = naive(0.7 * every, every, classes(0, len(every)))["kl"]
    assert got.kl == pytest.approx(np.mean(wanted), rel=1e-6)


def test_batches_count_by_their_weight() -> None:
    own, wanted, targets = draw(1, 12, 5), draw(2, 12, 5), classes(3, 12)
    entries, weight = naive(own, wanted, targets), np.repeat([0.25, 3.0, 1.0], 4)
    model, batches = Lookup(wanted), [(part, targets[part]) for part in torch.arange(12).split(4)]
    weighed = [
        dataclasses.replace(batch, weight=float(each))
        for batch, each in zip(mq.Outputs().batches(batches, model), weight[::4], strict=True)
    ]
    got = evaluate(Lookup(own), model, weighed)
    for name in FIGURES:
        mean = np.average(entries[name], weights=weight)
        residual = weight * (np.array(entries[name]) - mean)
        assert getattr(got, name) == pytest.approx(mean, rel=1e-9)
        error = (12 / 11 * (residual**2).sum()) ** 0.5 / weight.sum()
        assert getattr(got, f"{name}_stderr") == pytest.approx(error, rel=1e-9)


def test_network_is_at_distance_zero_from_itself() -> None:
    logits, targets = draw(1, 20, 5), classes(2, 20)
    got = measure(logits, logits, targets)
    assert (got.kl, got.kl_stderr, got.agreement) == (0, 0, 1)
    assert got.loss == pytest.approx(float(functional.cross_entropy(logits, targets)), rel=1e-6)


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6))
def test_kl_is_not_negative_and_blind_to_constants_and_order(seed: int) -> None:
    own, wanted, targets = draw(seed, 12, 5), draw(seed + 1, 12, 5), classes(seed, 12)
    got = measure(own, wanted, targets)
    assert got.kl >= 0
    order = torch.randperm(12, generator=torch.Generator().manual_seed(seed))
    shuffled = measure(own[order] + 3, wanted[order] - 5, targets[order], step=5)
    for name in FIGURES:
        assert getattr(shuffled, name) == pytest.approx(getattr(got, name), rel=1e-5, abs=1e-6)


def test_small_kl_is_the_curvature_form_and_is_resolved_far_below_float32() -> None:
    wanted, step = draw(1, 50, 5).double(), 1e-6 * draw(2, 50, 5).double()
    p = wanted.softmax(dim=1)
    form = ((p * step**2).sum(dim=1) - (p * step).sum(dim=1) ** 2) / 2
    got = measure(wanted + step, wanted)
    assert 1e-13 < got.kl < 1e-10
    assert got.kl == pytest.approx(float(form.mean()), rel=1e-3)


def test_without_targets_loss_and_accuracy_are_nan_and_the_rest_is_not() -> None:
    own, wanted = draw(1, 10, 5), draw(2, 10, 5)
    got, labelled = measure(own, wanted), measure(own, wanted, classes(3, 10))
    assert math.isnan(got.loss)
    assert math.isnan(got.accuracy)
    assert (got.kl, got.kl_stderr, got.agreement) == (labelled.kl, labelled.kl_stderr, labelled.agreement)


def test_ignored_targets_count_neither_for_loss_nor_for_accuracy() -> None:
    own, wanted, targets = draw(1, 10, 5), draw(2, 10, 5), classes(3, 10)
    targets[::2] = -100
    got, rest = measure(own, wanted, targets), measure(own[1::2], wanted[1::2], targets[1::2])
    for name in ("loss", "loss_stderr", "accuracy", "accuracy_stderr"):
        assert getattr(got, name) == pytest.approx(getattr(rest, name), rel=1e-12)
    assert got.kl == measure(own, wanted).kl


def test_one_sample_has_no_standard_error() -> None:
    assert math.isnan(measure(draw(1, 1, 5), draw(2, 1, 5)).kl_stderr)


@pytest.mark.parametrize(("shape", "per"), [((6, 3), 1), ((6, 4, 3), 4), ((6,), 1)])
def test_gaussian_kl_is_half_the_squared_distance(shape: tuple[int, ...], per: int) -> None:
    own, wanted, targets = draw(1, *shape), draw(2, *shape), draw(3, *shape)
    got = measure(own, wanted, targets, likelihood="gaussian")
    assert got.kl == pytest.approx(float(((own - wanted) ** 2).sum() / 2 / 6 / per), rel=1e-6)
    assert got.loss == pytest.approx(float(((own - targets) ** 2).sum() / 2 / 6 / per), rel=1e-6)
    assert math.isnan(got.accuracy)
    assert math.isnan(got.agreement)
    assert math.isnan(measure(own, wanted, likelihood="gaussian").loss)
    assert got.unit == ("nats per token" if per > 1 else "nats per sample")


def test_classes_that_both_networks_rule_out_add_nothing() -> None:
    own, wanted = draw(1, 8, 5), draw(2, 8, 5)
    cut = measure(own[:, :4], wanted[:, :4])
    own[:, 4] = wanted[:, 4] = -math.inf
    assert measure(own, wanted).kl == pytest.approx(cut.kl, rel=1e-12)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_network_that_overflows_is_infinitely_far_away(broken: float) -> None:
    own, wanted = draw(1, 8, 5), draw(2, 8, 5)
    own[3, 1] = broken
    got = measure(own, wanted, classes(3, 8))
    assert got.kl == math.inf
    assert math.isnan(got.kl_stderr)
    assert got.kl_difference(measure(wanted, wanted, classes(3, 8)))[0] == math.inf
    assert math.isnan(got.kl_difference(got)[0])


def test_paired_difference_is_that_of_the_samples_and_tighter_than_the_figures() -> None:
    wanted = draw(0, 40, 5)
    near, far = measure(wanted + draw(1, 40, 5, scale=0.5), wanted), measure(wanted + draw(1, 40, 5, scale=0.6), wanted)
    difference, stderr = far.kl_difference(near)
    assert difference == pytest.approx(far.kl - near.kl)
    per_sample = far.totals[0] - near.totals[0]
    assert stderr == pytest.approx(per_sample.std(ddof=1) / 40**0.5)
    assert stderr < math.hypot(near.kl_stderr, far.kl_stderr) / 2
    assert near.kl_difference(near) == (0, 0)


def wrong_target(value: int) -> Tensor:
    targets = classes(3, 8)
    targets[6] = value
    return targets


@pytest.mark.parametrize(
    ("own", "wanted", "targets", "likelihood", "message"),
    [
        (draw(1, 8, 5), draw(2, 8, 4), None, "categorical", r"batch 0 have the shape \(4, 5\).*float network \(4, 4\)"),
        (
            draw(1, 8, 5),
            draw(2, 8, 5) * math.nan,
            None,
            "categorical",
            "float network's logits of batch 0 are not finite",
        ),
        (
            draw(1, 8, 5),
            draw(2, 8, 5),
            wrong_target(5),
            "categorical",
            "batch 1 has the target 5: class numbers.* 0 to 4",
        ),
        (draw(1, 8, 5), draw(2, 8, 5), wrong_target(-1), "categorical", "batch 1 has the target -1"),
        (draw(1, 8, 5), draw(2, 8, 5), draw(3, 8), "categorical", r"float32 targets of shape \(4,\).*class numbers"),
        (draw(1, 8, 5), draw(2, 8, 5), classes(3, 8, 2), "categorical", r"targets of shape \(4, 2\).*of shape \(4,\)"),
        (draw(1, 8, 5), draw(2, 8, 5), draw(3, 8), "gaussian", r"targets of shape \(4,\).*outputs, \(4, 5\)"),
        (draw(1, 8, 5), draw(2, 8, 5), None, "gausian", "unknown likelihood 'gausian': did you mean 'gaussian'"),
        (
            draw(1, 8, 5, 2, 2),
            draw(2, 8, 5, 2, 2),
            None,
            "categorical",
            r"categorical logits have the shape \(4, 5, 2, 2\)",
        ),
    ],
)
def test_what_does_not_fit_is_named(
    own: Tensor, wanted: Tensor, targets: Tensor | None, likelihood: str, message: str
) -> None:
    with pytest.raises(mq.InvalidInput, match=message):
        measure(own, wanted, targets, likelihood=likelihood)


def test_zero_batches_are_refused() -> None:
    with pytest.raises(mq.InvalidInput, match="zero batches"):
        evaluate(nn.Identity(), nn.Identity(), [])
    with pytest.raises(mq.InvalidInput, match="zero batches"):
        Evaluator(nn.Identity(), [])


def noisy() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.ReLU(), nn.Linear(16, 5)).train()


POLICY = mq.Policy(("0", "4"), (mq.Format.named("w2"), mq.Format.named("w3")))
BATCHES = [(draw(seed, 10, 6), classes(seed, 10)) for seed in range(3)]


def test_networks_in_train_mode_are_measured_in_eval_mode_and_given_back_as_they_were() -> None:
    model = noisy()
    quantised = mq.apply(model, POLICY)
    before = [{key: entry.clone() for key, entry in each.state_dict().items()} for each in (model, quantised)]
    random_state = torch.random.get_rng_state()
    first, second = evaluate(quantised, model, BATCHES), evaluate(quantised.eval(), model, BATCHES)
    assert (first.kl, first.loss) == (second.kl, second.loss)
    assert model.training
    assert torch.equal(random_state, torch.random.get_rng_state())
    for states, each in zip(before, (model, quantised), strict=True):
        assert all(torch.equal(states[key], entry) for key, entry in each.state_dict().items())


def test_evaluator_gives_what_evaluate_gives_and_runs_the_float_network_once() -> None:
    model = noisy()
    calls = []
    model.register_forward_hook(lambda module, args, output: calls.append(module is model))
    evaluator = Evaluator(model, iter(BATCHES))
    assert calls == [True] * len(BATCHES)
    got = [evaluator.evaluate(POLICY) for _ in range(2)]
    assert calls.count(True) == len(BATCHES)
    assert evaluator.passes == 2
    wanted = evaluate(mq.apply(model, POLICY), model, BATCHES)
    for each in got:
        assert all(getattr(each, name) == getattr(wanted, name) for name in FIGURES)
    assert (evaluator.reference.kl, evaluator.reference.agreement) == (0, 1)
    assert wanted.kl > 0


def test_output_says_where_the_logits_are() -> None:
    class Pair(nn.Module):
        def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
            return inputs.sum(), inputs

    def second(returned: object) -> object:
        assert isinstance(returned, tuple)
        return returned[1]

    logits = draw(1, 6, 5)
    got = evaluate(Pair(), Pair(), [logits], outputs=mq.Outputs(take=second))
    assert (got.kl, got.samples) == (0, 6)
    assert Evaluator(Pair(), [logits], outputs=mq.Outputs(take=second)).reference.samples == 6
