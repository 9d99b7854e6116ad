from __future__ import annotations

import csv
import io
import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings

import mckp_quant as mq
from mckp_quant import Constraints, Conversion, CostTable, InvalidInput, Policy, Request, SensitivityTable
from mckp_quant.solvers import NoSolution
from mckp_quant.tables import schema

from ..drawn_tables import make_table, tables
from ..tables.test_schemas import complaints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TABLE = make_table((np.random.default_rng(3).random((5, 1)) * [[1.0, 0.1, 0.01]]).tolist())


def every(table: SensitivityTable) -> Iterator[Policy]:
    for formats in itertools.product(table.formats, repeat=len(table.layers)):
        if not any(np.isnan(table.loss[row, table.formats.index(entry)]) for row, entry in enumerate(formats)):
            yield Policy.on_table(table, formats)


def exact(
    table: SensitivityTable,
    use: Callable[[Policy], int] = lambda policy: policy.costs["weight_bytes"],
    fits: Callable[[Policy], bool] = lambda policy: True,
) -> list[tuple[int, float]]:
    """Every pair of use and loss that no other one is better than, straight from the table."""
    best: dict[int, float] = {}
    for policy in every(table):
        if fits(policy):
            best[use(policy)] = min(best.get(use(policy), math.inf), policy.predicted)
    found: list[tuple[int, float]] = []
    for used, loss in sorted(best.items()):
        if not found or loss < found[-1][1]:
            found.append((used, loss))
    return found


def check(front: mq.Front, wanted: list[tuple[int, float]]) -> None:
    assert [each.used for each in front.points] == [used for used, _ in wanted]
    assert [each.predicted for each in front.points] == pytest.approx([loss for _, loss in wanted], rel=1e-12)
    assert (front.error, front.complete) == (0.0, True)


@settings(max_examples=25, deadline=None)
@given(tables(most_layers=4))
def test_a_short_front_is_all_of_it(table: SensitivityTable) -> None:
    wanted = exact(table)
    scale = math.fsum(abs(loss) for loss in table.loss.ravel() if not math.isnan(loss))
    found = mq.front(table)
    assert found.complete
    # Sums that differ by their rounding alone are no different losses.
    uses = [each.used for each in found.points]
    assert uses[0] == wanted[0][0]
    assert set(uses) <= {used for used, _ in wanted}
    for used, loss in wanted:
        best = min(each.predicted for each in found.points if each.used <= used)
        assert abs(best - loss) <= 1e-12 * scale


REQUESTS: dict[str, tuple[Request, Callable[[Policy], bool]]] = {
    "pins": (Request({"weight_bytes": "50%"}, pinned={"b": "w4"}), lambda policy: policy["b"].name == "w4"),
    "ties": (Request({"weight_bytes": "50%"}, tied=[["a", "d"]]), lambda policy: policy["a"] == policy["d"]),
    "choices": (
        Request({"weight_bytes": "50%"}, choices={"last": ["w4", "w8"]}),
        lambda policy: policy["e"].name in ("w4", "w8"),
    ),
    "another budget": (Request({"bops": "50%"}), lambda policy: policy.costs["bops"] <= 1_500 * 10 * 8 * 32 // 2),
    "a minimum": (
        Request({"weight_bytes": "90%"}, at_least={"bops": "40%"}),
        lambda policy: policy.costs["bops"] >= 1_500 * 10 * 8 * 32 * 0.4,
    ),
    "few formats": (
        Request({"weight_bytes": "50%"}, constraints=Constraints(max_formats=2)),
        lambda policy: len({entry.name for entry in policy.formats}) <= 2,
    ),
    "a chain": (
        Request({"weight_bytes": "50%"}, constraints=Constraints(falling=[["a", "b", "c"]])),
        lambda policy: policy["a"].weight_bits >= policy["b"].weight_bits >= policy["c"].weight_bits,
    ),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_whatever_a_request_asks_holds_along_the_front(name: str) -> None:
    request, fits = REQUESTS[name]
    found = mq.front(TABLE, request)
    check(found, exact(TABLE, fits=fits))
    assert all(fits(each.policy) for each in found.points)
    assert found.chosen is not None
    assert found.chosen.policy == mq.allocate(TABLE, request).policy


def test_conversions_count_along_the_budget_that_they_count_in() -> None:
    edges = [("a", "b"), ("b", "c"), ("c", "d")]
    conversion = Conversion("weight_bytes", edges, 40)
    request = Request({"weight_bytes": "60%"}, constraints=Constraints(conversions=[conversion]))

    def use(policy: Policy) -> int:
        return policy.costs["weight_bytes"] + conversion.total(dict(zip("abcde", policy.formats, strict=True)))

    found = mq.front(TABLE, request)
    wanted = exact(TABLE, use)
    # Here the cheap end is found by halving, to a thousandth.
    assert wanted[0][0] <= found.points[0].used <= 1.001 * wanted[0][0] + 1
    later = [pair for pair in wanted if pair[0] > found.points[0].used]
    assert [each.used for each in found.points[1:]] == [used for used, _ in later]
    assert [each.predicted for each in found.points[1:]] == pytest.approx([loss for _, loss in later])
    assert [each.policy.costs["weight_bytes"] for each in found.points] == [each.used for each in found.points]


def test_conversions_in_another_budget_hold() -> None:
    conversion = Conversion("bops", [("a", "b"), ("b", "c")], {("w8", "w2"): 90_000})
    request = Request({"bops": "60%"}, constraints=Constraints(conversions=[conversion]))
    limit = 1_500 * 10 * 8 * 32 * 6 // 10

    def fits(policy: Policy) -> bool:
        return policy.costs["bops"] + conversion.total(dict(zip("abcde", policy.formats, strict=True))) <= limit

    check(mq.front(TABLE, request), exact(TABLE, fits=fits))


@pytest.mark.parametrize("along", ["bits_per_weight", "bops", "bops_uniq", "latency"])
def test_a_front_is_along_any_budget_that_adds_up(along: str) -> None:
    cost = np.random.default_rng(1).integers(1, 50, (5, 3)).tolist()
    latency = CostTable("latency", "us", tuple("abcde"), ("w2", "w4", "w8"), cost)
    request = Request({along: "50%"}, costs=[latency] if along == "latency" else [])
    found = mq.front(TABLE, request, along=along)

    def use(policy: Policy) -> int:
        if along == "latency":
            return sum(cost[row][TABLE.column(entry.name)] for row, entry in enumerate(policy.formats))
        if along == "bops_uniq":
            return sum(mq.costs.VARIANTS[along].cost(*pair) for pair in zip(TABLE.layers, policy.formats, strict=True))
        return policy.costs[found.counts]

    check(found, exact(TABLE, use))
    assert found.limit is not None
    assert found.chosen is not None
    assert found.chosen.used == max(each.used for each in found.points if each.used <= found.limit)
    assert found.amount(found.limit).endswith(
        {"bits_per_weight": "bits per weight", "latency": "us"}.get(along, "sample")
    )


def test_a_long_front_is_thinned_to_points_that_are_still_the_best() -> None:
    table = make_table((np.random.default_rng(0).random((12, 1)) * [[1.0, 0.1, 0.01]]).tolist())
    whole = mq.front(table)
    assert len(whole) > 40
    thin = mq.front(table, max_points=12)
    assert (len(thin), thin.complete, thin.error) == (12, False, 0.0)
    known = {each.used: each.predicted for each in whole.points} if whole.complete else {}
    for each in thin.points:
        limit = {"weight_bytes": each.used}
        assert each.predicted == pytest.approx(mq.allocate(table, limit).policy.predicted, rel=1e-12)
        assert not known or known[each.used] == pytest.approx(each.predicted, rel=1e-12)
    uses = np.log([each.used for each in thin.points])
    losses = np.log([each.predicted for each in thin.points])
    # Twelve points leave no stretch a third of the front long, neither in size nor in loss.
    assert np.diff(uses).max() < (uses[-1] - uses[0]) / 3
    assert -np.diff(losses).min() < (losses[0] - losses[-1]) / 3


def test_the_ends_are_the_least_use_and_the_least_loss() -> None:
    found = mq.front(TABLE, max_points=2)
    assert found.points[0].policy == Policy.uniform(TABLE, "w2")
    assert found.points[1].policy == Policy.uniform(TABLE, "w8")


def test_a_point_is_the_policy_that_allocate_finds_there() -> None:
    for each in mq.front(TABLE).points:
        wanted = mq.allocate(TABLE, {"weight_bytes": each.used}).policy
        assert each.policy == wanted
        assert each.policy.costs == wanted.costs
        assert each.policy.predicted == each.predicted
        assert each.policy is each.policy  # made once


def test_errors_are_those_of_the_tables_batches() -> None:
    rng = np.random.default_rng(0)
    contributions = TABLE.loss + rng.normal(size=(4, 5, 3)) * 0.01
    table = SensitivityTable(
        TABLE.layers, TABLE.formats, contributions.mean(axis=0), TABLE.stderr, contributions=contributions,
        batch_sizes=np.full(4, 8.0),
    )  # fmt: skip
    for each in mq.front(table).points:
        assert each.stderr == pytest.approx(Policy.on_table(table, each.formats).predicted_stderr)
        assert each.stderr > 0


def test_uniform_policies_keep_what_is_pinned_and_forbidden_ones_are_left_out() -> None:
    request = Request({"weight_bytes": "60%"}, pinned={"e": "w8"}, choices={"b": ["w4", "w8"]})
    found = mq.front(TABLE, request)
    assert [each.name for each in found.uniforms] == ["uniform w4", "uniform w8"]
    four = found.uniforms[0].policy
    assert [entry.name for entry in four.formats] == ["w4"] * 4 + ["w8"]
    assert four.costs["weight_bytes"] == found.uniforms[0].used
    assert math.isnan(found.uniforms[0].gap)
    # One that breaks another budget would lie below the front.
    assert [each.name for each in mq.front(TABLE, {"bops": "50%"}).uniforms] == ["uniform w2", "uniform w4"]


def test_without_a_limit_nothing_is_chosen() -> None:
    for request in (None, {}, {"weight_bytes": "100%"}):
        found = mq.front(TABLE, request, pinned={"a": "w4"})
        assert (found.chosen, found.limit) == (None, None)
        assert all(each.policy["a"].name == "w4" for each in found.points)


def test_when_the_time_is_up_the_points_so_far_are_given() -> None:
    found = mq.front(TABLE, seconds=1e-9)
    assert not found.complete
    assert 1 <= len(found) <= 2
    uses = dict(exact(TABLE))
    for each in found.points:
        assert each.predicted - each.gap <= uses[each.used] <= each.predicted + 1e-12


def test_documents_say_all_and_follow_the_schema(tmp_path: Path) -> None:
    found = mq.front(TABLE, Request({"weight_bytes": "60%"}, pinned={"a": "w4"}))
    found.save(tmp_path / "front.json")
    document = mq.common.documents.read_json(tmp_path / "front.json", "front")
    assert complaints(schema("front"), document) == []
    assert set(document) <= set(schema("front")["properties"])
    assert [each["used"] for each in document["points"]] == [each.used for each in found.points]
    assert document["chosen"]["formats"] == [entry.name for entry in found.chosen.policy.formats]  # type: ignore[union-attr]
    assert Request.from_document(document["request"]) == found.request
    unlimited = {"schema": "mckp-quant/front/1", **mq.front(TABLE).document()}
    assert complaints(schema("front"), unlimited) == []
    wrong: dict[str, Any] = {**document, "points": [{**document["points"][0], "used": 0.5}]}
    assert complaints(schema("front"), wrong)


def test_csv_has_a_row_for_each_policy_with_all_formats(tmp_path: Path) -> None:
    found = mq.front(TABLE, {"weight_bytes": "60%"})
    found.write_csv(tmp_path / "front.csv")
    text = (tmp_path / "front.csv").read_text()
    assert text == found.as_csv()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == len(found) + len(found.uniforms) + 1
    assert [row["name"] for row in rows[-4:]] == ["uniform w2", "uniform w4", "uniform w8", "chosen"]
    for row, each in zip(rows, found.points, strict=False):
        assert (int(row["weight_bytes"]), float(row["predicted"])) == (each.used, each.predicted)
        assert row["stderr"] == ""
        assert [row[layer] for layer in "abcde"] == [entry.name for entry in each.formats]


def test_amounts_are_read_as_people_write_them() -> None:
    found = mq.front(TABLE)
    assert found.counted("1kB") == 1000
    assert found.counted("100%") == found.points[-1].used
    assert mq.front(TABLE, along="bits_per_weight").counted(4.5) == 6750


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"along": "total_bytes"}, "along = 'total_bytes' is a peak: give a budget that adds up"),
        ({"along": "weight_byte"}, "unknown budget 'weight_byte': did you mean 'weight_bytes'"),
        ({"max_points": 1}, "max_points is 1: it must be a whole number from 2 to 200"),
        ({"max_points": 201}, "max_points is 201"),
        ({"seconds": 0}, "seconds is 0: give a number of seconds above 0"),
        ({"pinned": {"z": "w4"}}, "unknown layer 'z'"),
    ],
)
def test_what_cannot_be_used_is_named(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        mq.front(TABLE, **arguments)


def test_a_table_is_needed() -> None:
    with pytest.raises(InvalidInput, match="table is a str: give a SensitivityTable"):
        mq.front("table.json")  # type: ignore[arg-type]


def test_where_nothing_fits_it_says_what_would() -> None:
    with pytest.raises(NoSolution, match="budget bops = 5 cannot be met: even the cheapest formats take"):
        mq.front(TABLE, {"bops": 5})
    request = Request({"weight_bytes": "50%"}, at_least={"bits_per_weight": 7.9})
    with pytest.raises(NoSolution, match="no policy is within all the budgets together"):
        mq.front(TABLE, request)
    both = Request({"bops": "30%"}, at_least={"bits_per_weight": 7.9})
    with pytest.raises(NoSolution, match="no policy is within all the budgets together"):
        mq.front(TABLE, both)
