from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import mckp_quant as mq
from mckp_quant.evaluation.evaluator import Evaluator
from mckp_quant.pipeline.calibration import mean_table
from mckp_quant.pipeline.steps import STEPS
from mckp_quant.tables import schema
from mckp_quant.tuning import validate_finished

from ..html_faces import cells_of, check_face
from ..search import small
from ..tables.test_schemas import complaints
from .small_runs import BUDGET, contents, quantized

if TYPE_CHECKING:
    from pathlib import Path

HELD_OUT = small.data(seed=9)
SHORT = {"formats": "w2,w8", "evaluations": 6}


@pytest.fixture(scope="module")
def found() -> mq.Quantized:
    """A run with everything in it: a rounder that sees inputs, refining, data of its own to judge on."""
    pytest.importorskip("safetensors")
    return quantized(rounder="gptq", evaluations=6, held_out=HELD_OUT)


def test_every_step_decides_something_in_a_line(found: mq.Quantized) -> None:
    assert [each.step for each in found.decisions] == [
        *("round", "measure", "allocate", "confirm", "refine", "finish", "validate")
    ]
    assert all(each.decided and "\n" not in each.decided for each in found.decisions)
    assert all(each.seconds > 0 and not each.skipped for each in found.decisions)
    lines = {each.step: each.decided for each in found.decisions}
    assert lines["round"].startswith("4 layers by gptq(")
    assert "means of features are matched by" in lines["finish"] or "biases and norms are left" in lines["finish"]
    assert found.chosen in ("mixed", "uniform")


def test_in_a_notebook_it_shows_every_network_and_every_step(found: mq.Quantized) -> None:
    rows = cells_of(check_face(found))
    assert repr(found).startswith(f"Quantized: {found.best.name}, ")
    assert [row[0] for row in rows if len(row) == 3 and row[0] != "step"] == [each.step for each in found.decisions]
    assert found.uniform is not None
    names = [row[0] for row in rows if len(row) == 6]
    assert names[-2:] == [f"{found.uniform.name}, finished", "mixed, finished"]
    assert "float" in names


def test_the_network_that_is_given_back_is_the_one_that_was_judged(found: mq.Quantized) -> None:
    evaluator = Evaluator(small.network(), HELD_OUT)
    for candidate in (found.mixed, found.uniform):
        assert candidate is not None
        measured = evaluator.evaluate_model(candidate.finished.model)
        assert measured.kl == candidate.validation.policy.measured.kl
    assert found.uniform is not None
    both = [each.validation.policy.measured for each in (found.uniform, found.mixed)]
    assert (found.difference, found.difference_stderr) == both[0].kl_difference(both[1])
    assert found.model is found.best.finished.model
    assert found.validation is found.best.validation
    assert found.policy is found.best.policy


def test_the_table_is_measured_on_other_batches_than_the_rounder_saw(found: mq.Quantized) -> None:
    batches = small.data(samples=96)
    bank = mq.round_weights(small.network(), batches[::2], "w2,w4,w8", rounder="gptq")
    assert found.bank.digest == bank.digest
    table = mq.measure(small.network(), batches[1::2], formats="w2,w4,w8", bank=bank)
    confirmed = mq.confirm_table(small.network(), table, BUDGET, batches[1::2], bank=bank).table
    assert np.array_equal(found.table.loss, confirmed.loss)
    assert not np.array_equal(found.table.loss, table.loss)


def test_both_policies_keep_the_request(found: mq.Quantized) -> None:
    assert found.uniform is not None
    assert len({entry.name for entry in found.uniform.policy.formats}) == 1
    for candidate in (found.mixed, found.uniform):
        assert candidate.policy.bits_per_weight <= BUDGET["bits_per_weight"]


@pytest.mark.parametrize(("better", "chosen"), [(1e-3, "mixed"), (-1e-3, "uniform"), (0.0, "uniform")])
def test_uniform_is_returned_where_mixed_is_not_better_beyond_two_errors(
    better: float, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mixed precision is made better by hand than it was measured, for every sample alike: the error is 0 then."""
    known: dict[str, Any] = {}

    def shifted(model: Any, finished: Any, *args: Any, **kwargs: Any) -> Any:
        made = validate_finished(model, finished, *args, **kwargs)
        uniform = len(set(finished.policy.formats)) == 1
        known.setdefault("measured", made.policy.measured)  # the mixed one comes first
        base = known["measured"]
        totals = base.totals + (better if uniform else 0)
        own = dataclasses.replace(made.policy, measured=dataclasses.replace(base, totals=totals))
        return dataclasses.replace(made, rows=(*made.rows[:-1], own))

    monkeypatch.setattr("mckp_quant.pipeline.steps.judging.validate_finished", shifted)
    found = quantized()
    assert found.chosen == chosen
    assert found.difference == pytest.approx(better)
    line = found.decisions[-1].decided
    if chosen == "uniform":
        assert found.uniform is not None
        assert found.policy is found.uniform.policy
        assert line.startswith(f"{found.uniform.name} is returned, because mixed precision is not better beyond 2 st")
    else:
        assert found.policy is found.mixed.policy
        assert line.startswith("mixed precision is returned: KL ")


def test_without_a_uniform_policy_within_the_request_there_is_none_to_beat() -> None:
    found = quantized(request=mq.Request({"bits_per_weight": 30}, pinned={"0": "w4"}, choices={"6": ["w2", "w8"]}))
    assert found.uniform is not None  # the pin and the rule hold in it, too
    assert found.uniform.policy["0"].name == "w4"
    assert found.uniform.policy["6"].name in ("w2", "w8")
    alone = quantized(formats="w2")
    assert alone.uniform is None
    assert alone.chosen == "mixed"
    assert np.isnan(alone.difference)
    assert "no other uniform policy is within the request" in alone.decisions[-1].decided


def test_the_network_is_given_back_as_it_was() -> None:
    model = small.network()
    before = small.state(model)
    mq.quantize(model, small.data(), {"bits_per_weight": 9}, formats="w4", rounder="nearest", evaluations=0)
    assert small.same(before, small.state(model))
    assert not any(each._forward_hooks for each in model.modules())


def test_results_in_a_folder_are_taken_as_they_are(tmp_path: Path) -> None:
    first = quantized(output=tmp_path / "run")
    again = quantized(output=tmp_path / "run")
    assert [each.skipped for each in again.decisions] == [True] * len(first.decisions)
    assert [each.decided for each in again.decisions] == [each.decided for each in first.decisions]
    assert [each.seconds for each in again.decisions] == [each.seconds for each in first.decisions]
    assert again.policy == first.policy
    assert again.bank.digest == first.bank.digest
    assert (again.difference, again.difference_stderr) == (first.difference, first.difference_stderr)
    assert again.validation.document() == first.validation.document()
    inputs = small.data()[0][0]
    assert torch.equal(again.model(inputs), first.model(inputs))


@pytest.mark.slow
def test_the_same_again_gives_the_same_files_bit_for_bit(tmp_path: Path) -> None:
    for name in ("one", "two"):
        quantized(rounder="gptq", evaluations=6, output=tmp_path / name)
    one, two = contents(tmp_path / "one"), contents(tmp_path / "two")
    assert set(one) == set(two)
    assert {name for name in one if one[name] != two[name]} == set()
    assert {"measure/table.json", "allocate/policy.json", "validate/policy.json"} <= set(one)
    assert any(name.startswith("round/bank/") for name in one)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a run that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole")
    quantized(**SHORT, output=folder)
    return contents(folder)


@pytest.mark.slow
@pytest.mark.parametrize("step", ["round", "measure", "allocate", "confirm", "refine", "finish", "validate", "report"])
def test_stopped_at_any_step_it_goes_on_to_the_same_files(
    step: str, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type(next(each for each in STEPS if each.name == step))
    plain = kind.make

    def stopped(self: Any, work: Any, folder: Any, run: Any) -> Any:
        plain(self, work, folder, run)
        (folder / "half").write_text("of a file")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(kind, "make", stopped)
        with pytest.raises(KeyboardInterrupt):
            quantized(**SHORT, output=tmp_path / "run")
    done = quantized(**SHORT, output=tmp_path / "run")
    names = [each.step for each in done.decisions]
    assert [each.step for each in done.decisions if each.skipped] == names[: names.index(step)]
    found = contents(tmp_path / "run")
    assert found.pop(f"{step}/half")
    assert found == whole


@pytest.mark.slow
def test_what_changed_is_made_again_from_there_on_and_says_why(tmp_path: Path) -> None:
    quantized(output=tmp_path)
    smaller = quantized(output=tmp_path, request={"bits_per_weight": 4})
    assert [each.step for each in smaller.decisions if each.skipped] == ["round", "measure"]
    again = {each.step: each.again for each in smaller.decisions}
    assert again["allocate"] == "request.budgets.bits_per_weight was 5, and is 4"
    assert again["finish"] == "a step before it differs"
    assert smaller.policy.bits_per_weight <= 4
    judged = quantized(output=tmp_path, request={"bits_per_weight": 4}, held_out=HELD_OUT)
    assert not any(each.skipped for each in judged.decisions)  # all data calibrate now
    (tmp_path / "allocate" / "policy.json").write_text("{}")
    mended = quantized(output=tmp_path, request={"bits_per_weight": 4}, held_out=HELD_OUT)
    assert [each.step for each in mended.decisions if not each.skipped] == ["allocate"]
    assert mended.decisions[2].again == "its file 'policy.json' is missing or was changed"


def test_a_folder_of_another_network_or_of_something_else_is_refused(tmp_path: Path) -> None:
    quantized(formats="w2", output=tmp_path / "run")
    other = small.network()
    with torch.no_grad():
        other.get_parameter("0.weight").mul_(2)
    with pytest.raises(mq.InvalidInput, match=r"holds the results of another run: the network's '0\.weight' differs"):
        mq.quantize(other, small.data(samples=96), BUDGET, formats="w2", output=tmp_path / "run")
    with pytest.raises(mq.InvalidInput, match="another run: it is of other calibration data, batch 0 differs"):
        quantized(formats="w2", batches=small.data(seed=5), output=tmp_path / "run")
    (tmp_path / "mine" / "round").mkdir(parents=True)
    (tmp_path / "mine" / "round" / "thesis.txt").write_text("years of work")
    with pytest.raises(mq.InvalidInput, match=r"round' holds something else than the results of a run"):
        quantized(formats="w2", output=tmp_path / "mine")
    assert (tmp_path / "mine" / "round" / "thesis.txt").read_text() == "years of work"


def test_provenance_says_where_it_comes_from_and_nothing_of_the_machine(tmp_path: Path) -> None:
    found = quantized(output=tmp_path)
    text = (tmp_path / "provenance.json").read_text()
    written = json.loads(text)
    assert complaints(schema("provenance"), written) == []
    assert str(tmp_path) not in text
    assert [each["step"] for each in written["steps"]] == [each.step for each in found.decisions]
    assert set(written["network"]["tensors"]) == set(small.network().state_dict())
    assert written["data"]["calibration"]["calibration"]["samples"] == 64
    assert written["data"]["held_out"]["samples"] == 32
    assert written["data"]["held_out"]["how"] == "0.25 of the data, drawn with seed 0"
    assert {"python", "numpy", "torch"} <= set(written["versions"])
    assert written["settings"]["rounder"] == "nearest"
    files = {f"{each['step']}/{name}" for each in written["steps"] for name in each["files"]}
    assert files == set(contents(tmp_path))


def test_several_sets_are_weighed() -> None:
    first, second = small.data(samples=64), small.data(seed=2, samples=64)
    sets = {"first": mq.CalibrationSet(first, 3.0), "second": second}
    found = quantized(batches=sets, held_out=HELD_OUT)
    tables = [mq.measure(small.network(), each, formats="w2,w4,w8") for each in (first, second)]
    kept = np.isclose(found.table.loss, 0.75 * tables[0].loss + 0.25 * tables[1].loss, rtol=1e-12, atol=0)
    assert f"{(~kept).sum()} cell measured" in found.table.method  # what confirming measured is not of the estimator
    assert "the mean of first x 3, second x 1" in found.decisions[1].decided
    assert found.provenance["data"]["calibration"]["first"]["weight"] == 3


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"held_out": 1.5}, r"held_out is 1\.5: it must be a number between 0 and 1"),
        ({"evaluations": -1}, "evaluations is -1: it must be a number, at least 0"),
        ({"formats": "w99"}, "w99"),
        ({"batches": {}}, "batches is an empty mapping: name at least one set of batches"),
        ({"rounder": "gtpq"}, "unknown rounder 'gtpq': did you mean 'gptq'"),
        ({"request": {}}, "no budget given"),
    ],
)
def test_what_cannot_be_used_is_refused(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(mq.InvalidInput, match=words):
        quantized(**changed)


def test_refining_is_left_out_in_words_where_it_cannot_be_done() -> None:
    one = quantized(batches=small.data(samples=16), held_out=HELD_OUT, evaluations=6)
    decided = {each.step: each.decided for each in one.decisions}
    assert decided["refine"] == "left out: there is one batch, and one more is needed to hold back"


def test_confirming_weighs_several_sets_as_the_table_does() -> None:
    batches = small.data(samples=96)
    sets = {"one": mq.CalibrationSet(batches[:1], 3.0), "two": mq.CalibrationSet(batches[1:])}
    found = quantized(batches=sets, held_out=HELD_OUT)
    options: dict[str, Any] = {"formats": "w2,w4,w8", "bank": found.bank}
    tables = {
        method: mean_table([mq.measure(small.network(), own, method=method, **options) for own in parts], [3.0, 1.0])
        for method in ("gauss_newton", "measured_kl")
        for parts in ((batches[:1], batches[1:]),)
    }
    replaced = found.table.loss != tables["gauss_newton"].loss
    assert 0 < replaced.sum() < replaced.size
    for name in ("loss", "contributions"):
        own, wanted = getattr(found.table, name), getattr(tables["measured_kl"], name)
        np.testing.assert_allclose(own[..., replaced], wanted[..., replaced], rtol=1e-4)
