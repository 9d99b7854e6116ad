"""`RunOptions` and the functions that take them: the same wrong value gets the same words from each.

A function is tested by one line in `LONG`: how it is called, and which options it honours.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
import torch

import mckp_quant as mq
from mckp_quant import RunOptions

from ..search import small

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUDGET = {"weight_bytes": "45%"}
Call: TypeAlias = Callable[[Any, dict[str, Any]], object]  # from batches and keywords, ``run`` among them


def refine(batches: Any, options: dict[str, Any]) -> object:
    return mq.refine(small.network(), small.table(), BUDGET, batches, evaluations=4, **options)


def confirm_table(batches: Any, options: dict[str, Any]) -> object:
    return mq.confirm_table(small.network(), small.table(), BUDGET, batches, evaluations=3, **options)


def search(batches: Any, options: dict[str, Any]) -> object:
    return mq.search.search(small.network(), small.table(), BUDGET, batches, method="random", evaluations=3, **options)


def run_method(batches: Any, options: dict[str, Any]) -> object:
    return mq.search.run_method("evoq", small.network(), small.table(), BUDGET, batches, evaluations=3, **options)


def finetune(batches: Any, options: dict[str, Any]) -> object:
    policy = mq.Policy.uniform(small.table(), "w4")
    return mq.tuning.finetune(small.network(), policy, batches, steps=2, **options)


def finish(batches: Any, options: dict[str, Any]) -> object:
    return mq.finish(small.network(), mq.Policy.uniform(small.table(), "w4"), batches, **options)


def quantize(batches: Any, options: dict[str, Any]) -> object:
    return mq.quantize(small.network(), batches, {"bits_per_weight": 9}, formats="w4", rounder="nearest", **options)


def measure_interactions(batches: Any, options: dict[str, Any]) -> object:
    return mq.measure_interactions(small.network(), batches, formats="w2,w4", **options)


def measure(batches: Any, options: dict[str, Any]) -> object:
    return mq.measure(small.network(), batches, formats="w2,w4", **options)


def plan(batches: Any, options: dict[str, Any]) -> object:
    return mq.plan(small.network(), next(iter(batches)), formats="w2,w4", **options)


def smallest(batches: Any, options: dict[str, Any]) -> object:
    return mq.smallest(small.network(), mq.front(small.table()), batches, kl_at_most=1.0, **options)


def select(batches: Any, options: dict[str, Any]) -> object:
    return mq.select(mq.front(small.table(), BUDGET), small.network(), batches, k=2, **options)


def check_stability(batches: Any, options: dict[str, Any]) -> object:
    return mq.check_stability(small.table(), BUDGET, draws=4, **options)


def compare_solvers(batches: Any, options: dict[str, Any]) -> object:
    return mq.compare_solvers(small.table(), BUDGET, solvers=["exact", "greedy"], **options)


LONG: dict[str, tuple[Call, set[str]]] = {
    "refine": (refine, {"seed", "checkpoint", "max_batches", "progress"}),
    "confirm_table": (confirm_table, {"seed", "max_batches", "seconds", "progress"}),
    "search": (search, {"seed", "checkpoint", "max_batches", "seconds", "progress"}),
    "run_method": (run_method, {"seed", "checkpoint", "max_batches", "progress"}),
    "finetune": (finetune, {"seed", "max_batches", "progress"}),
    "finish": (finish, {"seed", "max_batches", "progress"}),
    "quantize": (quantize, {"seed", "max_batches", "memory_limit", "progress"}),
    "measure_interactions": (measure_interactions, {"seed", "cache", "max_batches", "progress"}),
    "measure": (measure, {"seed", "checkpoint", "cache", "memory_limit", "max_batches", "progress", "part"}),
    "plan": (plan, {"memory_limit"}),
    "smallest": (smallest, {"max_batches", "progress"}),
    "select": (select, {"max_batches", "progress"}),
    "check_stability": (check_stability, {"seed", "progress"}),
    "compare_solvers": (compare_solvers, {"seed", "progress"}),
}
EVERY: dict[str, object] = {
    "seed": 1,
    "checkpoint": "file.json",
    "cache": "folder",
    "memory_limit": "1GB",
    "max_batches": 2,
    "seconds": 600.0,
    "progress": print,
    "part": "1/2",
}
NEW = {"quantize"}  # it never had others
ON_TABLES = {"check_stability", "compare_solvers"}  # they run no network


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seed": 1.5}, r"seed is 1\.5: it must be a whole number from 0 to 2\*\*63 - 1"),
        ({"seed": -1}, r"seed is -1: it must be a whole number"),
        ({"seed": True}, r"seed is True: it must be a whole number"),
        ({"seed": "1"}, r"seed is '1': it must be a whole number"),
        ({"seed": 2**63}, r"seed is 9223372036854775808: it must be a whole number"),
        ({"max_batches": 0}, r"max_batches is 0: it must be a whole number, at least 1"),
        ({"seconds": 0}, r"seconds is 0: give a number of seconds above 0"),
        ({"seconds": math.nan}, r"seconds is nan: give a number of seconds above 0"),
        ({"max_batches": 2.0}, r"max_batches is 2\.0: it must be a whole number, at least 1"),
        ({"progress": True}, r"progress is True: give a function of the steps done and their total, or None"),
        ({"memory_limit": "half"}, "^memory_limit = 'half' cannot be read"),
        ({"memory_limit": "50%"}, "^memory_limit = '50%' is a percentage, but of nothing"),
        ({"part": "2 of 8"}, "^part is '2 of 8': write which part of how many, such as '2/8'"),
        ({"part": "0/8"}, "^part is '0/8': write which part of how many"),
        ({"part": "9/8"}, "^part is '9/8': parts of 8 are 1/8 and so on"),
    ],
)
def test_what_cannot_be_used_is_refused_before_any_function_sees_it(options: dict[str, Any], words: str) -> None:
    with pytest.raises(mq.InvalidInput, match=words):
        RunOptions(**options)


@pytest.mark.parametrize(("name", "option"), [(name, option) for name in LONG for option in EVERY])
def test_an_option_is_honoured_or_refused_by_name(name: str, option: str, tmp_path: Path) -> None:
    call, honoured = LONG[name]
    options = {**EVERY, "checkpoint": tmp_path / "file.json", "cache": tmp_path / "folder"}
    run = RunOptions(**{option: options[option]})  # type: ignore[arg-type]
    if option in honoured:
        call(small.data(), {"run": run})
        return
    with pytest.raises(mq.InvalidInput, match=rf"RunOptions\({option}=.*\) means nothing to {name}\(\), which takes"):
        call(small.data(), {"run": run})


@pytest.mark.parametrize("name", [name for name, (_, honoured) in LONG.items() if "progress" in honoured])
def test_progress_is_steps_done_and_their_total(name: str) -> None:
    seen: list[tuple[int, int | None]] = []
    LONG[name][0](small.data(), {"run": RunOptions(progress=lambda done, total: seen.append((done, total)))})
    assert seen
    assert seen == sorted(seen)
    assert all(type(done) is int and (total is None or type(total) is int) for done, total in seen)
    assert len({total for _, total in seen}) == 1


@pytest.mark.parametrize("name", [name for name, (_, honoured) in LONG.items() if "max_batches" in honoured])
def test_no_more_batches_are_read_than_asked_for(name: str) -> None:
    read = 0

    def batches() -> Iterator[object]:
        nonlocal read
        for batch in small.data():
            read += 1
            yield batch

    LONG[name][0](batches(), {"run": RunOptions(max_batches=2)})
    assert read == 2


@pytest.mark.parametrize(
    ("name", "old"),
    [
        (name, old)
        for name, (_, honoured) in LONG.items()
        if name not in NEW
        for old in sorted(honoured & {"seed", "checkpoint", "seconds", "progress"})
    ],
)
def test_an_old_keyword_says_what_to_write(name: str, old: str) -> None:
    with pytest.raises(TypeError, match=rf"{name}\(\) takes no {old}= any more: write run=RunOptions\({old}=\.\.\.\)"):
        LONG[name][0](small.data(), {old: 1})


@pytest.mark.parametrize("name", sorted(set(LONG) - ON_TABLES - NEW))
@pytest.mark.parametrize(("old", "new"), [("output", "take"), ("likelihood", "likelihood"), ("class_dim", "class_dim")])
def test_an_old_keyword_of_outputs_says_what_to_write(name: str, old: str, new: str) -> None:
    with pytest.raises(TypeError, match=rf"{name}\(\) takes no {old}= any more: write outputs=Outputs\({new}=\.\.\.\)"):
        LONG[name][0](small.data(), {old: 1})


def test_the_cache_is_filled_and_changes_nothing(tmp_path: Path) -> None:
    first = mq.measure_interactions(small.network(), small.data(), formats="w2,w4")
    for _ in range(2):
        again = mq.measure_interactions(
            small.network(), small.data(), formats="w2,w4", run=RunOptions(cache=tmp_path / "errors")
        )
        assert torch.equal(torch.tensor(again.parts), torch.tensor(first.parts))
    assert list((tmp_path / "errors").iterdir())


def test_options_that_a_function_cannot_honour_are_refused_by_name() -> None:
    RunOptions(seed=3).only("calibrate_ranges", "seed", "max_batches")
    RunOptions().only("calibrate_ranges")
    with pytest.raises(
        mq.InvalidInput,
        match=r"^RunOptions\(cache='errors'\) means nothing to calibrate_ranges\(\), which takes seed, max_b",
    ):
        RunOptions(cache="errors").only("calibrate_ranges", "seed", "max_batches")


def test_progress_is_told_in_whole_steps_and_without_a_total_where_there_is_none() -> None:
    told: list[tuple[int, int | None]] = []
    run = RunOptions(progress=lambda done, total: told.append((done, total)))
    for done, total in ((1, 4), (2.5, 10.0), (3, None), (4, math.inf)):
        run.report(done, total)
    assert told == [(1, 4), (2, 10), (3, None), (4, None)]
    RunOptions().report(1, 2)
