"""A figure of the caller's own, perplexity, and paired differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

import mckp_quant as mq
from mckp_quant.evaluation import Evaluator
from mckp_quant.evaluation.evaluator import evaluate
from mckp_quant.report.measured import validation_report
from mckp_quant.report.text import as_text
from mckp_quant.tuning import finish

from ..search import small

MODEL, DATA = small.network(), small.data()
MAPS, ROWS = small.dense_outputs()


def margin(logits: Tensor, targets: Tensor) -> Tensor:
    """How much larger the logit of the target is than the largest of the others."""
    own = logits.gather(1, targets[:, None])[:, 0]
    others = logits.scatter(1, targets[:, None], -torch.inf)
    return own - others.max(dim=1).values


OUTPUTS = mq.Outputs(metric=margin)


def coarse() -> mq.Policy:
    return mq.Policy.uniform(small.table(), "w2")


def test_the_metric_is_its_mean_over_all_samples() -> None:
    evaluator = Evaluator(MODEL, DATA, outputs=OUTPUTS)
    found = evaluator.evaluate(coarse())
    again = evaluate(mq.apply(MODEL, coarse()), MODEL, DATA, outputs=OUTPUTS)
    with torch.no_grad():
        wanted = torch.cat([margin(mq.apply(MODEL, coarse())(x), y) for x, y in DATA]).double().numpy()
    for each in (found, again):
        assert each.metric_name == "margin"
        assert each.metric == pytest.approx(wanted.mean())
        assert each.metric_stderr == pytest.approx(wanted.std(ddof=1) / math.sqrt(len(wanted)))
        assert each.metric_values is not None
        np.testing.assert_allclose(each.metric_values, wanted)
    before = evaluator.reference.metric_values
    assert before is not None
    apart = wanted - before
    assert found.difference(evaluator.reference, "metric") == pytest.approx(
        (apart.mean(), apart.std(ddof=1) / math.sqrt(len(apart)))
    )


def test_samples_without_a_value_and_batches_without_targets_do_not_count() -> None:
    def some(logits: Tensor, targets: Tensor) -> Tensor:
        return torch.where(targets == 1, margin(logits, targets), torch.nan)

    found = evaluate(MODEL, MODEL, DATA, outputs=mq.Outputs(metric=some))
    with torch.no_grad():
        wanted = torch.cat([margin(MODEL(x), y)[y == 1] for x, y in DATA]).double()
    assert found.metric == pytest.approx(wanted.mean().item())
    without = evaluate(MODEL, MODEL, [x for x, _ in DATA], outputs=OUTPUTS)
    assert math.isnan(without.metric)
    assert all(map(math.isnan, without.difference(evaluate(MODEL, MODEL, DATA), "metric")))
    assert mq.Outputs(metric=lambda logits, targets: targets).metric_name == "metric"


def test_a_metric_that_fails_or_gives_no_number_a_sample_is_named() -> None:
    def broken(logits: Tensor, targets: Tensor) -> Tensor:
        raise KeyError("boxes")

    with pytest.raises(mq.InvalidInput, match="metric 'broken' failed on batch 0: KeyError: 'boxes'; it is called"):
        evaluate(MODEL, MODEL, DATA, outputs=mq.Outputs(metric=broken))
    for metric, words in (
        (lambda logits, targets: logits, r"a result of shape \(16, 3\) for the 16 samples of batch 0"),
        (lambda logits, targets: 1.0, "a result of type float for the 16 samples"),
    ):
        with pytest.raises(mq.InvalidInput, match=words):
            evaluate(MODEL, MODEL, DATA, outputs=mq.Outputs(metric=metric))  # type: ignore[arg-type]


def test_perplexity_is_that_of_tokens_alone() -> None:
    dense = small.dense_network()
    policy = mq.Policy.uniform(small.dense_table(), "w2")
    evaluator = Evaluator(dense, MAPS, outputs=small.DENSE)
    found = evaluator.evaluate(policy)
    assert found.perplexity == pytest.approx(math.exp(found.loss))
    assert found.perplexity_stderr == pytest.approx(math.exp(found.loss) * found.loss_stderr)
    assert math.isnan(Evaluator(MODEL, DATA).reference.perplexity)
    change, error = found.difference(evaluator.reference, "perplexity")
    assert change == pytest.approx(math.exp(found.loss) - math.exp(evaluator.reference.loss))
    # Leaving each sample out in turn gives the same error, to first order (the jackknife).
    n = found.samples
    left = []
    for at in range(n):
        keep = np.arange(n) != at
        here, there = (
            math.exp(each.totals[1, keep].sum() / each.counts[1, keep].sum()) for each in (found, evaluator.reference)
        )
        left.append(here - there)
    assert error == pytest.approx(math.sqrt((n - 1) ** 2 / n * np.var(left, ddof=1)), rel=0.1)


def test_differences_are_paired_and_of_the_same_samples() -> None:
    evaluator = Evaluator(MODEL, DATA)
    found = evaluator.evaluate(coarse())
    for row, figure in enumerate(("kl", "loss", "accuracy", "agreement")):
        apart = found.totals[row] - evaluator.reference.totals[row]
        difference, error = found.difference(evaluator.reference, figure)
        assert difference == pytest.approx(apart.mean())
        assert error == pytest.approx(apart.std(ddof=1) / math.sqrt(len(apart)))
    assert found.difference(evaluator.reference, "kl") == found.kl_difference(evaluator.reference)
    with pytest.raises(mq.InvalidInput, match="unknown figure 'f1'"):
        found.difference(found, "f1")
    with pytest.raises(mq.InvalidInput, match="the evaluations are of 48 and of 16 samples: compare two on the same"):
        found.difference(Evaluator(MODEL, DATA[:1]).reference, "loss")


def test_a_validation_tells_the_metric_before_and_after() -> None:
    found = mq.validate(MODEL, coarse(), DATA, outputs=OUTPUTS)
    document = found.document()
    assert document["metric"] == "margin"
    assert document["changes"]["metric"] == pytest.approx(list(found.change("metric")))
    assert document["rows"][0]["metric"] == pytest.approx(found.rows[0].measured.metric)
    text = as_text(validation_report(found))
    change, error = found.change("metric")
    assert f"{change:+.3g} +- {error:.2g}" in text
    assert "margin: " in text
    assert "accuracy: " in text
    assert "perplexity" not in text
    tokens = mq.validate(small.dense_network(), mq.Policy.uniform(small.dense_table(), "w2"), MAPS, outputs=small.DENSE)
    assert "perplexity: " in as_text(validation_report(tokens))


def test_what_does_not_report_the_metric_does_not_run_it() -> None:
    def refused(logits: Tensor, targets: Tensor) -> Tensor:
        raise AssertionError

    outputs = mq.Outputs(metric=refused)
    finish(MODEL, coarse(), DATA, outputs=outputs)
    mq.tuning.match_features(mq.apply(MODEL, coarse()), MODEL, DATA, outputs=outputs)
    mq.refine(MODEL, small.table(), {"weight_bytes": "45%"}, DATA, evaluations=3, outputs=outputs)
    mq.search.search(
        MODEL, small.table(), {"weight_bytes": "45%"}, DATA, method="random", evaluations=2, outputs=outputs
    )
