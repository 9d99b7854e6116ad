from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from mckp_quant.solvers import InvalidProblem, NoSolution, PackageMissing, SolverFailure, SolverUnavailable
from mckp_quant.solvers.errors import missing, require

if TYPE_CHECKING:
    from pathlib import Path


def test_require_gives_the_module() -> None:
    assert require("json", None) is json
    assert require("importlib.machinery", "any") is importlib.machinery


def test_require_says_what_to_type_and_what_works_without() -> None:
    with pytest.raises(
        SolverUnavailable,
        match=r"the package 'no_such_package' cannot be imported \(No module named 'no_such_package'\); "
        r"install it with: pip install 'mckp-quant\[plot\]' -- tables work without it",
    ) as caught:
        require("no_such_package", "plot", "tables work without it")
    assert isinstance(caught.value.__cause__, ImportError)


def test_require_of_a_required_dependency_names_no_extra() -> None:
    with pytest.raises(SolverUnavailable, match=r"install it with: pip install mckp-quant -- "):
        require("no_such_package", None)


INTERRUPTED = """
import os, signal
caught = False
try:
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(1000):
        pass
except KeyboardInterrupt:
    caught = True
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGINT to send to one process")
def test_interrupt_during_an_import_reaches_the_caller_and_not_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "takes_interrupts.py").write_text(INTERRUPTED, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            require("takes_interrupts", None)
    finally:
        signal.signal(signal.SIGINT, before)
    assert require("takes_interrupts", None).caught is False
    monkeypatch.delitem(sys.modules, "takes_interrupts")


def test_missing_looks_without_importing(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "from mckp_quant.solvers.errors import missing; import sys; print(missing('pulp'), 'pulp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(missing("pulp")), "False"]
    monkeypatch.setitem(sys.modules, "pulp", None)
    assert missing("pulp.apis") == "the package 'pulp' is not installed"
    assert missing("no_such_package.inner") == "the package 'no_such_package' is not installed"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InvalidProblem, ValueError),
        (NoSolution, RuntimeError),
        (SolverFailure, RuntimeError),
        (PackageMissing, ImportError),
        (SolverUnavailable, PackageMissing),
    ],
)
def test_errors_are_caught_by_their_builtin_kind(error: type[Exception], kind: type[Exception]) -> None:
    assert issubclass(error, kind)


def test_package_refuses_a_second_name() -> None:
    spec = importlib.util.find_spec("mckp_quant.solvers")
    assert spec is not None
    assert spec.origin is not None
    other = importlib.util.spec_from_file_location("solvers", spec.origin)
    assert other is not None
    assert other.loader is not None
    with pytest.raises(ImportError, match=r"this package is mckp_quant\.solvers, but it was imported as 'solvers'"):
        other.loader.exec_module(importlib.util.module_from_spec(other))
