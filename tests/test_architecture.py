"""Who may import whom: the rooms of the house as a table, checked against the source; type-only imports count."""

from __future__ import annotations

import ast
import functools
import graphlib
import importlib
import pkgutil
import re
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pytest

import mckp_quant

ROOT = Path(mckp_quant.__file__).parents[1]

# A room, and the rooms that it may import; `solvers` stands for the public names of the solvers.
TABLE = """
errors: solvers
_version:
common: errors solvers
layers: common errors
formats: common errors layers
network: common errors formats layers
tables: common errors formats layers
rounding: common errors formats layers network
costs: common errors formats layers tables
sensitivity: _version common errors formats layers network rounding tables
onnx_models: common errors formats layers network tables
policy: _version common costs errors formats layers tables
allocation: common costs errors formats layers policy tables solvers
evaluation: common errors formats layers network policy rounding tables
stability: allocation common errors policy tables solvers
interactions: allocation common errors formats network rounding sensitivity tables solvers
tuning: common errors evaluation formats layers network policy rounding
demo: common network
bench: ALLOCATING
refinement: tuning evaluation interactions rounding network sensitivity stability layers formats ALLOCATING
trade_off: evaluation rounding network costs formats ALLOCATING
search: tuning evaluation refinement rounding network sensitivity layers formats ALLOCATING
timing: export onnx_models rounding network tables policy layers formats errors common
export: onnx_models costs evaluation rounding network layers formats ALLOCATING
pipeline: report export refinement tuning evaluation sensitivity rounding network costs formats _version ALLOCATING
report: export trade_off search refinement tuning evaluation interactions stability sensitivity rounding costs SHOWN
cli: bench pipeline report export trade_off search refinement tuning evaluation interactions stability network demo MORE
solvers.errors: system
solvers.system:
solvers.display:
solvers.kernels:
solvers.problem: display errors kernels system
solvers.answer: problem
solvers.families: errors problem
solvers.bounds: answer errors kernels problem system
solvers.core: bounds kernels problem
solvers.solution: answer bounds core display errors problem
solvers.certify: answer bounds core errors problem solution
solvers.assembling: answer certify problem solution
solvers.watching: answer bounds certify errors problem
solvers.backends: answer bounds core errors problem system watching
solvers.core_search: answer backends bounds core errors kernels problem watching
solvers.methods: answer bounds certify core core_search errors problem watching
solvers.chains: answer bounds certify core errors methods problem solution
solvers.pairwise: answer bounds certify core errors methods problem solution
solvers.calling: answer bounds certify core errors methods problem solution watching
solvers.instances: errors families problem
solvers.witness: answer backends bounds errors methods problem
solvers.front_door: answer backends bounds calling certify chains errors methods pairwise problem solution FRONT
solvers.questions: answer bounds certify core core_search display errors front_door kernels methods problem solution
"""
ALLOCATING = "allocation common errors policy tables solvers"
SHOWN = f"_version timing layers formats {ALLOCATING}"
FRONT = "assembling watching witness"
MORE = f"_version timing onnx_models rounding costs sensitivity layers formats {ALLOCATING}"


def read(table: str) -> dict[str, set[str]]:
    rows = [
        row.partition(":")
        for row in table.replace("FRONT", FRONT)
        .replace("MORE", MORE)
        .replace("SHOWN", SHOWN)
        .replace("ALLOCATING", ALLOCATING)
        .split("\n")
        if row
    ]
    return {name: set(others.split()) for name, _, others in rows}


ROOMS = read(TABLE)
TOP = {"__init__", "__main__", "_version", "errors", "layers"}  # modules that stand beside the rooms
NEEDS_TORCH = {
    "network",
    "onnx_models",
    "rounding",
    "sensitivity",
    "evaluation",
    "interactions",
    "refinement",
    "tuning",
    "search",
    "trade_off",
    "demo",
    "pipeline",
}
# Of other rooms.
TORCH_AT_THE_TOP = {
    *("export.banks", "export.codes", "export.experts", "export.sources", "export.readers.gguf_orders"),
}
PLAIN_DATA = {  # of such rooms, read without torch
    *("onnx_models.lifting", "onnx_models.weights"),
    *("interactions.face", "interactions.form", "interactions.shrinkage", "refinement.result"),
    *("pipeline.recipes", "pipeline.recipes.recipe", "pipeline.recipes.document", "pipeline.recipes.keys"),
    *("pipeline.recipes.text", "pipeline.recipes.toml_values", "pipeline.settings", "pipeline.state"),
    *(f"trade_off.{name}" for name in ("fronts", "limits", "line", "point", "questions", "result", "walking")),
}
THIRD_PARTY = {"cli": {"numpy", "rich", "typer"}, "report": {"numpy", "rich"}, "solvers": {"numpy"}}
DISPLAY = ("axes", "faces", "figures", "markup", "staircase")  # how results look, written once
HEAVY = "torch ortools pulp pandas matplotlib scipy.optimize sklearn safetensors"
FILES = 14  # in a room, flat
PARAMETERS = 10


@dataclass(frozen=True)
class Import:
    """One import of one module: of ours by its name below mckp_quant, of others by their first name."""

    source: str
    target: str
    ours: bool
    inside: bool
    typing: bool


def names() -> dict[str, Path]:
    """Every module of the project, by its name below mckp_quant."""
    found = {"__init__": ROOT / "mckp_quant" / "__init__.py"}
    for package, folder in (("solvers.", ROOT / "solvers"), ("", ROOT / "mckp_quant")):
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            if package or parts[0] not in {"solvers", "__init__"}:
                found[(package + ".".join(parts)).removesuffix("__init__").removesuffix(".")] = path
    return found


MODULES = names()


def imports_of(source: str) -> list[Import]:
    path = MODULES[source]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = "" if source == "__init__" else source if path.name == "__init__.py" else source.rpartition(".")[0]
    found: list[Import] = []

    def visit(node: ast.AST, inside: bool, typing: bool) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            typing = True
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            inside = True
        if isinstance(node, ast.Import):
            for entry in node.names:
                found.append(Import(source, entry.name.partition(".")[0], False, inside, typing))
        elif isinstance(node, ast.ImportFrom):
            for target, ours in targets(node):
                found.append(Import(source, target, ours, inside, typing))
        for child in ast.iter_child_nodes(node):
            visit(child, inside, typing)

    def targets(node: ast.ImportFrom) -> list[tuple[str, bool]]:
        module = node.module or ""
        if not node.level:
            assert not module.startswith("mckp_quant"), (
                f"{source} imports {module}: inside the package write it relative"
            )
            return [(module.partition(".")[0], False)]
        parts = package.split(".")[: len(package.split(".")) - (node.level - 1)] if package else []
        base = ".".join([*parts, *([module] if module else [])])
        return [
            (name if (name := f"{base}.{entry.name}".lstrip(".")) in MODULES else base, True) for entry in node.names
        ]

    visit(tree, False, False)
    return found


@functools.cache
def imports() -> list[Import]:
    return [each for source in sorted(MODULES) for each in imports_of(source)]


def room(module: str) -> str:
    """The room that a module is in; of the solvers, the room within them."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "solvers" and len(parts) > 1 else parts[0]


def test_every_module_is_in_a_room_of_the_table() -> None:
    assert {room(name) for name in MODULES} - set(ROOMS) - {"__init__", "__main__", "solvers"} == set()
    assert set(ROOMS) - {room(name) for name in MODULES} == set(), "these rooms are gone: take them out of the table"
    top = {path.stem for path in (ROOT / "mckp_quant").glob("*.py")}
    assert top <= TOP, "give these a room"


def test_rooms_import_only_what_the_table_says() -> None:
    wrong = []
    for each in imports():
        source, target = room(each.source), room(each.target)
        if not each.ours or source == target or source in {"__init__", "__main__", "solvers"}:
            continue
        if source.startswith("solvers.") and target.startswith("solvers."):
            allowed = target.removeprefix("solvers.") in ROOMS[source]
        else:
            allowed = target.partition(".")[0] in ROOMS[source]
        if not allowed:
            wrong.append(f"{each.source} imports {each.target}")
    assert wrong == []


def test_no_circle_between_rooms_or_modules() -> None:
    rooms = {
        name: {f"solvers.{each}" if name.startswith("solvers.") else each for each in ROOMS[name]} for name in ROOMS
    }
    modules: dict[str, set[str]] = defaultdict(set)
    for each in imports():
        if each.ours:
            modules[each.source].add(each.target)
    for graph in (rooms, modules):
        list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError


def test_no_underscored_module_is_imported_from_another_room() -> None:
    hidden = [
        f"{each.source} imports {each.target}"
        for each in imports()
        if each.ours
        and each.target != "_version"
        and room(each.source) != room(each.target)
        and any(part.startswith("_") for part in each.target.split("."))
    ]
    assert hidden == []


def test_no_room_is_a_warehouse() -> None:
    flat: dict[Path, int] = defaultdict(int)
    for path in [*MODULES.values(), *(ROOT / "benchmarks").rglob("*.py")]:
        flat[path.parent] += 1
    assert {str(folder.relative_to(ROOT)): count for folder, count in flat.items() if count > FILES} == {}


def test_every_room_says_what_it_is_for() -> None:
    for path in (*(path for path in MODULES.values() if path.name == "__init__.py"), ROOT / "benchmarks/__init__.py"):
        said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        assert len(re.findall(r"\w[.:](?:\s|$)", said)) >= 1, path
        assert len(said) >= 60, path


def test_no_function_takes_more_parameters_than_a_reader_can_hold() -> None:
    many = []
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and room(name) != "cli":
                taken = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                count = len([each for each in taken if each.arg not in {"self", "cls"}])
                if count > PARAMETERS:
                    many.append(f"{name}.{node.name} takes {count}")
    assert many == []


def test_networks_use_solvers_by_their_public_names() -> None:
    used = {(each.source, each.target) for each in imports() if each.ours and not each.source.startswith("solvers")}
    deep = {(source, target) for source, target in used if target.startswith("solvers.")}
    assert deep == {  # what imports optional packages, and what opens files, is written once
        ("common.packages", "solvers.errors"),
        ("common.files", "solvers.system.reading"),
        *(("common.display", f"solvers.display.{name}") for name in DISPLAY),
        ("common.shown", "solvers.display.shown"),
        ("bench.problems", "solvers.instances"),  # generators are a public module, not names of the package
        ("common.files", "solvers.system.writing"),
    }


def test_torch_is_used_only_in_the_rooms_that_need_it() -> None:
    for each in imports():
        heavy = each.target == "torch" or (room(each.target) in NEEDS_TORCH and each.target not in PLAIN_DATA)
        plain = room(each.source) not in NEEDS_TORCH or each.source in PLAIN_DATA
        if each.typing or each.source == "__init__" or not heavy or not plain:
            continue
        assert each.inside or each.source in TORCH_AT_THE_TOP, f"{each.source} imports {each.target} at its top"


def test_other_packages_are_imported_only_where_they_belong() -> None:
    for each in imports():
        if each.ours or each.typing or each.target in sys.stdlib_module_names:
            continue
        kind = each.source.partition(".")[0]
        allowed = THIRD_PARTY.get(kind, {"numpy"})
        if kind in NEEDS_TORCH or kind == "export" or each.inside:
            allowed = allowed | {"torch"}
        if each.inside and kind == "solvers":
            allowed = {"numpy", "scipy", "ortools", "pulp"}
        assert each.target in allowed, f"{each.source} imports {each.target}"


def loaded_after(statement: str) -> set[str]:
    """Which of the heavy packages a fresh process holds after a statement."""
    script = f"import sys\n{statement}\nprint(*(name for name in {HEAVY.split()!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_and_the_solvers_loads_nothing_heavy() -> None:
    assert loaded_after("import mckp_quant, mckp_quant.solvers") == set()
    assert (
        loaded_after("from mckp_quant.solvers import solve, Problem; from mckp_quant import Policy, allocate") == set()
    )


def test_whatever_is_torch_free_loads_without_torch() -> None:
    plain = [
        name
        for name in MODULES
        if room(name) not in NEEDS_TORCH | {"__init__", "__main__"} and name not in TORCH_AT_THE_TOP
    ]
    assert loaded_after("\n".join(f"import mckp_quant.{name}" for name in [*plain, *sorted(PLAIN_DATA)])) == set()


def test_no_module_has_the_name_of_a_public_function_of_its_package() -> None:
    for package in sorted(name for name, path in MODULES.items() if path.name == "__init__.py"):
        found = importlib.import_module(f"mckp_quant.{package}".removesuffix(".__init__"))
        modules = {entry.name for entry in pkgutil.iter_modules(found.__path__)}
        assert modules & set(getattr(found, "__all__", ())) == set(), package


def test_names_that_do_not_exist_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="module 'mckp_quant' has no attribute 'alocate'"):
        mckp_quant.alocate  # noqa: B018
