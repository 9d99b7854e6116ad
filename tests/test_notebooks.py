"""The notebooks run from top to bottom, in a folder of their own, and what their cells end with can be shown."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

import mckp_quant

NOTEBOOKS = Path(mckp_quant.__file__).parents[1] / "docs" / "notebooks"
NEEDS = {
    "cnn_to_onnx": ("torch", "safetensors", "onnx", "onnxscript", "onnxruntime"),
    "language_model": ("torch", "safetensors", "transformers", "compressed_tensors"),
    "solver_from_csv": (),
}


def cells(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    return found


def run(name: str) -> list[Any]:
    """Execute the cells one after another in one namespace; what those that end with an expression are worth."""
    names: dict[str, Any] = {}
    shown = []
    for cell in cells(name):
        if cell["cell_type"] == "code":
            tree = ast.parse("".join(cell["source"]))
            last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, name, "exec"), names)
            if isinstance(last, ast.Expr):
                shown.append(eval(compile(ast.Expression(last.value), name, "eval"), names))
    return [each for each in shown if each is not None]


def test_every_notebook_is_known_here() -> None:
    assert {path.stem for path in NOTEBOOKS.glob("*.ipynb")} == set(NEEDS)


@pytest.mark.parametrize("name", NEEDS)
def test_notebooks_are_stored_without_outputs(name: str) -> None:
    for cell in cells(name):
        assert not cell.get("outputs"), f"{name}: clear all outputs before you commit; the site makes them"
        assert cell.get("execution_count") is None


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if "torch" in needs else ()) for name, needs in NEEDS.items()]
)
def test_a_notebook_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in NEEDS[name]:
        pytest.importorskip(package, reason=f"the notebook {name} needs {package}")
    monkeypatch.chdir(tmp_path)
    shown = run(name)
    assert len(shown) >= 3
    assert all(each._repr_html_().startswith("<div") for each in shown)


def test_the_solver_notebook_needs_no_torch() -> None:
    source = "\n".join("".join(cell["source"]) for cell in cells("solver_from_csv") if cell["cell_type"] == "code")
    imported = {
        getattr(node, "module", None) or node.names[0].name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, (ast.Import, ast.ImportFrom))
    }
    assert imported == {"csv", "pathlib", "numpy", "mckp_quant.solvers"}  # which load no torch: test_architecture
