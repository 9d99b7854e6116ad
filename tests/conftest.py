from __future__ import annotations

import importlib.util
import os
import random
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: workers that share cores slow each other down

WITHOUT_TORCH = importlib.util.find_spec("torch") is None

if TYPE_CHECKING:
    from collections.abc import Generator

settings.register_profile("default", derandomize=True, deadline=None, database=None)
settings.register_profile("fuzz", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--instances", metavar="DIR", help="folder of published problems (default: ../shared/instances)")
    parser.addoption("--shuffle", type=int, metavar="SEED", help="run the tests in an order drawn from this seed")
    parser.addoption("--data", metavar="DIR", help="folder of pretrained networks and data (default: ../shared/data)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Files, and the tests of each, in another order; those of a file stay together for the sake of its fixtures."""
    seed = config.getoption("--shuffle")
    if seed is not None:
        draw = random.Random(seed)
        places = {item.path: draw.random() for item in sorted(items, key=lambda each: str(each.path))}
        items.sort(key=lambda item: item.nodeid)
        draw.shuffle(items)
        items.sort(key=lambda item: places[item.path])


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call() -> Generator[None, object, object]:
    """An interrupt that a test raises by itself and nobody catches fails that test, and does not end the whole run."""
    try:
        return (yield)
    except KeyboardInterrupt as error:
        raised = traceback.extract_tb(error.__traceback__)[-1]
        if raised.line == "raise KeyboardInterrupt" and Path(raised.filename).is_relative_to(Path(__file__).parent):
            raise AssertionError("the interrupt that this test raises was not caught") from error
        raise


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Where PyTorch is not installed, as in `make lowest`, files that need it are skipped with that reason."""
    report = yield
    if WITHOUT_TORCH and report.failed and "No module named 'torch'" in report.longreprtext:
        report.outcome = "skipped"
        report.longrepr = (str(collector.path), 0, "Skipped: PyTorch is not installed")
    return report


def _folder(config: pytest.Config, option: str, default: str) -> Path:
    given = config.getoption(option)
    if given is not None:
        folder = Path(given)
        if not folder.is_dir():
            raise pytest.UsageError(f"{option} {given}: there is no such folder")
        return folder
    folder = config.rootpath.parent / "shared" / default
    if not folder.is_dir():
        pytest.skip(f"the folder ../shared/{default} is not beside the repository: name it with {option}")
    return folder


@pytest.fixture(scope="session")
def instances(pytestconfig: pytest.Config) -> Path:
    return _folder(pytestconfig, "--instances", "instances")


@pytest.fixture(scope="session")
def data(pytestconfig: pytest.Config) -> Path:
    return _folder(pytestconfig, "--data", "data")


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line wraps nothing, so that tests find sentences whole; those of widths set their own."""
    monkeypatch.setenv("COLUMNS", "1000")
