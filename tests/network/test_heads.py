"""Outputs of several heads: a network cut into heads gives the figures of the whole one, whatever takes `Outputs`."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli as Independent
from torch.distributions import kl_divergence
from torch.nn import functional as F

import mckp_quant as mq
from mckp_quant.evaluation import Evaluator
from mckp_quant.network import as_batches
from mckp_quant.network.batches import forward
from mckp_quant.network.likelihoods import LIKELIHOODS, Bernoulli, Categorical
from mckp_quant.network.scores import score
from mckp_quant.search import METHODS, run_method
from mckp_quant.tuning import finetune, finish, match_features

from ..search import small

if TYPE_CHECKING:
    from pathlib import Path

BUDGET = {"weight_bytes": "60%"}
_, ROWS = small.dense_outputs()
FIRST, REST = 10, 15  # positions of the heads into which the 25 positions of the network are cut
CUT = mq.Outputs(
    heads=(
        mq.Outputs(take=lambda maps: maps.movedim(1, -1).flatten(1, 2)[:, :FIRST], weight=FIRST / 25, name="first"),
        mq.Outputs(take=lambda maps: maps.movedim(1, -1).flatten(1, 2)[:, FIRST:], weight=REST / 25, name="rest"),
    )
)
PARTS = [(inputs, (own[:, :FIRST], own[:, FIRST:])) for inputs, own in ROWS]


def whole_and_cut() -> tuple[mq.SensitivityTable, mq.SensitivityTable]:
    first, second = (
        mq.measure(small.dense_network(), data, formats=small.FORMATS, method="measured_kl", outputs=outputs)
        for data, outputs in ((ROWS, small.MOVED), (PARTS, CUT))
    )
    return first, second


WHOLE, HEADS = whole_and_cut()


def policy() -> mq.Policy:
    return mq.allocate(HEADS, BUDGET).policy


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"weight": 0}, "weight is 0: it must be a number above 0"),
        ({"weight": -1.0}, "weight is -1.0: it must be a number above 0"),
        ({"weight": float("nan")}, "weight is nan"),
        ({"metric": "accuracy"}, "metric is 'accuracy': give a function from logits and targets"),
        ({"heads": [mq.Outputs()]}, r"give a tuple of Outputs\(...\), one for each head"),
        ({"heads": ("boxes",)}, r"heads is \('boxes',\): give a tuple of Outputs"),
        ({"heads": (CUT,)}, "head '' has heads of its own: give that to the outer Outputs"),
        (
            {"heads": (mq.Outputs(name="a", metric=torch.sub),)},
            "head 'a' has a metric, which judges all heads",
        ),
        ({"heads": (mq.Outputs(name="a"), mq.Outputs(name="a"))}, "two heads have the name 'a'"),
        ({"heads": CUT.heads, "take": len}, "take= is given beside heads="),
        ({"heads": CUT.heads, "class_dim": 1}, "class_dim= is given beside heads="),
        ({"heads": CUT.heads, "name": "x"}, "name= is given beside heads="),
        ({"heads": CUT.heads, "weight": 2}, "weight= is given beside heads="),
        ({"heads": CUT.heads, "likelihood": "gaussian"}, "likelihood= is given beside heads="),
    ],
)
def test_what_cannot_be_used_is_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(mq.InvalidInput, match=words):
        mq.Outputs(**fields)  # type: ignore[arg-type]


def test_outputs_of_several_heads_can_be_changed_and_compared() -> None:
    assert CUT.likelihood == "0.4 categorical + 0.6 categorical"
    assert dataclasses.replace(CUT, metric=None) == CUT
    assert mq.Outputs(weight=3).likelihood == "categorical"
    assert mq.Outputs(weight=3).distribution.name == "3 categorical"


A, B = torch.zeros(2, 3), torch.ones(2, 4, 3)


@pytest.mark.parametrize(
    "returned", [{"a": A, "b": B}, (A, B), [A, B], SimpleNamespace(a=A, b=B)], ids=["dict", "tuple", "list", "object"]
)
def test_heads_are_found_by_name_or_place(returned: object) -> None:
    take = mq.Outputs(heads=(mq.Outputs(name="a"), mq.Outputs(name="b"))).logits
    assert take is not None
    found = take(returned)
    assert isinstance(found, tuple)
    assert torch.equal(found[0], A)
    assert torch.equal(found[1], B)


@pytest.mark.parametrize(
    ("heads", "returned", "words"),
    [
        ((mq.Outputs(name="b"),), {"a": A}, r"head 'b': the model returned a dict in which nothing is called 'b'"),
        ((mq.Outputs(), mq.Outputs()), (A, A, A), r"head '1': .*nothing is called '1', and which is no tuple of 2"),
        ((mq.Outputs(name="a"), mq.Outputs(name="b")), (A, None), "head 'b' gave NoneType: it must give a floating"),
        ((mq.Outputs(name="a"),), ((torch.zeros(2).long()),), "head 'a' gave .*int64 of shape"),
        ((mq.Outputs(name="a"),), (torch.zeros(2),), r"head 'a' gave torch.float32 of shape \(2,\)"),
        ((mq.Outputs(name="a"), mq.Outputs(name="b")), (A, B[:1]), "head 'b' gave 1 samples, and the head before it 2"),
        ((mq.Outputs(name="a", take=lambda made: made["x"]),), {}, "the take of head 'a' failed on the dict.*KeyError"),
        ((mq.Outputs(name="a", weight=2, class_dim=1), mq.Outputs(name="b")), (A, B), "head 'a': class_dim is 1, but"),
        ((mq.Outputs(name="a"), mq.Outputs()), (A.softmax(-1), B), "head 'a': the outputs are probabilities"),
    ],
)
def test_heads_that_give_nothing_are_named(heads: tuple[mq.Outputs, ...], returned: object, words: str) -> None:
    take = mq.Outputs(heads=(*heads,) if len(heads) > 1 else (dataclasses.replace(heads[0], weight=2),)).logits
    assert take is not None
    with pytest.raises(mq.InvalidInput, match=words):
        take(returned)


def test_targets_are_one_for_each_head() -> None:
    model = small.dense_network()
    inputs, own = ROWS[0]
    with pytest.raises(mq.InvalidInput, match="batch 0 has targets for 1 heads, and the outputs have 2: give a tuple"):
        mq.evaluate(model, model, [(inputs, own)], outputs=CUT)
    with pytest.raises(mq.InvalidInput, match="targets for 2 heads, and the outputs have 1: give one tensor"):
        mq.evaluate(model, model, [PARTS[0]], outputs=small.MOVED)
    with pytest.raises(mq.InvalidInput, match=r"head 'rest': batch 0 has torch\.int64 targets of shape"):
        mq.evaluate(model, model, [(inputs, (own[:, :FIRST], own))], outputs=CUT)
    with pytest.raises(mq.InvalidInput, match="batch 0 has 5 targets for 6 samples"):
        mq.evaluate(model, model, [(inputs, (own[:, :FIRST], own[1:]))], outputs=CUT)
    some = mq.evaluate(model, model, [(inputs, [own[:, :FIRST], None])], outputs=CUT)
    assert np.isnan(some.loss)  # the loss of all heads together is not known
    assert 0 < some.accuracy < 1


def test_heads_with_class_dim_take_their_targets_as_maps() -> None:
    model = small.dense_network()
    maps, _ = small.dense_outputs()
    twice = [(inputs, (own, torch.randn(6, 3, 5, 5))) for inputs, own in maps]
    dense = mq.Outputs(
        heads=(
            mq.Outputs(take=lambda made: made, class_dim=1),
            mq.Outputs(take=lambda made: made, class_dim=1, likelihood="gaussian"),
        )
    )
    found = mq.evaluate(model, model, twice, outputs=dense)
    squares = torch.cat([(model(inputs) - goal[1]).square().sum(1).mean((1, 2)) / 2 for inputs, goal in twice])
    plain = mq.evaluate(model, model, maps, outputs=small.DENSE)
    assert found.loss == pytest.approx(plain.loss + squares.mean().item(), rel=1e-6)


def test_tables_are_those_of_the_whole_network() -> None:
    np.testing.assert_allclose(HEADS.loss, WHOLE.loss, rtol=1e-9)
    assert (WHOLE.unit, HEADS.unit) == ("nats per token", "nats per sample")
    assert HEADS.classes == 0


def test_evaluations_are_those_of_the_whole_network() -> None:
    model = small.dense_network()
    whole = Evaluator(model, ROWS, outputs=small.MOVED)
    cut = Evaluator(model, PARTS, outputs=CUT)
    first, second = whole.evaluate(policy()), cut.evaluate(policy())
    third = mq.evaluate(mq.apply(model, policy()), model, PARTS, outputs=CUT)
    for found in (second, third):
        assert found.kl == pytest.approx(first.kl, rel=1e-9)
        assert found.kl_stderr == pytest.approx(first.kl_stderr, rel=1e-9)
        assert found.loss == pytest.approx(first.loss, rel=1e-9)
    # Shares of hits are means over heads, whatever their positions.
    assert second.agreement == pytest.approx(first.agreement, abs=0.1)
    assert cut.guessing == pytest.approx(whole.guessing)


def test_validation_and_refinement_are_those_of_the_whole_network() -> None:
    model = small.dense_network()
    whole = mq.refine(model, WHOLE, BUDGET, ROWS, evaluations=25, outputs=small.MOVED)
    cut = mq.refine(model, HEADS, BUDGET, PARTS, evaluations=25, outputs=CUT)
    assert cut.policy.formats == whole.policy.formats
    assert cut.kl == pytest.approx(whole.kl, rel=1e-6)
    assert cut.steps
    first = mq.validate(model, whole.policy, ROWS, outputs=small.MOVED)
    second = mq.validate(model, cut.policy, PARTS, outputs=CUT, table=HEADS, by_layer=True)
    assert second.policy.measured.kl == pytest.approx(first.policy.measured.kl, rel=1e-9)
    assert second.unit == "nats per sample"
    with pytest.raises(mq.InvalidInput, match=r"measured with likelihood='0\.4 categorical"):
        mq.validate(model, cut.policy, ROWS, outputs=small.MOVED, table=HEADS)


def test_interactions_have_the_tables_on_their_diagonal() -> None:
    model = small.dense_network()
    table = mq.measure(model, PARTS, formats="w2,w4", outputs=CUT)
    found = mq.measure_interactions(model, PARTS, formats="w2,w4", outputs=CUT)
    mean = np.average(found.parts, axis=0, weights=found.batch_sizes)
    np.testing.assert_allclose(np.diag(mean), table.loss.flatten(), rtol=1e-6)
    assert found.unit == "nats per sample"


@pytest.mark.parametrize("distil", [True, False])
def test_fine_tuning_follows_the_same_losses(distil: bool) -> None:
    model = small.dense_network()
    first, second = (
        finetune(model, policy(), data, steps=4, rate=1e-3, distil=distil, outputs=outputs)
        for data, outputs in ((ROWS, small.MOVED), (PARTS, CUT))
    )
    np.testing.assert_allclose(second.loss, first.loss, rtol=1e-4)


def test_the_last_pass_takes_heads() -> None:
    model = small.dense_network()
    made = finish(model, policy(), PARTS, steps=4, outputs=CUT)
    assert made.decided.unit == "nats per sample"
    assert made.decided.after <= made.decided.before
    matched = match_features(mq.apply(model, policy()), model, PARTS, outputs=CUT)
    whole = match_features(mq.apply(model, policy()), model, ROWS, outputs=small.MOVED)
    assert (matched.strength, matched.after) == pytest.approx((whole.strength, whole.after), rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_every_method_chooses_the_same(name: str) -> None:
    model = small.dense_network()
    first = run_method(name, model, WHOLE, BUDGET, ROWS, evaluations=8, outputs=small.MOVED)
    second = run_method(name, model, HEADS, BUDGET, PARTS, evaluations=8, outputs=CUT)
    assert first.evaluations == second.evaluations
    if name != "progressive":  # goes by the classes of the first head alone
        assert first.policy == second.policy or (
            first.policy is not None and second.policy is not None and first.policy.formats == second.policy.formats
        )


def test_a_measurement_goes_on_where_it_stopped(tmp_path: Path) -> None:
    model, file = small.dense_network(), tmp_path / "measurement.json"
    whole = mq.measure(model, PARTS, formats="w2,w4", outputs=CUT)
    part = mq.RunOptions(checkpoint=file, max_batches=2)
    mq.measure(model, PARTS, formats="w2,w4", outputs=CUT, run=part)
    resumed = mq.measure(model, PARTS, formats="w2,w4", outputs=CUT, run=mq.RunOptions(checkpoint=file))
    assert resumed.digest == whole.digest
    with pytest.raises(mq.InvalidInput, match=r"likelihood was 0\.4 categorical"):
        mq.measure(model, ROWS, formats="w2,w4", outputs=small.MOVED, run=mq.RunOptions(checkpoint=file))
    other = [(inputs, (own, goal.flip(0))) for inputs, (own, goal) in PARTS]
    with pytest.raises(mq.InvalidInput, match="other calibration data"):
        mq.measure(model, other, formats="w2,w4", outputs=CUT, run=mq.RunOptions(checkpoint=file))


def test_a_plan_counts_the_logits_of_all_heads() -> None:
    one, two = (
        mq.plan(small.dense_network(), ROWS[0][0], formats="w4", outputs=outputs).activations
        for outputs in (small.MOVED, CUT)
    )
    assert one == two


def test_bernoulli_logits_are_those_of_two_classes_of_which_one_is_zero() -> None:
    generator = torch.Generator().manual_seed(0)
    z, wanted = 3 * torch.randn(2, 40, 1, dtype=torch.float64, generator=generator)
    yes, no = (torch.cat([torch.zeros_like(each), each], dim=1) for each in (z, wanted))
    answers = torch.randint(0, 2, (40,), generator=generator)
    (batch,) = as_batches([(torch.zeros(40, 1), answers[:, None].double())])
    (classes,) = as_batches([(torch.zeros(40, 1), answers)])
    np.testing.assert_allclose(
        score(z, wanted, batch, Bernoulli()), score(yes, no, classes, Categorical()), rtol=1e-9, atol=1e-15
    )
    assert float(Bernoulli().mean_loss(z, answers[:, None])) == pytest.approx(
        float(Categorical().mean_loss(yes, answers)), rel=1e-12
    )
    own = Bernoulli().mean_divergence(z, wanted, batch)
    assert float(own) == pytest.approx(float(Categorical().mean_divergence(yes, no, classes)), rel=1e-9)
    np.testing.assert_allclose(
        Bernoulli().divergence_gradient(z, wanted), Categorical().divergence_gradient(yes, no)[:, 1:], rtol=1e-9
    )
    assert Bernoulli().surprise(z, None) == pytest.approx(Categorical().surprise(yes, None), rel=1e-9)
    probes = torch.stack([Bernoulli().curvature_probe(z, generator) for _ in range(4)])
    np.testing.assert_allclose(probes.square(), (z.sigmoid() * (-z).sigmoid()).expand(4, -1, -1), rtol=1e-9)


def test_bernoulli_labels_add_up_and_unknown_ones_do_not_count() -> None:
    generator = torch.Generator().manual_seed(1)
    z, wanted = torch.randn(2, 6, 4, 3, dtype=torch.float64, generator=generator)
    goal = torch.randint(0, 2, (6, 4, 3), generator=generator).double()
    goal[0, 0, 0], goal[1], goal[2, 1, 1] = torch.nan, torch.nan, -100
    (batch,) = as_batches([(torch.zeros(6, 1), goal)])
    totals, counts = score(z, wanted, batch, Bernoulli())
    kl = kl_divergence(Independent(logits=wanted), Independent(logits=z)).sum(-1)
    np.testing.assert_allclose(totals[0], kl.sum(1), rtol=1e-9)
    known = ~goal.isnan() & (goal != -100)
    loss = F.binary_cross_entropy_with_logits(z, goal.where(known, 0), reduction="none").where(known, 0)
    np.testing.assert_allclose(totals[1], loss.sum((1, 2)), rtol=1e-9)
    np.testing.assert_array_equal(counts[1], [4, 0, 4, 4, 4, 4])
    right = ((z > 0) == (goal == 1)) & known
    np.testing.assert_allclose(totals[2], (right.sum(-1).double() / known.sum(-1).clamp(min=1)).sum(1), rtol=1e-9)
    np.testing.assert_array_equal(Bernoulli().labelled(z, goal), [4, 0, 4, 4, 4, 4])


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (torch.zeros(4), r"targets have the shape \(4,\): for likelihood='bernoulli' it must be that of the logits"),
        (torch.full((4, 3), 2.0), "targets hold 2: for likelihood='bernoulli' they must be from 0 to 1"),
    ],
)
def test_bernoulli_targets_that_are_no_answers_are_refused(targets: Tensor, words: str) -> None:
    with pytest.raises(mq.InvalidInput, match=words):
        LIKELIHOODS["bernoulli"].mean_loss(torch.zeros(4, 3), targets)


def test_outputs_of_a_sigmoid_are_refused_as_bernoulli_logits() -> None:
    (batch,) = as_batches([torch.randn(8, 4)])
    outputs = mq.Outputs(likelihood="bernoulli")
    with pytest.raises(mq.InvalidInput, match=r"every entry is between 0 and 1.*p\.logit\(\)"):
        forward(torch.nn.Sigmoid(), batch, outputs.logits)
    assert forward(torch.nn.Identity(), batch, outputs.logits).shape == (8, 4)


def test_unknown_numbers_of_a_regression_do_not_count() -> None:
    z, goal = torch.randn(5, 2, 3, dtype=torch.float64), torch.randn(5, 2, 3, dtype=torch.float64)
    goal[0], goal[1, 0], goal[2, 0, 0] = torch.nan, torch.nan, torch.nan
    gaussian = LIKELIHOODS["gaussian"]
    squares = (z - goal).square().nan_to_num(0).sum(-1) / 2
    assert float(gaussian.mean_loss(z, goal)) == pytest.approx(float(squares.sum()) / 7, rel=1e-12)
    np.testing.assert_array_equal(gaussian.labelled(z, goal), [0, 1, 2, 2, 2])
    (batch,) = as_batches([(torch.zeros(5, 1), goal)])
    totals, counts = score(z, z, batch, gaussian)
    np.testing.assert_allclose(totals[1], squares.sum(1), rtol=1e-12)
    np.testing.assert_array_equal(counts[1], [0, 1, 2, 2, 2])
