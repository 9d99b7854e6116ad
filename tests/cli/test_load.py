from __future__ import annotations

import pickle
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from mckp_quant import InvalidInput
from mckp_quant.cli.load import load_batches, load_model
from mckp_quant.common.packages import PackageMissing

if TYPE_CHECKING:
    from pathlib import Path

USER_FILE = """
from pathlib import Path
import torch
import helper_beside_it

SIZE = 3

def model():
    return torch.nn.Linear(SIZE, helper_beside_it.WIDTH)

def number():
    return 7

def broken():
    return torch.nn.Linear(SIZE, "wide")

def leaves():
    raise SystemExit("bye")

def needs_more():
    from mckp_quant.common.packages import require
    require("no_such_package", "torch")

def batches():
    for _ in range(2):
        yield torch.zeros(4, SIZE), torch.zeros(4, dtype=torch.long)

def stops():
    yield torch.zeros(4, SIZE)
    raise OSError("the disk is gone")

def tensor():
    return torch.zeros(4, SIZE)
"""


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "helper_beside_it.py").write_text("WIDTH = 5\n")
    (tmp_path / "user_net.py").write_text(USER_FILE)
    for name in ("user_net", "helper_beside_it"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


@pytest.mark.parametrize("where", ["user_net.py", "user_net", "./user_net.py"])
def test_models_come_from_files_and_modules(user: Path, where: str) -> None:
    path = list(sys.path)
    model = load_model(f"{where}:model")
    assert isinstance(model, torch.nn.Linear)
    assert (model.in_features, model.out_features) == (3, 5)
    assert sys.path == path


def test_absolute_paths_work_from_anywhere(user: Path, tmp_path_factory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert isinstance(load_model(f"{user / 'user_net.py'}:model"), torch.nn.Linear)


def test_user_file_cannot_hide_another_module(user: Path) -> None:
    (user / "json.py").write_text("import torch\ndef model():\n    return torch.nn.ReLU()\n")
    before = sys.modules["json"]
    assert isinstance(load_model("json.py:model"), torch.nn.ReLU)
    assert sys.modules["json"] is before


def test_model_and_data_of_one_file_see_the_same_module(user: Path) -> None:
    (user / "state.py").write_text(
        "import torch\nmade = []\ndef model():\n    made.append(torch.nn.ReLU())\n    return made[0]\n"
        "def data():\n    return [torch.zeros(len(made), 1)]\n"
    )
    load_model("state.py:model")
    assert load_batches("state.py:data", 8)[0].shape == (1, 1)


def test_batches_come_from_functions(user: Path) -> None:
    batches = load_batches("user_net.py:batches", 99)
    assert [tuple(inputs.shape) for inputs, _ in batches] == [(4, 3), (4, 3)]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (
            "user_net.py",
            r"model 'user_net.py' names no function: write user_net.py:model or user_net.py:number or user_net.py:",
        ),
        (":model", "names no function"),
        ("user_net.py:", "names no function"),
        ("nothing.py:model", "model file 'nothing.py' does not exist"),
        ("no_such_module:model", "model module 'no_such_module' cannot be found"),
        ("no_such_package.module:model", "model module 'no_such_package.module' cannot be found"),
        (
            "user_net.py:modle",
            r"unknown function in 'user_net.py' 'modle': did you mean 'model'\?(?!.*\bSIZE\b)(?!.*\btorch\b)",
        ),
        ("user_net.py:SIZE", "model 'user_net.py:SIZE' is a int, not a function"),
        ("user_net.py:number", "model 'user_net.py:number' gave a int: the function must return a torch.nn.Module"),
        ("user_net.py:broken", r"model 'user_net.py:broken' failed: TypeError: .* \(user_net.py, line 15\)"),
        ("user_net.py:leaves", r"failed: SystemExit: bye \(user_net.py, line 18\)"),
        ("syntax.py:model", r"model 'syntax.py:model' failed: SyntaxError: "),
        (
            "imports.py:model",
            r"model 'imports.py:model' failed: ModuleNotFoundError: .*no_such_thing.* \(imports.py, line 1",
        ),
        ("imports:model", r"model 'imports:model' failed: ModuleNotFoundError"),
    ],
)
def test_models_that_cannot_be_had_are_named_with_the_place(user: Path, spec: str, words: str) -> None:
    (user / "syntax.py").write_text("def model(:\n")
    (user / "imports.py").write_text("import no_such_thing\n")
    with pytest.raises(InvalidInput, match=words):
        load_model(spec)


def test_missing_package_in_the_users_code_keeps_its_own_words(user: Path) -> None:
    with pytest.raises(PackageMissing, match="no_such_package"):
        load_model("user_net.py:needs_more")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tensor", "data 'user_net.py:tensor' gave a Tensor: the function must return batches"),
        ("number", "gave a int: the function must return batches"),
        ("stops", r"data 'user_net.py:stops' failed: OSError: the disk is gone \(user_net.py, line 30\)"),
    ],
)
def test_data_that_is_no_batches_is_refused(user: Path, name: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        load_batches(f"user_net.py:{name}", 8)


def test_arrays_are_cut_into_batches_in_their_order(tmp_path: Path) -> None:
    inputs, targets = np.arange(30.0).reshape(10, 3), np.arange(10, dtype=np.int32)
    np.savez(tmp_path / "both.npz", inputs=inputs, targets=targets, other=np.zeros(1))
    batches = load_batches(str(tmp_path / "both.npz"), 4)
    assert [len(part) for part, _ in batches] == [4, 4, 2]
    assert torch.cat([part for part, _ in batches]).numpy().tolist() == inputs.tolist()
    assert torch.cat([part for _, part in batches]).numpy().tolist() == targets.tolist()
    assert (batches[0][0].dtype, batches[0][1].dtype) == (torch.float32, torch.int64)
    np.savez(tmp_path / "one.npz", inputs=targets)
    assert [part.tolist() for part in load_batches(str(tmp_path / "one.npz"), 6)] == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9]]


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"images": np.zeros(3)}, "lacks the array 'inputs': it has 'images'"),
        ({}, "lacks the array 'inputs': it has no arrays"),
        ({"inputs": np.zeros((3, 2)), "targets": np.zeros(2)}, "has 3 inputs and 2 targets: give one each"),
        ({"inputs": np.array(3.0)}, r"inputs in .* has the type float64 and the shape \(\)"),
        ({"inputs": np.zeros((0, 2))}, r"the shape \(0, 2\): it must hold numbers"),
        ({"inputs": np.array(["cat", "dog"])}, "inputs in .* has the type <U3"),
    ],
)
def test_arrays_that_are_no_data_are_refused(tmp_path: Path, arrays: dict[str, Any], words: str) -> None:
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(InvalidInput, match=words):
        load_batches(str(tmp_path / "data.npz"), 2)


def test_nothing_is_ever_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "data.npz", inputs=np.array([{"a": 1}], dtype=object))

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("something was unpickled")

    monkeypatch.setattr(pickle, "load", refuse)
    with pytest.raises(
        InvalidInput, match=r"the data '.*data.npz', array 'inputs': it holds object, .*; nothing is unpickled"
    ):
        load_batches(str(tmp_path / "data.npz"), 2)


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04cut", b"text"])
def test_files_that_are_no_npz_are_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "data.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"data '.*data.npz'.*(No such file|cannot be read .BadZipFile)"):
        load_batches(str(path), 2)


def test_plain_array_under_the_name_of_an_archive_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "data.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(InvalidInput, match=r"data '.*data.npz'.*(No such file|cannot be read .BadZipFile)"):
        load_batches(str(tmp_path / "data.npz"), 2)


def test_batches_hold_at_least_one_sample(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", inputs=np.zeros(3))
    with pytest.raises(InvalidInput, match="--batch-size is 0: it must be a whole number, at least 1"):
        load_batches(str(tmp_path / "data.npz"), 0)
