"""The wheel: it holds the whole tree and nothing else, and works away from the checkout."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

import mckp_quant

ROOT = Path(mckp_quant.__file__).parents[1]
FOLDERS = {"solvers": "mckp_quant/solvers", "mckp_quant": "mckp_quant"}


def run(*command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def tree() -> set[str]:
    """Every file of the packages, by its place in the wheel."""
    found = set()
    for folder, place in FOLDERS.items():
        for path in (ROOT / folder).rglob("*"):
            relative = path.relative_to(ROOT / folder)
            linked = folder == "mckp_quant" and relative.parts[0] == "solvers"
            built = path.suffix in (".so", ".pyd")
            if path.is_file() and not linked and not built and "__pycache__" not in relative.parts:
                found.add(f"{place}/{relative.as_posix()}")
    return found


def build(folder: Path, kind: str, **environment: str) -> Path:
    """A wheel or an sdist of a copy of the tree, in which nothing was compiled before."""
    copy = folder / "copy"
    leave = shutil.ignore_patterns("__pycache__", "*.so", "*.pyd")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=leave)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    command = ("-m", "build", f"--{kind}", "--no-isolation", "--outdir", str(folder), str(copy))
    done = run(*command, folder=folder, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = (path for path in folder.iterdir() if path.is_file())
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("wheel"), "wheel")


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    target = wheel.parent / "installed"
    done = run(
        "-m", "pip", "install", "--no-deps", "--no-index", "--target", str(target), str(wheel), folder=wheel.parent
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return target


def test_setup_lists_every_package_of_the_tree() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    packages = {file.rpartition("/")[0].replace("/", ".") for file in tree() if file.endswith("/__init__.py")}
    assert set(setup["options"]["packages"].split()) == packages


@pytest.mark.slow
def test_wheel_holds_the_tree_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    compiled = {name for name in held if name.endswith((".so", ".pyd"))}
    sources = {name for name in tree() if name.endswith((".c", ".h"))}
    assert held - compiled == tree() - sources
    assert all(name.startswith("mckp_quant/solvers/kernels/_compiled.") for name in compiled)
    if shutil.which("cc"):
        assert len(compiled) == 1
        assert "-cp311-abi3-" in wheel.name or sysconfig.get_config_var("Py_GIL_DISABLED")


@pytest.mark.slow
def test_without_a_compiler_numpy_does_the_work(tmp_path: Path) -> None:
    made = build(tmp_path, "wheel", CC="false", CXX="false")
    with zipfile.ZipFile(made) as archive:
        assert not [name for name in archive.namelist() if name.endswith((".so", ".pyd"))]
        archive.extractall(tmp_path / "installed")
    ask = "from mckp_quant import solvers; print(solvers.is_compiled())"
    done = run("-P", "-c", ask, folder=tmp_path, PYTHONPATH=str(tmp_path / "installed"))
    assert (done.stdout, done.stderr) == ("False\n", "")


@pytest.mark.slow
def test_sdist_holds_the_sources_of_the_kernels(tmp_path: Path) -> None:
    with tarfile.open(build(tmp_path, "sdist")) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "solvers/kernels").glob("*.[ch]")}
    assert sources
    assert sources <= held


def test_wheel_states_version_licence_commands_and_extras(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        read = {name.rpartition("/")[2]: name for name in archive.namelist() if ".dist-info/" in name}
        metadata = archive.read(read["METADATA"]).decode()
        commands = archive.read(read["entry_points.txt"]).decode()
    assert f"\nVersion: {mckp_quant.__version__}\n" in metadata
    assert re.search(r"\nLicense(-Expression)?: Apache-2.0\n", metadata)
    for extra in ("torch", "demo", "dev", "all"):
        assert f"\nProvides-Extra: {extra}\n" in metadata
    assert "mckp-quant = mckp_quant.cli:main" in commands


@pytest.mark.slow
def test_installed_package_is_whole_and_lean_away_from_the_checkout(installed: Path, tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
import mckp_quant
from mckp_quant import solvers
assert Path(mckp_quant.__file__).parent == Path(sys.argv[1]) / "mckp_quant", mckp_quant.__file__
assert Path(solvers.__file__).parent == Path(sys.argv[1]) / "mckp_quant" / "solvers", solvers.__file__
heavy = {"torch", "ortools", "pulp", "pandas", "matplotlib", "scipy.optimize"} & set(sys.modules)
assert not heavy, heavy
problem = solvers.Problem.from_table([[1.0, 0.0]], [[1, 2]], [1])
assert solvers.solve(problem).value == 1.0
"""
    done = run("-P", "-c", script, str(installed), folder=tmp_path, PYTHONPATH=str(installed))
    assert done.returncode == 0, done.stderr


def test_solvers_refuse_to_be_imported_under_another_name(installed: Path) -> None:
    for folder in (ROOT, installed / "mckp_quant"):
        done = run("-c", "import solvers", folder=folder)
        assert done.returncode == 1
        assert "ImportError: this package is mckp_quant.solvers, but it was imported as 'solvers'" in done.stderr
        assert "use 'from mckp_quant import solvers'" in done.stderr
