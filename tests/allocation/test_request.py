"""A request: what it refuses, its files, and the short form of it."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mckp_quant import (
    Activation,
    Constraints,
    Conversion,
    CostTable,
    Format,
    InvalidInput,
    Policy,
    Request,
    SensitivityTable,
    allocate,
    allocate_each,
    build,
    check_stability,
    compare_solvers,
)
from mckp_quant.allocation.request import as_request
from mckp_quant.solvers import NoSolution

from ..drawn_tables import OWN, make_table, tables

if TYPE_CHECKING:
    from pathlib import Path

    from mckp_quant.common.amounts import Amount

TABLE = make_table((np.random.default_rng(0).random((4, 1)) * [[1.0, 0.1, 0.01]]).tolist())


@st.composite
def requests(draw: st.DrawFn, table: SensitivityTable) -> Request:
    """A request of everything that there is, about a table."""
    names, formats = list(table.layer_names), list(table.format_names)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    order = [names[at] for at in rng.permutation(len(names))]
    amounts: list[Amount] = [100, 99.5, "98%", Fraction(10**6, 7), Decimal("2.5"), "90kB", 10**7]
    previous = Policy.on_table(
        table, [table.formats[int(np.flatnonzero(~np.isnan(row))[0])] for row in np.asarray(table.loss)]
    )
    cost = rng.integers(-1, 9, table.loss.shape)
    several = [order[:2]] if len(order) > 1 else []
    return Request(
        {"bops": amounts[rng.integers(len(amounts))], "latency": "150%"},
        at_least={"bops": 0},
        pinned={order[-1]: previous[order[-1]]} if rng.random() < 0.5 else None,
        tied=several if rng.random() < 0.5 else (),
        tie_rules=["qkv", "shared_inputs"] if rng.random() < 0.5 else (),
        costs=[CostTable("latency", "ns", tuple(names), tuple(formats), cost)],
        choices={"*": formats, "first": formats} if rng.random() < 0.5 else None,
        target=None,
        constraints=Constraints(
            max_formats=len(formats) if rng.random() < 0.5 else None,
            previous=previous,
            max_changes=len(names),
            falling=several,
            rising=several,
            conversions=[
                Conversion("bops", [(before, after) for before, after in several], {(formats[0], formats[-1]): 3}),
                Conversion("latency", [(before, after) for before, after in several], 2),
            ],
        ),
        activations=[Activation(int(rng.integers(1, 9)), 0, 1, tuple(order[:1]))],
    )


def outcome(table: SensitivityTable, request: Request) -> Any:
    """What the problem of a request holds, or why there is none."""
    try:
        problem, index = build(table, request)
    except (InvalidInput, NoSolution) as error:
        return str(error)
    rows = None if problem.rows is None else [getattr(problem.rows, name).tolist() for name in ("indptr", "indices")]
    return (problem.value.tolist(), problem.cost.tolist(), problem.budget.tolist(), rows, index.tied, index.pinned)


@settings(max_examples=40, deadline=None)
@given(st.data(), tables(most_layers=4))
def test_a_request_survives_its_file_and_asks_for_the_same(data: st.DataObject, table: SensitivityTable) -> None:
    request = data.draw(requests(table))
    document = request.document()
    again = Request.from_document(json.loads(json.dumps(document)))
    assert again.document() == document
    assert outcome(table, again) == outcome(table, request)
    assert again.budgets == dict(request.budgets) or isinstance(request.budgets["bops"], Decimal)


def test_a_saved_request_is_read_as_it_was(tmp_path: Path) -> None:
    request = Request(
        {"weight_bytes": "100%"},
        pinned={"a": "w8"},
        tied=[["b", "c"]],
        choices={"last": ["w4", "w8"]},
        target="torchao",
        constraints=Constraints(max_formats=2, falling=[["a", "d"]]),
        activations=[Activation(5, 0, 1, ("a",))],
    )
    request.save(tmp_path / "request.json")
    written = json.loads((tmp_path / "request.json").read_text())
    assert written["schema"] == "mckp-quant/request/1"
    assert "costs" not in written, "what is not asked for is not written"
    again = Request.load(tmp_path / "request.json")
    assert again.document() == request.document()
    assert allocate(TABLE, again).policy.document() == allocate(TABLE, request).policy.document()


TOML = """
tied = [["b", "c"]]
tie_rules = ["shared_inputs"]
costs = ["latency.csv", {file = "power.json", name = "energy", unit = "nJ"}]
activations = "tensors.json"

[budgets]
weight_bytes = "80%"
latency = 12
activation_bytes = "1kB"
energy = "1/2"

[at_least]
bops = "1%"

[pinned]
a = "w8"

[choices]
last = ["w4", "w8"]

[constraints]
max_formats = 3
previous = "policy.json"
max_changes = 4
falling = [["a", "b"]]
rising = [["c", "d"]]
conversions = [
    {resource = "latency", edges = [["a", "b"]], cost = 1},
    {resource = "latency", edges = [["b", "c"]], cost = [{before = "w2", after = "w4", cost = 2}]},
]
"""


def test_a_file_in_toml_names_other_files_from_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "asked"
    folder.mkdir()
    (folder / "request.toml").write_text(TOML)
    (folder / "latency.csv").write_text("layer,w2,w4,w8\n" + "".join(f"{name},1,2,3\n" for name in "abcd"))
    costs = {"layers": ["a"], "formats": ["w8"], "cost": [[0]]}
    (folder / "power.json").write_text(json.dumps(costs))
    (folder / "tensors.json").write_text(json.dumps([{"elements": 5, "first": 0, "last": 1, "readers": ["a"]}]))
    Policy.uniform(TABLE, "w4").save(folder / "policy.json")
    monkeypatch.chdir(tmp_path)
    request = Request.from_toml("asked/request.toml")
    assert request.budgets == {
        "weight_bytes": "80%",
        "latency": 12,
        "activation_bytes": "1kB",
        "energy": Fraction(1, 2),
    }
    assert [(each.name, each.unit) for each in request.costs] == [("latency", "ns"), ("energy", "nJ")]
    assert request.costs[0].cost.tolist() == [[1, 2, 3]] * 4
    assert request.tied == (("b", "c"),)
    assert request.constraints == Constraints(
        max_formats=3,
        previous=Policy.uniform(TABLE, "w4"),
        max_changes=4,
        falling=(("a", "b"),),
        rising=(("c", "d"),),
        conversions=(
            Conversion("latency", [("a", "b")], 1),
            Conversion("latency", [("b", "c")], {("w2", "w4"): 2}),
        ),
    )
    assert request.activations == (Activation(5, 0, 1, ("a",)),)
    assert Request.from_document(request.document()).document() == request.document()
    (folder / "with_schema.toml").write_text('schema = "mckp-quant/request/1"\n[budgets]\nbops = 5\n')
    assert Request.from_toml(folder / "with_schema.toml") == Request({"bops": 5})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[budgets", "'request.toml' is no TOML"),
        ("[budget]\nbops = 1", "unknown entry of the request 'request.toml': 'budget': did you mean 'budgets'"),
        ("target = 'torchao'", "no budget given: name at least one"),
        ("budgets = 3", "has budgets = 3: it must be a table of names and values"),
        ("[budgets]\nbops = 1\n[pinned]\na = 8", "has pinned.a = 8: it must be text"),
        ("tied = 'ab'\n[budgets]\nbops = 1", "has tied = 'ab': it must be a list"),
        ("tied = ['ab']\n[budgets]\nbops = 1", "has tied = 'ab': it must be a list"),
        (
            "[budgets]\nbops = 1\n[constraints]\nmax_format = 2",
            r"unknown constraint .*'max_format': did you mean 'max_fo",
        ),
        ("[budgets]\nbops = 1\n[constraints]\nmax_formats = 0", "max_formats is 0: it must be a whole number"),
        ("[budgets]\nbops = 1\n[constraints]\nmax_changes = 2", "previous and max_changes belong together"),
        (
            "[budgets]\nbops = 1\n[[constraints.conversions]]\nresource = 'bops'\nedge = []",
            r"unknown entry of conversions .*'edge': did you mean 'edges'",
        ),
        ("costs = [{fil = 'x.csv'}]\n[budgets]\nbops = 1", r"unknown entry of costs .*'fil'"),
        ("costs = [{file = 'x.csv', names = 'x'}]\n[budgets]\nbops = 1", "'names': did you mean 'name'"),
        ("costs = [{name = 'x'}]\n[budgets]\nbops = 1", r"cannot be read \(KeyError: 'layers'\)"),
        ("costs = ['x.csv']\n[budgets]\nbops = 1", "x.csv"),
        ("activations = [{elements = 5}]\n[budgets]\nbops = 1", "must hold elements, first, last"),
        ("schema = 'mckp-quant/request/2'\n[budgets]\nbops = 1", "which is newer than this version"),
    ],
)
def test_what_a_file_says_wrong_is_refused_with_the_nearest_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "request.toml").write_text(text)
    with pytest.raises(InvalidInput, match=words):
        Request.from_toml("request.toml")


def test_files_that_are_missing_or_foreign_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"cannot read the request '.*nothing\.toml'"):
        Request.from_toml(tmp_path / "nothing.toml")
    with pytest.raises(InvalidInput, match=r"cannot read the request '.*nothing\.json'"):
        Request.load(tmp_path / "nothing.json")
    Policy.uniform(TABLE, "w4").save(tmp_path / "policy.json")
    with pytest.raises(InvalidInput, match="expected a request"):
        Request.load(tmp_path / "policy.json")


def test_a_pin_to_a_format_of_the_users_own_is_written_by_its_name() -> None:
    table = make_table([[3.0]], "w2")
    own = SensitivityTable(table.layers, (*table.formats, OWN), np.array([[1.0, 3.0]]), np.ones((1, 2)))
    request = Request({"weight_bytes": "100%"}, pinned={"a": OWN})
    assert request.document()["pinned"] == {"a": "own"}
    again = Request.from_document(request.document())
    assert allocate(own, again).policy == allocate(own, request).policy
    previous = Policy(("a",), (OWN,))  # its stored bits are not known
    unwritten = Request({"bops": 5}, constraints=Constraints(previous=previous, max_changes=1))
    with pytest.raises(InvalidInput, match="format 'own' is a user's own and the policy does not know its stored bits"):
        unwritten.document()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"tied": "ab"}, "tied = 'ab': give a list"),
        ({"tie_rules": "vllm"}, "tie_rules = 'vllm': give a list"),
        ({"costs": {"latency": 1}}, r"costs = \{'latency': 1\}: give a list"),
        (
            {"constraints": {"max_formats": 2}},
            r"constraints is a dict: give Constraints, such as Constraints\(max_form",
        ),
        ({"pinned": ["a"]}, r"pinned = \['a'\]: give a mapping, such as \{'head': 'w8'\}"),
    ],
)
def test_fields_of_another_type_are_refused(fields: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        Request({"bops": 1}, **fields)


@pytest.mark.parametrize("amount", [float("nan"), float("inf")])
def test_an_amount_that_is_not_finite_cannot_be_written(amount: float) -> None:
    with pytest.raises(InvalidInput, match=r"bops = (nan|inf) is not finite"):
        Request({"bops": amount}).document()


def test_a_request_does_not_change_with_what_it_was_made_of() -> None:
    budgets, tied = {"bops": 1}, [["a", "b"]]
    request = Request(budgets, tied=tied)
    budgets["bops"] = 2
    tied.append(["c", "d"])
    assert request == Request({"bops": 1}, tied=[["a", "b"]])


def test_tie_rules_are_read_in_the_table() -> None:
    table = SensitivityTable(
        TABLE.layers, TABLE.formats, TABLE.loss, TABLE.stderr, activations=(Activation(5, 0, 0, ("b", "d")),)
    )
    request = Request({"bops": "90%"}, tied=[["a", "c"]], tie_rules=["shared_inputs"])
    assert build(table, request)[1].tied == (("a", "c"), ("b", "d"))
    assert request.ties(table) == (["a", "c"], ("b", "d"))
    own = Request({"bops": "90%"}, tie_rules=["shared_inputs"], activations=[Activation(5, 0, 0, ("a", "b"))])
    assert build(table, own)[1].tied == (("a", "b"),), "the tensors of the request come before those of the table"
    with pytest.raises(InvalidInput, match="the tie rule 'nope' is neither one of"):
        build(table, Request({"bops": 1}, tie_rules=["nope"]))


def test_a_mapping_with_target_and_pins_is_the_short_form() -> None:
    short = as_request({"bops": 1}, target="torchao", pinned={"a": "w8"})
    assert short == Request({"bops": 1}, target="torchao", pinned={"a": "w8"})
    assert as_request(short) is short
    with pytest.raises(
        InvalidInput, match=re.escape("target= stands beside a Request: write Request(budgets, target=")
    ):
        as_request(short, target="vllm")
    with pytest.raises(InvalidInput, match="request is a list: give budgets such as"):
        as_request([("bops", 1)])  # type: ignore[arg-type]
    whole = Request({"weight_bytes": "60%"}, pinned={"a": Format.named("w8")})
    assert allocate(TABLE, whole).policy == allocate(TABLE, {"weight_bytes": "60%"}, pinned={"a": "w8"}).policy


@pytest.mark.parametrize("function", [allocate, build, compare_solvers, allocate_each])
@pytest.mark.parametrize(
    "old", ["tied", "at_least", "costs", "choices", "constraints", "structure", "activations", "budgets"]
)
def test_an_argument_that_is_a_field_now_says_so(function: Any, old: str) -> None:
    field = "constraints" if old == "structure" else old
    words = "write request=" if old == "budgets" else rf"write Request\(budgets, {field}=\.\.\.\) in the place of"
    with pytest.raises(TypeError, match=rf"^{function.__name__}\(\) takes no {old}= any more: {words}"):
        function(TABLE, {"bops": 1}, **{old: None})


@pytest.mark.parametrize(
    ("function", "old", "words"),
    [
        (compare_solvers, "seed", "run=RunOptions(seed=...)"),
        (compare_solvers, "progress", "run=RunOptions(progress=...)"),
        (check_stability, "seed", "run=RunOptions(seed=...)"),
        (check_stability, "progress", "run=RunOptions(progress=...)"),
        (check_stability, "budgets", "request=..."),
        (allocate_each, "targets", "requests=..."),
        (allocate_each, "target", "Request(budgets, target=...) for each of the requests"),
        (allocate_each, "pinned", "Request(budgets, pinned=...) for each of the requests"),
    ],
)
def test_an_argument_that_went_elsewhere_says_where(function: Any, old: str, words: str) -> None:
    with pytest.raises(TypeError, match=re.escape(f"{function.__name__}() takes no {old}= any more: write {words}")):
        function(TABLE, {"bops": 1}, **{old: None})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"seconds": 0}, "seconds is 0: give a number of seconds above 0"),
        ({"seconds": "5"}, "seconds is '5': give a number of seconds above 0"),
        ({"seed": -1}, "seed is -1: it must be a whole number from 0 to"),
        ({"seed": 1.5}, "seed is 1.5: it must be a whole number from 0 to"),
        ({"seed": True}, "seed is True: it must be a whole number from 0 to"),
    ],
)
@pytest.mark.parametrize("function", [allocate, allocate_each])
def test_seeds_and_seconds_are_refused_in_the_same_words(function: Any, given: Any, words: str) -> None:
    asked = [{"bops": "50%"}] if function is allocate_each else {"bops": "50%"}
    with pytest.raises(InvalidInput, match=re.escape(words)):
        function(TABLE, asked, **given)
