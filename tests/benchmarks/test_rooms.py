"""Which modules of the benchmarks import which: no circles, and no PyTorch beside the solvers."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys

from benchmarks.pages import ROOT

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / "benchmarks").rglob("*.py")
}


def imported(name: str) -> set[str]:
    """The modules of the benchmarks that a module imports, for types or at run time."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = ".".join([*name.split(".")[: -node.level], *filter(None, [node.module])])
            inside = {f"{base}.{each.name}" for each in node.names} & set(MODULES)
            found |= inside or {base}
        elif isinstance(node, ast.ImportFrom):
            assert not (node.module or "").startswith("benchmarks"), f"{name}: imports inside a package are relative"
    return found


def test_no_import_makes_a_circle() -> None:
    modules = {name: imported(name) for name in MODULES}
    assert modules["benchmarks.policies.held_out"] >= {"benchmarks.pages", "benchmarks.policies.held_out_page"}
    rooms: dict[str, set[str]] = {}
    for name, others in modules.items():
        own = rooms.setdefault(room(name), set())
        own |= {room(other) for other in others} - {room(name)}
    for graph in (modules, rooms):
        list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError
    assert rooms["benchmarks"] == set()
    assert rooms["benchmarks.solvers"] == {"benchmarks"}


def room(name: str) -> str:
    """The package that a module lies in."""
    return name if name.count(".") == 0 or MODULES[name].stem == "__init__" else name.rpartition(".")[0]


def test_the_benchmarks_of_solvers_run_without_torch() -> None:
    names = [name for name in MODULES if name.startswith("benchmarks.solvers.")]
    script = f"import importlib, sys; sys.modules['torch'] = None; [importlib.import_module(each) for each in {names}]"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
