"""Old names of attributes, keywords and public names: each raises an error that says what to write now."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from dataclasses import dataclass
from typing import Any

import pytest

import mckp_quant
from mckp_quant import CostTable, Format, Index, Interactions, Plan, Policy, SensitivityTable, Stability
from mckp_quant.common.renamed import RenamedAttribute, renamed_fields, renamed_keywords
from mckp_quant.costs import Budget

from ..drawn_tables import make_table

# A public class, the old name of one of its attributes, and its name today.
ATTRIBUTES: list[tuple[type, str, str]] = [
    (SensitivityTable, "weights", "batch_sizes"),
    (Policy, "weights", "n_weights"),
    (Policy, "layers", "layer_names"),
    (Budget, "weights", "n_weights"),
    (CostTable, "layers", "layer_names"),
    (Index, "layers", "layer_names"),
    (Stability, "layers", "layer_names"),
    (Interactions, "layers", "layer_names"),
    (Interactions, "weights", "batch_sizes"),
    (Plan, "weights", "weight_bytes"),
    (Format, "weights", "weight_scheme"),
    (Format, "activations", "activation_scheme"),
]
NAMES = {
    "Structure": "mckp_quant.Constraints",
    "interactions": "mckp_quant.measure_interactions",
    "stability": "mckp_quant.check_stability",
    "with_interactions": "mckp_quant.allocate_with_interactions",
}


@renamed_fields(size="length")
@dataclass(frozen=True)
class Rod:
    length: int
    width: int = 1


@renamed_keywords(target="precision=...", seed="run=RunOptions(seed=...)")
def measure(model: object, *, precision: float = 0.0) -> float:
    """Of the function itself."""
    return precision


@pytest.mark.parametrize(("cls", "old", "new"), ATTRIBUTES, ids=lambda each: getattr(each, "__name__", each))
def test_old_attributes_raise_an_error_that_says_the_new_one(cls: type, old: str, new: str) -> None:
    assert inspect.getattr_static(cls, new, None) is not None or new in cls.__annotations__
    with pytest.raises(AttributeError, match=f"^{cls.__name__}.{old} is now {cls.__name__}.{new}$"):
        getattr(object.__new__(cls), old)
    assert not hasattr(cls, old)
    assert old not in {field.name for field in dataclasses.fields(cls)}


FIELDS = [each for each in ATTRIBUTES if each[2] in {field.name for field in dataclasses.fields(each[0])}]


@pytest.mark.parametrize(("cls", "old", "new"), FIELDS, ids=lambda each: getattr(each, "__name__", each))
def test_old_keywords_raise_an_error_that_says_the_new_one(cls: Any, old: str, new: str) -> None:
    with pytest.raises(TypeError, match=rf"^{cls.__name__}\(\) takes no {old}= any more: write {new}=\.\.\.$"):
        cls(**{old: ()})
    assert old not in inspect.signature(cls).parameters


@pytest.mark.parametrize("old", NAMES)
def test_old_public_names_raise_an_error_that_says_the_new_one(old: str) -> None:
    # Two rooms have the names of old functions; getattr would give the room where it has been imported.
    with pytest.raises(AttributeError, match=f"^mckp_quant.{old} is now {NAMES[old]}$"):
        mckp_quant.__getattr__(old)


def test_renamed_fields_leave_a_dataclass_what_it_was() -> None:
    rod = Rod(length=3)
    assert rod == Rod(3, 1) == pickle.loads(pickle.dumps(rod)) == copy.copy(rod) == copy.deepcopy(rod)
    assert dataclasses.replace(rod, width=2) == Rod(3, 2)
    assert dataclasses.asdict(rod) == {"length": 3, "width": 1}
    assert repr(rod) == "Rod(length=3, width=1)"
    assert str(inspect.signature(Rod)) == "(length: 'int', width: 'int' = 1) -> None"
    assert not hasattr(rod, "size")
    assert dict(inspect.getmembers(rod))["length"] == 3
    with pytest.raises(TypeError, match=r"Rod\(\) takes no size= any more: write length="):
        dataclasses.replace(rod, size=4)  # type: ignore[call-arg]


def test_classes_of_the_package_are_copied_pickled_and_replaced_as_ever() -> None:
    table = make_table([[4.0, 2.0, 1.0], [8.0, 4.0, 2.0]])
    policy = Policy.uniform(table, "w4")
    assert pickle.loads(pickle.dumps(policy)) == copy.deepcopy(policy) == policy
    assert pickle.loads(pickle.dumps(table)).digest == copy.copy(table).digest == table.digest
    assert dataclasses.replace(policy, unit="bits").unit == "bits"
    assert pickle.loads(pickle.dumps(Format.named("w4g32"))) == Format.named("w4g32")


def test_renamed_attributes_are_no_fields() -> None:
    @dataclass
    class Holder:
        new: int
        old = RenamedAttribute("new")

    assert [field.name for field in dataclasses.fields(Holder)] == ["new"]
    with pytest.raises(AttributeError, match=r"^Holder\.old is now Holder\.new$"):
        Holder(1).old  # noqa: B018


def test_renamed_keywords_of_functions_say_what_to_write() -> None:
    call: Any = measure
    assert measure(None, precision=0.5) == 0.5
    assert measure.__doc__ == "Of the function itself."
    with pytest.raises(TypeError, match=r"^measure\(\) takes no target= any more: write precision=\.\.\.$"):
        call(None, target=0.1)
    with pytest.raises(TypeError, match=r"takes no seed= any more: write run=RunOptions\(seed=\.\.\.\)$"):
        call(None, seed=1)
    with pytest.raises(TypeError, match="unexpected keyword argument 'other'"):
        call(None, other=1)
