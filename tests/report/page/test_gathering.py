"""What a report is made from: shares, prices and fronts by other ways, and what does not belong together refused."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

import mckp_quant as mq
from mckp_quant.report.page import report_data
from mckp_quant.report.page.worth import allocation_of, weight_front

from .reports import allocation_on, finished_of, full_report, stability_of, table_of, validation_of


def test_shares_of_bytes_and_losses_add_up_to_one() -> None:
    data = full_report()
    assert math.fsum(each.bytes_share for each in data.layers) == pytest.approx(1)
    assert math.fsum(each.loss_share for each in data.layers) == pytest.approx(1)
    assert math.fsum(each.predicted for each in data.layers) == pytest.approx(data.facts.predicted)
    assert sum(each.stored_bytes or 0 for each in data.layers) == data.facts.weight_bytes


def test_layers_stand_in_the_order_of_the_network_whatever_the_policys() -> None:
    table = table_of()
    policy = allocation_on(table).policy
    turned = mq.Policy(policy.layer_names[::-1], policy.formats[::-1])
    data = report_data(table, turned)
    assert [each.name for each in data.layers] == list(table.layer_names)
    assert [each.format for each in data.layers] == [policy[name].name for name in table.layer_names]


def test_a_layer_that_stays_in_floating_point_loses_nothing() -> None:
    table = table_of(2)
    formats = (mq.Format.named("w2"), mq.Format.named("float"))
    data = report_data(table, mq.Policy(table.layer_names, formats))
    assert [each.predicted for each in data.layers] == [table.loss[0, 0], 0.0]


def test_policies_of_other_tables_are_predicted_by_this_one_and_lose_their_proof() -> None:
    table = table_of()
    other = dataclasses.replace(table, loss=2 * table.loss)
    data = report_data(table, allocation_on(other))
    assert data.facts.ground == "none"
    assert data.facts.predicted == pytest.approx(math.fsum(each.predicted for each in data.layers))
    assert math.isnan(data.budgets[0].price)


def test_budgets_say_what_is_left_and_what_a_byte_is_worth() -> None:
    table = table_of(3)
    allocation = allocation_on(table)
    (line,) = report_data(table, allocation).budgets
    used, limit = allocation.policy.costs["weight_bytes"], allocation.policy.budgets[0].limit
    assert (line.used, line.left) == (f"{used:,} bytes", f"{limit - used:,} bytes")
    assert line.price > 0
    wanted = int(line.next_limit.split()[0].replace(",", ""))
    better = mq.allocate(table, {"weight_bytes": wanted}).policy
    assert allocation.policy.predicted - better.predicted == pytest.approx(line.saving)
    assert mq.allocate(table, {"weight_bytes": wanted - 1}).policy == allocation.policy


def test_an_allocation_is_found_again_from_its_policy_alone(tmp_path: Any) -> None:
    table = table_of()
    allocation = mq.allocate(table, {"weight_bytes": "50%"}, pinned={"blocks.1.conv": "w8"})
    allocation.policy.save(tmp_path / "policy.json")
    policy = mq.Policy.load(tmp_path / "policy.json")
    again = allocation_of(table, policy)
    assert again is not None
    assert again.policy == allocation.policy
    assert report_data(table, again).budgets == report_data(table, allocation).budgets
    assert allocation_of(table, mq.Policy.uniform(table, "w4")) is None


def test_front_is_that_of_single_solves_with_the_policys_pins() -> None:
    table = table_of()
    policy = mq.allocate(table, {"weight_bytes": "50%"}, pinned={"blocks.1.conv": "w8"}).policy
    points = weight_front(table, policy)
    assert points == sorted(points)
    for size, loss in points:
        found = mq.allocate(table, {"weight_bytes": size}, pinned={"blocks.1.conv": "w8"}).policy
        assert found.costs["weight_bytes"] == size
        assert found.predicted == pytest.approx(loss)


def test_objects_and_their_documents_give_the_same() -> None:
    table = table_of()
    allocation = allocation_on(table)
    found = mq.check_stability(table, allocation, draws=20)
    one = report_data(table, allocation, stability=found)
    other = report_data(table, allocation, stability=found.document())
    assert one.document() == other.document()
    assert [each.kept for each in one.layers] == found.kept.tolist()
    assert [list(each.shares) for each in one.layers] == found.shares.tolist()


def test_the_rival_is_the_best_uniform_network_of_the_same_bytes() -> None:
    table = table_of()
    found = allocation_on(table)
    document = validation_of(found)
    smaller, wider = dict(document["rows"][1]), dict(document["rows"][1])
    smaller |= {"name": "uniform w2", "kl": 0.2, "weight_bytes": 1}
    wider |= {"name": "uniform w8", "kl": 1e-9, "weight_bytes": 10 * found.policy.costs["weight_bytes"]}
    document["rows"][1:1] = [smaller, wider]
    data = report_data(table, found, validation=document)
    assert data.rival is not None
    assert data.rival.name == "uniform w3, same rounder"
    assert data.floating is not None
    assert data.own is not None
    assert data.own.name == "policy"


def test_a_uniform_rival_from_another_validation_stands_before_the_policy() -> None:
    table = table_of()
    found = allocation_on(table)
    rival = validation_of(found)
    rival["rows"][-1] |= {"name": "policy, finished", "kl": 0.001}
    data = report_data(table, found, validation=validation_of(found), uniform=rival)
    assert [each.name for each in data.networks][-2:] == ["uniform, finished", "policy"]
    assert data.rival is not None
    assert data.rival.kl == 0.001


def test_a_mixed_network_that_uniform_bits_were_preferred_to_keeps_its_name() -> None:
    table = table_of()
    found = allocation_on(table)
    rival = validation_of(found)
    rival["rows"][-1] |= {"name": "mixed, finished", "kl": 0.003}
    data = report_data(table, found, validation=validation_of(found), uniform=rival)
    assert [each.name for each in data.networks][-2:] == ["mixed, finished", "policy"]
    assert data.rival is not None
    assert data.rival.name != "mixed, finished"


def test_what_is_missing_names_commands_that_exist() -> None:
    from mckp_quant.cli.entry import application

    names = {each.callback.__name__ for each in application.registered_commands if each.callback is not None}
    table = table_of()
    missing = report_data(table, allocation_on(table)).missing
    assert len(missing) == 5
    for each in missing:
        words = each.command.split()
        assert each.command.startswith("mq.validate(") or words[words.index("mckp-quant") + 1] in names
    assert full_report().missing == ()


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("validation", {"rows": []}, "the validation has no rows: it must have that of the policy at least"),
        ("validation", {"rows": 3}, "the validation has rows = 3: it must be a list"),
        ("validation", {"samples": 1.5}, "the validation has samples = 1.5: it must be a whole number"),
        ("stability", {"draws": "many"}, "the stability has draws = 'many': it must be a whole number"),
        ("finished", {"decided": {"codes": "x"}}, "the finished network lacks the field 'held_back'"),
    ],
)
def test_damaged_documents_are_refused(name: str, change: dict[str, Any], words: str) -> None:
    table = table_of()
    found = allocation_on(table)
    made = {"validation": validation_of(found), "stability": stability_of(found, table), "finished": finished_of(found)}
    given: dict[str, Any] = {name: made[name] | change}
    with pytest.raises(mq.InvalidInput, match=words.replace("(", r"\(")):
        report_data(table, found, **given)


def test_documents_of_other_policies_are_refused() -> None:
    table = table_of()
    found, other = allocation_on(table), mq.allocate(table, {"weight_bytes": "90%"})
    with pytest.raises(mq.InvalidInput, match="the validation is of another policy: its weights take"):
        report_data(table, found, validation=validation_of(other))
    with pytest.raises(
        mq.InvalidInput, match=r"the stability is of another policy: layer 'blocks\.\d\.conv' has 'w\d'"
    ):
        report_data(table, found, stability=stability_of(other, table))
    with pytest.raises(mq.InvalidInput, match="the finished network is of another policy"):
        report_data(table, found, finished=finished_of(other))


def test_numbers_that_are_none_are_refused() -> None:
    table = table_of()
    found = allocation_on(table)
    document = validation_of(found)
    document["rows"][-1]["kl"] = "small"
    with pytest.raises(mq.InvalidInput, match="the validation has kl = 'small': it must be a number"):
        report_data(table, found, validation=document)


def test_fronts_come_as_pairs_or_as_a_document() -> None:
    table = table_of()
    found = allocation_on(table)
    points = [{"used": 90, "predicted": 0.01}, {"used": 60, "predicted": 0.05}]
    document = {"along": "weight_bytes", "counts": "weight_bytes", "points": points}
    one = report_data(table, found, front=document).front
    assert one == report_data(table, found, front=[(60, 0.05), (90, 0.01)]).front
    with pytest.raises(mq.InvalidInput, match="the front is along 'bops': the report shows one along 'weight_bytes'"):
        report_data(table, found, front=document | {"along": "bops", "counts": "bops"})
    with pytest.raises(mq.InvalidInput, match="the front has no points: give pairs of bytes and predicted loss"):
        report_data(table, found, front=[])
