"""Who may import whom: the table of the architecture as data, checked against the source."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

import mckp_quant
from mckp_quant import cli, demo, export, search, solvers, tables

ROOT = Path(mckp_quant.__file__).parents[1]

# A module may import, at run time, from the lines above its own and from nothing else. A new module needs a place here.
SOLVERS = (
    "solvers.errors",
    "solvers.backends solvers.core_search",
    "solvers.arrays solvers.backends.interrupt",
    "solvers.pairs",
    "solvers.rows solvers.checks",
    "solvers.problem solvers.states",
    "solvers.files",
    "solvers.normal",
    "solvers.hull solvers.lagrangian solvers.thinning solvers.core_search.partial solvers.core_search.pairing",
    "solvers.price solvers.dominance",
    "solvers.solution solvers.incumbent solvers.bound solvers.families",
    "solvers.lattice solvers.relative",
    "solvers.reduce solvers.pareto solvers.instances",
    "solvers.regrets",
    "solvers.core_search.remaining solvers.core_search.combinations",
    "solvers.core_search.dynamic solvers.backends.core_model solvers.core_search.tails solvers.chain",
    "solvers.backends.gap_units",
    "solvers.backends.solving",
    "solvers.core_search.lists solvers.core_search.halves solvers.chain_search solvers.backends.row_model",
    "solvers.backends.milp",
    "solvers.greedy solvers.relax solvers.evolve",
    "solvers.backends.cp_sat solvers.backends.highs solvers.backends.pulp_milp solvers.backends.scip",
    "solvers.core_search.one_budget solvers.core_search.several",
    "solvers.exact",
    "solvers.certify",
    "solvers.pairwise_dual solvers.pairwise_moves",
    "solvers.pairwise_search",
    "solvers.pairwise",
    "solvers.monotone",
    "solvers.asking",
    "solvers._solve",
    "solvers.dual solvers.partition solvers.resolving solvers.shortfall",
    "solvers.explanation solvers.ranking",
    "solvers",
)
TABLES_TO_POLICIES = (
    "_version errors",
    "files layers units schemes whole_numbers",
    "array_files ranges",
    "formats sensitivity cost_tables storage peaks",
    "sensitivity.table",
    "tables.findings tables.repair tables.schemas tables.activation_files",
    "tables.cells tables.headings",
    "tables.rough tables.facts",
    "tables.settling tables.records",
    "tables.csv_files tables.npz_files tables.published",
    "tables.objects tables.cost_files tables.reading",
    "tables",
    "capabilities grouping request",
    "costs",
    "choices conversions activations",
    "structure experts",
    "pricing builder policy_document",
    "policy explanation",
    "allocation repricing",
    "several_targets",
    "comparison truth truth.cross_validation truth.resampling truth.regret truth.sanity truth.refined truth.stable",
    "truth.stability truth.quadratic truth.correction truth.proposals",
)
NETWORKS = (
    "rounding targets",
    "input_rounding",
    "batches quantizers sensitivity._statistics sensitivity._contract weight_uses",
    "discovery sensitivity._dense_outputs sensitivity._cache calibration",
    "sensitivity._streaming",
    "sensitivity._menu sensitivity._joint sensitivity._arguments",
    "tracing sensitivity.likelihood sensitivity._estimator",
    "sensitivity._whole_gradients",
    "sensitivity._taps sensitivity._labels sensitivity._second_order sensitivity._replay sensitivity._run scores",
    "sensitivity._measured sensitivity._checkpoint sensitivity._traces",
    "sensitivity.gauss_newton sensitivity.empirical_fisher sensitivity.first_order",
    "sensitivity.hessian_form sensitivity.hutchinson sensitivity.hutch_plus_plus",
    "sensitivity.measured_kl sensitivity.measured_loss",
    "sensitivity.metric sensitivity.weight_mse",
    "sensitivity.sqnr",
    "sensitivity._measure simulation",
    "evaluation planning huggingface",
    "truth.carriers truth.cross_layer truth.expansion",
    "validation truth.racing truth.measuring",
    "truth.rounds",
    "truth.refinement",
    "search.space search.separability search.divergence",
    "search.fitness search.objective search.relaxed_budgets search.interpolation search.matching search.training",
    "search.task",
    "search.random_policies search.evoq search.level_switch search.progressive search.differentiable",
    "search.emq",
    "search._search",
    "search.contest",
    "search",
    "demo.digits demo.network",
    "demo demo.train",
)
EXPORTS = (
    "export.records export.contract export.naming export.codes",
    "export.sources",
    "export.onnx_graph export.gguf_blocks",
    "export.from_compressed_tensors export.from_gguf export.from_onnx export.from_torchao",
    "export.to_compressed_tensors export.to_gguf export.to_onnxruntime export.to_onnxruntime_nbits",
    "export.to_torchao export.to_json",
    "export.to_huggingface export.importing export.auditing",
    "export._export",
    "export",
)
OUTSIDE = (
    "report report.text",
    "report.measured report.planned report.exported report.truth report.searched",
    "cli.console cli.options cli.load",
    "cli.networks",
    "cli.searching",
    "cli.demonstration cli.solving",
    "cli.measuring cli.exporting cli.truth",
    "cli.entry",
    "cli",
    "__main__ __init__",
)
TIER = {
    name: tier
    for tier, line in enumerate((*SOLVERS, *TABLES_TO_POLICIES, *NETWORKS, *EXPORTS, *OUTSIDE))
    for name in line.split()
}
USES_TORCH = {name for line in NETWORKS for name in line.split()} | {"export.codes", "export.sources"}
CALLS_TORCH = {  # inside functions only
    "cli.measuring",
    "cli.demonstration",
    "cli.exporting",
    "cli.load",
    "cli.networks",
    "cli.searching",
    "cli.truth",
    "export._export",
    "export.from_compressed_tensors",
    "export.onnx_graph",
    "export.to_compressed_tensors",
    "export.to_gguf",
    "export.to_json",
    "export.to_onnxruntime",
    "export.to_onnxruntime_nbits",
    "export.to_torchao",
}
WITHIN_A_LINE = {("demo.train", "demo"), ("sensitivity.likelihood", "sensitivity._estimator")}
THIRD_PARTY = {
    "solvers": {"numpy"},
    "cli": {"numpy", "rich", "typer"},
    "report": {"rich"},
    "networks": {"numpy", "torch"},
}
HEAVY = "torch ortools pulp pandas matplotlib scipy.optimize sklearn safetensors"


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


IMPORTS = [each for source in sorted(MODULES) for each in imports_of(source)]


def test_every_module_has_its_place_in_the_table() -> None:
    assert set(MODULES) - set(TIER) == set(), "new modules: give each a place in the lines above"
    assert set(TIER) - set(MODULES) == set(), "these modules are gone: take them out of the lines above"


def test_modules_import_only_what_stands_above_them() -> None:
    wrong = [
        f"{each.source} imports {each.target}"
        for each in IMPORTS
        if each.ours
        and not each.typing
        and TIER.get(each.target, 0) >= TIER.get(each.source, 99)
        and (each.source, each.target) not in WITHIN_A_LINE
    ]
    assert wrong == []


def test_solvers_know_nothing_of_networks_not_even_their_types() -> None:
    targets = {each.target for each in IMPORTS if each.source.startswith("solvers") and each.ours}
    assert {target for target in targets if not target.startswith("solvers")} == set()


def test_networks_use_solvers_by_their_public_names() -> None:
    used = {each.target for each in IMPORTS if each.ours and not each.source.startswith("solvers")}
    assert {name for name in used if name.startswith("solvers")} == {"solvers", "solvers.errors"}


def test_torch_is_used_only_where_the_table_says() -> None:
    for each in IMPORTS:
        if each.typing or each.source in USES_TORCH or each.source == "__init__":
            continue
        if each.target in USES_TORCH - {"sensitivity"} or each.target == "torch":
            assert each.inside, f"{each.source} imports {each.target} at its top"
            assert each.source in CALLS_TORCH, f"{each.source} imports {each.target}"


def test_other_packages_are_imported_only_where_they_belong() -> None:
    for each in IMPORTS:
        if each.ours or each.typing or each.target in sys.stdlib_module_names:
            continue
        kind = each.source.partition(".")[0]
        kind = "networks" if each.source in USES_TORCH else kind if kind in THIRD_PARTY else "plain"
        allowed = THIRD_PARTY.get(kind, {"numpy"})
        if each.inside:
            allowed = allowed | {"scipy", "ortools", "pulp"} if kind == "solvers" else allowed | {"torch"}
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
    plain = [name for name in MODULES if name not in USES_TORCH | {"__init__", "__main__"}]
    assert loaded_after("\n".join(f"import mckp_quant.{name}" for name in plain)) == set()


PACKAGES = (mckp_quant, solvers, cli, demo, export, search, tables)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_public_names_survive_the_import_of_every_module(package: ModuleType) -> None:
    before = {name: getattr(package, name) for name in package.__all__}
    for found in pkgutil.walk_packages(mckp_quant.__path__, "mckp_quant."):
        importlib.import_module(found.name)
    for name, entry in before.items():
        assert getattr(package, name) is entry, f"{package.__name__}.{name}"
        assert not isinstance(entry, ModuleType), f"{package.__name__}.{name} is a module"


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_surface_is_documented_and_complete(package: ModuleType) -> None:
    assert package.__doc__
    assert set(package.__all__) <= set(dir(package))
    for name in package.__all__:
        assert name == "__version__" or getattr(package, name).__doc__, name


def test_names_that_do_not_exist_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="module 'mckp_quant' has no attribute 'alocate'"):
        mckp_quant.alocate  # noqa: B018
