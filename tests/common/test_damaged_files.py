"""Whatever is done to a file, its reader takes it or refuses it with an error that names it: nothing else gets out."""

from __future__ import annotations

import importlib.util
import math
from typing import TYPE_CHECKING

import pytest

from benchmarks.hunt.files.artefacts import artefacts, missing
from benchmarks.hunt.files.documents import documents
from benchmarks.hunt.files.tools import foreign_files
from benchmarks.hunt.readers import hunt
from benchmarks.hunt.watched import TAKEN, watching

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.hunt.files.kind import Kind


def hunted(found: list[Kind], folder: Path, count: int, seed: int = 0) -> float:
    """The share of so many damaged files that is taken as it is; no fault may be found."""
    each = math.ceil(count / len(found))
    taken = 0
    with watching():
        for kind in found:
            counts, faults = hunt(kind, folder, range(each), seed)
            assert faults == []
            taken += counts[TAKEN]
    return taken / (each * len(found))


@pytest.mark.parametrize(("make", "count"), [(documents, 500), (foreign_files, 500)])
def test_damaged_files_are_refused_by_name(make: Callable[[Path], list[Kind]], count: int, tmp_path: Path) -> None:
    found = make(tmp_path)
    for kind in found:
        kind.read(tmp_path / kind.name)
    assert 0 < hunted(found, tmp_path, count) < 0.6


def test_damaged_artefacts_are_refused_by_name(tmp_path: Path) -> None:
    if names := missing():
        pytest.skip(f"not installed: {', '.join(names)}")
    found = artefacts(tmp_path)
    for kind in found:
        kind.read(tmp_path / kind.name)
    hunted(found, tmp_path, 60)


def test_damaged_files_of_runs_are_refused_by_name(tmp_path: Path) -> None:
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("safetensors") is None:
        pytest.skip("torch or safetensors is not installed")
    from benchmarks.hunt.files.runs import runs

    hunted(runs(tmp_path), tmp_path, 30)


@pytest.mark.fuzz
def test_many_damaged_files_are_refused_by_name(tmp_path: Path) -> None:
    for make in (documents, foreign_files, *(() if missing() else (artefacts,))):
        (tmp_path / make.__name__).mkdir()
        hunted(make(tmp_path / make.__name__), tmp_path / make.__name__, 10_000, seed=1)
