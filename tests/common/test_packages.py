from __future__ import annotations

import json

import pytest

from mckp_quant import solvers
from mckp_quant.common.packages import PackageMissing, missing, require


def test_require_gives_the_module() -> None:
    assert require("json", "any") is json


def test_require_says_what_to_type_and_what_works_without() -> None:
    with pytest.raises(
        PackageMissing,
        match=r"the package 'no_such_package' cannot be imported \(No module named 'no_such_package'\); "
        r"install it with: pip install 'mckp-quant\[onnx\]' -- to_json works without it",
    ) as caught:
        require("no_such_package", "onnx", "to_json works without it")
    assert type(caught.value) is PackageMissing
    assert isinstance(caught.value.__cause__, ImportError)
    with pytest.raises(PackageMissing, match=r"pip install mckp-quant -- everything else works without it$"):
        require("no_such_package", None)


def test_missing_says_why() -> None:
    assert missing("json") is None
    assert missing("no_such_package.inner") == "the package 'no_such_package' is not installed"


def test_a_missing_solver_is_a_missing_package_too() -> None:
    assert solvers.PackageMissing is PackageMissing
    assert issubclass(solvers.SolverUnavailable, PackageMissing)
