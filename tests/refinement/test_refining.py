from __future__ import annotations

import dataclasses
import itertools
import json
import math
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import mckp_quant as mq
from mckp_quant.common.documents import write_document
from mckp_quant.common.run_options import RunOptions
from mckp_quant.errors import InvalidInput
from mckp_quant.evaluation.evaluator import Evaluator, evaluate
from mckp_quant.interactions.form import between_moves
from mckp_quant.interactions.measuring import measure_interactions
from mckp_quant.refinement import measurements as measuring
from mckp_quant.refinement.correction import Correction
from mckp_quant.refinement.proposals import propose
from mckp_quant.refinement.racing import Scores, importance_of, mean_kl, paired, race, stages
from mckp_quant.refinement.refining import refine
from mckp_quant.refinement.rounds import Rounds, Search
from mckp_quant.solvers import Pairs, Problem, solve

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mckp_quant.refinement.result import Refinement

GENERATOR = torch.Generator().manual_seed(3)
BATCHES = [torch.randn(10, 6, generator=GENERATOR) for _ in range(8)]
FORMATS = "w2,w3,w4,w6"


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        sizes = (6, 12, 12, 10, 5)
        layers = [part for a, b in itertools.pairwise(sizes) for part in (nn.Linear(a, b), nn.Tanh())]
        for layer in layers[::2]:
            assert isinstance(layer, nn.Linear)
            layer.weight.data *= 2
        return nn.Sequential(*layers[:-1])


MODEL = network()
TABLE = mq.measure(MODEL, BATCHES, formats=FORMATS)
BUDGET = {"weight_bytes": "72%"}


def misled(seed: int = 0) -> mq.SensitivityTable:
    """The table with its entries scaled at random: its best policy is not the network's."""
    scale = np.exp(np.random.default_rng(seed).normal(0, 1.2, TABLE.loss.shape))
    return dataclasses.replace(TABLE, loss=TABLE.loss * scale, contributions=None, batch_sizes=None)


def document(found: Refinement) -> str:
    return json.dumps(found.document(), allow_nan=False)


@pytest.mark.parametrize("seed", range(3))
def test_policy_is_within_the_budgets_and_measured_no_worse_than_the_start(seed: int) -> None:
    found = refine(MODEL, misled(seed), BUDGET, BATCHES, evaluations=30, run=RunOptions(seed=seed))
    limit = mq.build(TABLE, BUDGET)[0].budget[0]
    assert found.policy.costs["weight_bytes"] <= limit
    assert found.evaluations <= 30
    assert found.kl <= found.start_kl
    assert found.confirmed <= found.confirmed_stderr
    if found.policy != found.start:
        everywhere = [evaluate(mq.apply(MODEL, policy), MODEL, BATCHES).kl for policy in (found.policy, found.start)]
        assert everywhere[0] < everywhere[1]


@pytest.mark.slow
def test_a_table_that_misleads_is_overcome() -> None:
    found = [
        refine(MODEL, misled(seed), BUDGET, BATCHES, evaluations=60, run=RunOptions(seed=seed)) for seed in range(4)
    ]
    assert np.median([each.kl / each.start_kl for each in found]) < 0.75
    for each in found:
        changed = "improved by measuring; predicted by the table as these measurements correct it"
        assert each.policy.status == changed or each.policy == each.start


def test_prediction_of_what_was_refined_is_that_of_the_corrected_table() -> None:
    """The old table's would be stale: what was measured contradicts it."""
    table = misled(0)
    found = refine(MODEL, table, BUDGET, BATCHES, evaluations=30)
    assert found.policy != found.start
    stale = mq.Policy.on_table(table, found.policy.formats).predicted
    corrected = mq.Policy.on_table(found.corrected, found.policy.formats).predicted
    assert found.policy.predicted == pytest.approx(corrected)
    assert found.policy.predicted != stale
    assert found.policy.table == found.corrected.digest != table.digest
    assert math.isnan(found.policy.bound)
    assert found.start.predicted == mq.allocate(table, BUDGET).policy.predicted


def test_record_tells_the_whole_search() -> None:
    found = refine(MODEL, misled(0), BUDGET, BATCHES, evaluations=40)
    spent = [step.evaluations for step in found.steps]
    assert spent == sorted(spent)
    kl = [found.start_kl, *(step.kl for step in found.steps)]
    for (before, after), step in zip(itertools.pairwise(kl), found.steps, strict=True):
        assert step.accepted == bool(step.changes)
        if step.accepted:
            assert step.difference < 0
            assert after <= before
        else:
            assert after == before
    assert any(step.accepted for step in found.steps)
    assert re.fullmatch(r"\d: w\d -> w\d", next(step.changes[0] for step in found.steps if step.changes))


@pytest.mark.slow
def test_network_that_follows_the_table_keeps_its_policy_or_a_better_one() -> None:
    policies = {}
    problem, _ = mq.build(TABLE, BUDGET)
    for names in itertools.product(FORMATS.split(","), repeat=4):
        policy = mq.Policy.on_table(TABLE, [TABLE.formats[TABLE.column(name)] for name in names])
        if policy.costs["weight_bytes"] <= problem.budget[0]:
            policies[policy] = 0.0
    evaluator = Evaluator(MODEL, BATCHES)
    for policy in policies:
        policies[policy] = evaluator.evaluate(policy).kl
    found = refine(MODEL, TABLE, BUDGET, BATCHES, evaluations=120, rounds=Rounds(patience=40))
    rank = sorted(policies.values()).index(policies[found.policy])
    assert rank < 0.05 * len(policies)


@pytest.mark.slow
def test_search_whose_gains_do_not_hold_begins_again_with_other_batches_held_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Confirmation is made to fail once, then always."""
    asked: list[tuple[int, float]] = []
    confirm = Search.confirm

    def failing(self: Search) -> tuple[int, float, float]:
        place, difference, stderr = confirm(self)
        asked.append((len(self.incumbents), difference))
        return (0, 0.0, 0.0) if len(asked) <= failures else (place, difference, stderr)

    monkeypatch.setattr(Search, "confirm", failing)
    failures = 1
    checkpoint = tmp_path / "measured.json"
    found = refine(MODEL, misled(), BUDGET, BATCHES, evaluations=150, run=RunOptions(checkpoint=checkpoint))
    assert [step.attempt for step in found.steps] == sorted(step.attempt for step in found.steps)
    assert {step.attempt for step in found.steps} == {0, 1}
    assert asked[0][0] > 1
    assert asked[0][1] != asked[1][1]
    assert found.policy != found.start
    changes = asked[1][0] - 1
    assert found.verdict.startswith(f"{changes} changes lower" if changes > 1 else "1 change lowers")
    assert f"in {found.evaluations:.0f} evaluations" in found.verdict
    assert not caplog.records
    asked.clear()
    assert document(
        refine(MODEL, misled(), BUDGET, BATCHES, evaluations=150, run=RunOptions(checkpoint=checkpoint))
    ) == document(found)
    asked.clear()
    failures = 9
    found = refine(MODEL, misled(), BUDGET, BATCHES, evaluations=150, run=RunOptions(checkpoint=checkpoint))
    assert len(asked) == 3
    assert found.policy == found.start
    assert "no improvement held" in caplog.text
    asked.clear()
    assert refine(MODEL, misled(), BUDGET, BATCHES, evaluations=asked_for(found)).policy == found.start
    assert len(asked) == 1


def asked_for(found: Refinement) -> float:
    """Evaluations that are spent by the end of the first attempt, but for a few."""
    return 15 + max(step.evaluations for step in found.steps if step.attempt == 0)


def test_same_arguments_same_search_and_model_as_it_was() -> None:
    model = network().train()
    before = {name: each.clone() for name, each in model.state_dict().items()}
    state = torch.random.get_rng_state()
    one = refine(model, misled(1), BUDGET, BATCHES, evaluations=15)
    assert torch.equal(state, torch.random.get_rng_state())
    assert model.training
    assert all(torch.equal(before[name], each) for name, each in model.state_dict().items())
    assert document(one) == document(refine(MODEL, misled(1), BUDGET, BATCHES, evaluations=15))
    assert document(one) != document(refine(MODEL, misled(1), BUDGET, BATCHES, evaluations=15, run=RunOptions(seed=1)))


class Counting(nn.Module):
    """Counts the forward passes of all copies."""

    passes = 0

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def forward(self, inputs: Tensor) -> Tensor:
        Counting.passes += 1
        made: Tensor = self.inner(inputs)
        return made


def test_checkpoint_takes_an_interrupted_search_to_the_same_end(tmp_path: Path) -> None:
    model = Counting()
    table = dataclasses.replace(
        misled(2), layers=tuple(dataclasses.replace(layer, name=f"inner.{layer.name}") for layer in TABLE.layers)
    )
    whole = refine(model, table, BUDGET, BATCHES, evaluations=20)
    path = tmp_path / "search.json"

    def interrupt(spent: int, limit: int | None) -> None:
        if spent > 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refine(model, table, BUDGET, BATCHES, evaluations=20, run=RunOptions(checkpoint=path, progress=interrupt))
    Counting.passes = 0
    again = refine(model, table, BUDGET, BATCHES, evaluations=20, run=RunOptions(checkpoint=path))
    resumed, Counting.passes = Counting.passes, 0
    assert document(again) == document(whole)
    assert document(refine(model, table, BUDGET, BATCHES, evaluations=20)) == document(whole)
    assert resumed < 0.8 * Counting.passes
    Counting.passes = 0
    refine(model, table, BUDGET, BATCHES, evaluations=20, run=RunOptions(checkpoint=path))
    assert Counting.passes == len(BATCHES)  # the float network
    with pytest.raises(InvalidInput, match="was written with other arguments, another table or other batches"):
        refine(model, table, BUDGET, BATCHES[::-1], evaluations=20, run=RunOptions(checkpoint=path))
    others = mq.allocate(table, BUDGET, pinned={"inner.0": "w4"})
    assert others.problem.budget.tolist() == mq.allocate(table, BUDGET).problem.budget.tolist()
    with pytest.raises(InvalidInput, match="was written with other arguments"):
        refine(model, table, others, BATCHES, evaluations=20, run=RunOptions(checkpoint=path))
    path.write_text(path.read_text().replace('"kl"', '"lk"'))
    with pytest.raises(InvalidInput, match="is not as it was written"):
        refine(model, table, BUDGET, BATCHES, evaluations=20, run=RunOptions(checkpoint=path))


@pytest.mark.slow
def test_interactions_join_the_search() -> None:
    measured = measure_interactions(MODEL, BATCHES, formats=FORMATS)
    found = refine(MODEL, TABLE, BUDGET, BATCHES, evaluations=15, interactions=measured)
    assert found.kl <= found.start_kl
    assert found.policy.costs["weight_bytes"] <= mq.build(TABLE, BUDGET)[0].budget[0]


def test_terms_seen_from_a_selection_are_what_two_moves_add_at_once() -> None:
    rng = np.random.default_rng(0)
    start = [0, 3, 6, 8]
    cost = np.ones((1, 8), dtype=np.int64)
    plain = Problem(np.zeros(8), cost, np.array([9]), np.array(start), np.array([0, 1, 2, 0, 1, 2, 0, 1]))
    first, second = np.triu_indices(8, 1)
    across = plain.group[first] != plain.group[second]
    pairs = Pairs(first[across], second[across], rng.standard_normal(int(across.sum())))
    problem, here = plain.with_pairs(pairs), np.array([1, 4, 6])

    def value(choice: NDArray[np.int64]) -> float:
        return math.fsum(pairs.among(choice))

    moves = between_moves(problem, here)
    assert moves is not None
    assert between_moves(plain, here) is None
    alone = []
    for position in range(8):
        other = here.copy()
        other[problem.group[position]] = position
        alone.append(value(other) - value(here))
    for chosen in itertools.product(range(3), range(3, 6), range(6, 8)):
        choice = np.array(chosen)
        added = math.fsum([*np.array(alone)[choice].tolist(), *moves.among(choice)])
        assert added == pytest.approx(value(choice) - value(here))


def test_network_that_cannot_be_differentiated_is_refined_by_its_table(caplog: pytest.LogCaptureFixture) -> None:
    class Detached(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network()

        def forward(self, inputs: Tensor) -> Tensor:
            made: Tensor = self.inner(inputs).detach()
            return made

    table = misled(0)
    table = dataclasses.replace(
        table, layers=tuple(dataclasses.replace(layer, name=f"inner.{layer.name}") for layer in table.layers)
    )
    found = refine(Detached(), table, BUDGET, BATCHES, evaluations=30)
    assert "the search goes by the table only, because the network cannot be differentiated" in caplog.text
    assert document(found) == document(
        refine(Detached(), table, BUDGET, BATCHES, evaluations=30, rounds=Rounds(expand=False))
    )
    assert found.kl < found.start_kl


@pytest.mark.parametrize("limit", [4, 13, 17])
def test_limit_holds_where_batches_differ_in_size(limit: float) -> None:
    drawn = torch.Generator().manual_seed(9)
    batches = [torch.randn(size, 6, generator=drawn) for size in (100, 2, 2, 2, 2, 2, 2, 2)]
    for seed in range(2):
        assert (
            refine(MODEL, misled(0), BUDGET, batches, evaluations=limit, run=RunOptions(seed=seed)).evaluations <= limit
        )


def test_network_that_formats_store_exactly_has_nothing_to_gain() -> None:
    model = network()
    for name, parameter in model.named_parameters():
        if name.endswith("weight"):
            parameter.data = parameter.data.sign()
    table = mq.measure(model, BATCHES, formats=FORMATS)
    for evaluations in (5, 40):
        found = refine(model, table, BUDGET, BATCHES, evaluations=evaluations)
        assert found.policy == found.start
        assert found.kl == pytest.approx(0, abs=1e-9)


def test_few_samples_that_differ_are_all_there_is_to_go_by() -> None:
    scores = [(np.zeros(30), np.ones(30)), (np.append(np.zeros(29), 2.0), np.ones(30))]
    assert all((each == 1).all() for each in importance_of(scores))


def test_checkpoint_of_another_start_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "search.json"
    greedy = mq.allocate(misled(0), BUDGET, solver="greedy")
    exact = mq.allocate(misled(0), BUDGET)
    assert greedy.policy != exact.policy
    refine(MODEL, misled(0), exact, BATCHES, evaluations=12, run=RunOptions(checkpoint=path))
    with pytest.raises(InvalidInput, match="was written with other arguments"):
        refine(MODEL, misled(0), greedy, BATCHES, evaluations=12, run=RunOptions(checkpoint=path))


def test_checkpoint_that_could_not_be_written_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "search.json"
    write, calls = write_document, [0]

    def failing(*args: object) -> None:
        calls[0] += 1
        if calls[0] == 2:
            raise KeyboardInterrupt
        write(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(measuring, "write_document", failing)
    with pytest.raises(KeyboardInterrupt):
        refine(MODEL, misled(0), BUDGET, BATCHES, evaluations=30, run=RunOptions(checkpoint=path))
    assert calls[0] == 3


def test_formats_that_a_layer_must_not_have_do_not_stop_a_joint_search() -> None:
    table = mq.measure(MODEL, BATCHES, formats="w2a4,w4a4,w2a8,w4a8")
    loss = table.loss.copy()
    loss[1, 1] = loss[2, 0] = np.nan
    table = dataclasses.replace(table, loss=loss, contributions=None, batch_sizes=None)
    found = refine(MODEL, table, {"weight_bytes": "85%", "bops": "70%"}, BATCHES, evaluations=30)
    assert found.kl <= found.start_kl


def test_ties_and_pins_of_an_allocation_are_kept() -> None:
    table = misled(3)
    made = mq.allocate(table, mq.Request({"weight_bytes": "75%"}, pinned={"0": "w4"}, tied=[("2", "4")]))
    found = refine(MODEL, table, made, BATCHES, evaluations=25)
    assert found.start == made.policy
    assert found.policy["0"].name == "w4"
    assert found.policy["2"] == found.policy["4"]
    assert (found.policy.ties, found.policy.pinned) == (made.policy.ties, made.policy.pinned)


def test_search_that_runs_out_of_policies_or_luck_says_so() -> None:
    only = mq.allocate(TABLE, BUDGET, pinned={"0": "w3", "2": "w2", "4": "w2", "6": "w3"})
    found = refine(MODEL, TABLE, only, BATCHES, evaluations=20)
    assert found.stopped == "nothing else within the budgets is left to propose"
    assert found.policy == found.start
    assert "the policy stays as it was" in found.verdict
    assert refine(MODEL, misled(0), BUDGET, BATCHES, evaluations=6).stopped == "the evaluations are spent"
    assert (
        "nothing improved in 2 rounds"
        in refine(MODEL, TABLE, BUDGET, BATCHES, evaluations=99, rounds=Rounds(patience=2)).stopped
    )


def test_corrected_table_predicts_what_was_measured_better() -> None:
    table = misled(0)
    found = refine(MODEL, table, BUDGET, BATCHES, evaluations=60)
    drawn = np.random.default_rng(0).integers(0, 4, (30, 4))
    policies = [mq.Policy.on_table(table, [table.formats[at] for at in columns]) for columns in drawn]
    evaluator = Evaluator(MODEL, BATCHES)
    near = [
        policy
        for policy in policies
        if sum(a != b for a, b in zip(policy.formats, found.policy.formats, strict=True)) < 4
    ]
    kl = np.log([evaluator.evaluate(policy).kl for policy in near])
    errors = [
        np.abs(np.log([max(mq.Policy.on_table(each, policy.formats).predicted, 1e-9) for policy in near]) - kl).mean()
        for each in (table, found.corrected)
    ]
    assert errors[1] < errors[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"evaluations": 0}, "evaluations is 0: it must be a number, at least 1"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments: dict[str, float], words: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(words)):
        refine(MODEL, TABLE, BUDGET, BATCHES, **arguments)  # type: ignore[arg-type]


def test_rounds_in_which_nothing_happens_are_refused() -> None:
    with pytest.raises(InvalidInput, match="candidates is 0: it must be a whole number, at least 1"):
        Rounds(candidates=0)
    with pytest.raises(InvalidInput, match="patience is 0: it must be a whole number, at least 1"):
        Rounds(patience=0)
    with pytest.raises(InvalidInput, match=r"held_back is 1\.0: it must be a number between 0 and 1"):
        Rounds(held_back=1.0)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("budgets", "request=..."),
        ("confirm", "rounds=Rounds(held_back=...)"),
        ("held_back", "rounds=Rounds(held_back=...)"),
        ("candidates", "rounds=Rounds(candidates=...)"),
        ("patience", "rounds=Rounds(patience=...)"),
        ("expand", "rounds=Rounds(expand=...)"),
    ],
)
def test_old_keywords_say_what_to_write(old: str, new: str) -> None:
    with pytest.raises(TypeError, match=re.escape(f"refine() takes no {old}= any more: write {new}")):
        refine(MODEL, TABLE, BUDGET, BATCHES, **{old: 1})  # type: ignore[arg-type]


def test_a_request_and_its_budgets_alone_are_the_same() -> None:
    first, second = (refine(MODEL, TABLE, asked, BATCHES, evaluations=12) for asked in (BUDGET, mq.Request(BUDGET)))
    assert document(first) == document(second)
    pinned = refine(MODEL, TABLE, mq.Request(BUDGET, pinned={"0": "w4"}), BATCHES, evaluations=12)
    assert pinned.start["0"].name == pinned.policy["0"].name == "w4"


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(InvalidInput, match="there is 1 batch: give at least 2"):
        refine(MODEL, TABLE, BUDGET, BATCHES[:1])
    with pytest.raises(InvalidInput, match="predicts 'squared error', the network is measured in 'nats per sample'"):
        refine(MODEL, dataclasses.replace(TABLE, unit="squared error"), BUDGET, BATCHES)
    terms = dataclasses.replace(measure_interactions(MODEL, BATCHES, formats=FORMATS), unit="nats per token")
    with pytest.raises(InvalidInput, match="in 'nats per token' and the table in 'nats per sample'"):
        refine(MODEL, TABLE, BUDGET, BATCHES, interactions=terms)
    with pytest.raises(InvalidInput, match="the allocation was made from another table"):
        refine(MODEL, misled(0), mq.allocate(TABLE, BUDGET), BATCHES)
    made = mq.allocate(TABLE, BUDGET)
    with pytest.raises(InvalidInput, match=r"got a Policy: give a mapping such as .*, or the Allocation itself"):
        refine(MODEL, TABLE, made.policy, BATCHES)  # type: ignore[arg-type]
    limited = mq.allocate(TABLE, mq.Request(BUDGET, constraints=mq.Constraints(max_formats=2)))
    with pytest.raises(InvalidInput, match="has constraints and interactions were given"):
        refine(MODEL, TABLE, limited, BATCHES, interactions=measure_interactions(MODEL, BATCHES, formats=FORMATS))
    with pytest.raises(InvalidInput, match="measured with likelihood='categorical', not 'gaussian': give the same one"):
        refine(MODEL, TABLE, BUDGET, BATCHES, outputs=mq.Outputs(likelihood="gaussian"))


def test_targets_play_no_part_even_where_they_are_none_of_the_model() -> None:
    labelled = [(batch, torch.full((len(batch),), 255)) for batch in BATCHES]
    assert document(refine(MODEL, misled(), BUDGET, labelled, evaluations=20)) == document(
        refine(MODEL, misled(), BUDGET, BATCHES, evaluations=20)
    )


def test_everything_within_the_budgets_may_be_tried() -> None:
    """16 policies, of which single and double exchanges from a few incumbents reach some only."""
    table = mq.measure(MODEL, BATCHES, formats="w4,w6")
    found = refine(MODEL, table, {"weight_bytes": "100%"}, BATCHES, evaluations=1e6, rounds=Rounds(patience=10**6))
    assert found.stopped == "nothing else within the budgets is left to propose"
    assert sum(step.candidates for step in found.steps if step.attempt == 0) == 15


def test_what_was_undone_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several changes the first is kept."""
    confirm = Search.confirm

    def first(self: Search) -> tuple[int, float, float]:
        confirm(self)
        return min(1, len(self.incumbents) - 1), -0.1, 0.1

    monkeypatch.setattr(Search, "confirm", first)
    found = refine(MODEL, misled(5), BUDGET, BATCHES, evaluations=100)
    assert sum(step.accepted for step in found.steps) > 1
    assert [step.kept for step in found.steps if step.accepted][:2] == [True, False]
    assert found.verdict.startswith("1 change lowers the KL from")
    assert math.isnan(found.policy.tolerance)


class Masked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def forward(self, inputs: Tensor, attention_mask: Tensor) -> Tensor:
        made: Tensor = self.inner(inputs) * attention_mask[:, :, None]
        return made


@pytest.mark.slow
def test_batches_of_padding_say_nothing() -> None:
    model = Masked()
    tokens = torch.randn(4, 3, 6, generator=torch.Generator().manual_seed(0))
    real, padding = ({"inputs": tokens, "attention_mask": torch.full((4, 3), kept)} for kept in (1, 0))
    table = mq.measure(model, [real], formats=FORMATS)
    outcomes = set()
    for seed in range(8):
        try:
            found = refine(
                model, table, {"weight_bytes": "80%"}, [real, padding], evaluations=40, run=RunOptions(seed=seed)
            )
        except InvalidInput as error:
            outcomes.add(str(error)[:53])
        else:
            outcomes.add("changed" if found.policy != found.start else "stayed")
            assert math.isnan(found.confirmed) == (found.policy != found.start)
    assert "the batches to search on hold nothing but padding, so" in outcomes
    assert len(outcomes) > 1


def test_start_that_overflows_is_refused() -> None:
    class Overflowing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network()
            self.own = self.inner.get_parameter("0.weight").detach().clone()

        def forward(self, inputs: Tensor) -> Tensor:
            made: Tensor = self.inner(inputs)
            return made if torch.equal(self.inner.get_parameter("0.weight"), self.own) else made * math.nan

    table = dataclasses.replace(
        TABLE, layers=tuple(dataclasses.replace(layer, name=f"inner.{layer.name}") for layer in TABLE.layers)
    )
    with pytest.raises(InvalidInput, match="its network overflows; allow the layers more bits"):
        refine(Overflowing(), table, BUDGET, BATCHES)


def problem_of(seed: int = 0, *, pairs: bool = False) -> Problem:
    rng = np.random.default_rng(seed)
    value = np.exp(rng.normal(size=(5, 3))) * 4.0 ** -np.arange(3)
    problem = Problem.from_table(value, rng.integers(1, 9, (5, 1)) * np.array([2, 3, 4]), 60)
    first, second = np.triu_indices(15, 1)
    across = problem.group[first] != problem.group[second]
    terms = Pairs(first[across], second[across], 0.2 * rng.normal(size=int(across.sum())))
    return problem.with_pairs(terms) if pairs else problem


@pytest.mark.parametrize("pairs", [False, True])
def test_correction_recovers_scales_from_what_it_is_shown(pairs: bool) -> None:
    problem = problem_of(pairs=pairs)
    rng = np.random.default_rng(1)
    true = problem.value * np.repeat(np.exp(rng.normal(0, 0.5, 5)), 3)
    correction = Correction(problem)
    start = correction.posterior()
    np.testing.assert_array_equal(start.value, problem.value)
    for _ in range(40):
        choice = problem.start[:-1] + rng.integers(0, 3, 5)
        terms = 0.8 * math.fsum(problem.pairs.among(choice)) if problem.pairs is not None else 0.0
        correction.observe(choice, float(true[choice].sum()) + terms, 1e-8)
    after = correction.posterior()
    large = true > 0.05 * true.max()
    before_error = np.abs(problem.value / true - 1)[large].mean()
    assert np.abs(after.value / true - 1)[large].mean() < 0.35 * before_error
    if pairs:
        assert after.mean[-1] == pytest.approx(0.8, abs=0.1)
    choice = problem.start[:-1]
    other = choice + 1
    step, deviation = after.change(choice, other)
    assert step == pytest.approx(after.predict(other) - after.predict(choice))
    assert 0 < deviation < start.change(choice, other)[1]


def test_measuring_again_replaces_and_precise_measurements_count_more() -> None:
    problem = problem_of()
    choice = problem.start[:-1]
    for variance, close in ((1e-10, True), (1e6, False)):
        correction = Correction(problem)
        correction.observe(choice, 123.0, 1.0)
        correction.observe(choice, 2 * float(problem.value[choice].sum()), variance)
        assert len(correction.losses) == 1
        ratio = correction.posterior().predict(choice) / float(problem.value[choice].sum())
        assert (ratio > 1.8) == close
        assert 0.9 < ratio < 2.1


def test_proposals_are_new_different_and_within_the_budgets() -> None:
    problem = problem_of()
    incumbent = problem.start[:-1].copy()
    known = {incumbent.tobytes()}
    chosen = propose(Correction(problem).posterior(), incumbent, known, 12, np.random.default_rng(0))
    assert len({each.tobytes() for each in chosen} - known) == 12
    for each in chosen:
        assert (problem.cost[:, each].sum(axis=1) <= problem.budget).all()
        assert (problem.group[each] == np.arange(5)).all()
    best = solve(problem).require().choice
    assert best is not None
    assert chosen[0].tolist() == problem.position(best).tolist()


def scores(level: float, rng: np.random.Generator, shared: list[NDArray[np.float64]], noise: float) -> list[Scores]:
    return [(own + level + noise * rng.normal(size=len(own)), np.ones(len(own))) for own in shared]


def test_race_finds_the_best_and_spends_little_on_losers() -> None:
    rng = np.random.default_rng(0)
    shared = [rng.exponential(size=20) for _ in range(8)]
    incumbent = scores(0.0, rng, shared, 0.05)
    levels = [0.5, -0.2, 0.3, -0.5, 0.0, 0.8]
    made = {level: scores(level, rng, shared, 0.05) for level in levels}
    read: list[float] = []

    def measure(choice: NDArray[np.int64], batch: int) -> Scores:
        level = levels[int(choice[0])]
        read.append(level)
        return made[level][batch]

    entrants = race([np.array([at]) for at in range(6)], incumbent, measure)
    whole = [entrant for entrant in entrants if entrant.batches == 8]
    assert levels[int(min(whole, key=lambda each: each.difference).choice[0])] == -0.5
    assert {read.count(level) for level in (0.5, 0.8, 0.3)} == {1}
    assert entrants[3].difference == pytest.approx(-0.5, abs=0.05)
    assert entrants[3].stderr < 0.01
    assert len(read) < 0.5 * 6 * 8


def test_paired_difference_and_mean_follow_the_samples() -> None:
    rng = np.random.default_rng(1)
    one = [(rng.random(5), np.full(5, 2.0)), (rng.random(3), np.full(3, 2.0))]
    two = [(own + 1, counts) for own, counts in one]
    difference, stderr = paired(two, one)
    assert difference == pytest.approx(0.5)
    assert stderr == pytest.approx(0, abs=1e-12)
    totals = np.concatenate([own for own, _ in one])
    assert mean_kl(one)[0] == pytest.approx(totals.sum() / 16)
    assert paired([(np.array([np.inf]), np.ones(1))], [(np.ones(1), np.ones(1))])[0] == np.inf


def test_samples_that_few_others_are_like_count_less() -> None:
    rng = np.random.default_rng(0)
    scores = [(rng.uniform(1, 2, 50), np.full(50, 4.0)) for _ in range(4)]
    scores[2][0][7] = 500.0
    importance = importance_of(scores)
    kl = np.concatenate([totals / counts for totals, counts in scores])
    flat = np.concatenate(importance)
    limit = np.sort(kl)[int(np.ceil(0.95 * (len(kl) - 1)))]
    assert (flat[kl <= limit] == 1).all()
    assert flat * kl == pytest.approx(np.minimum(kl, limit))
    others = [(totals * 0.9, counts) for totals, counts in scores]
    assert paired(others, scores)[0] == pytest.approx(-0.1 * kl.mean())
    assert paired(others, scores, importance)[0] == pytest.approx(-0.1 * np.minimum(kl, limit).mean())


def test_stages_grow_to_all_batches() -> None:
    assert stages(16) == [2, 4, 8, 16]
    assert stages(1) == [1]
    assert stages(3) == [1, 2, 3]


def test_formats_of_weights_and_activations_are_refined_with_their_ranges() -> None:
    table = mq.measure(MODEL, BATCHES, formats="w2a8,w4a8,w6a8,w8a4")
    scale = np.exp(np.random.default_rng(2).normal(0, 2.0, table.loss.shape))
    table = dataclasses.replace(table, loss=table.loss * scale, contributions=None, batch_sizes=None)
    found = refine(MODEL, table, BUDGET, BATCHES, evaluations=20)
    assert found.kl < found.start_kl
    assert found.policy.ranges is not None
    assert (
        evaluate(mq.apply(MODEL, found.policy), MODEL, BATCHES).kl
        < evaluate(mq.apply(MODEL, found.start), MODEL, BATCHES).kl
    )
