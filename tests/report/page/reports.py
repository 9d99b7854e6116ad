"""Tables, policies and what was found out about them, for the tests of the report."""

from __future__ import annotations

from typing import Any

import numpy as np

from mckp_quant import Allocation, Layer, SensitivityTable, allocate
from mckp_quant.formats.format import as_formats
from mckp_quant.report.page import ReportData, report_data

EVIL = (
    "<script>alert('x')</script>",
    "</style></script><img src=x onerror=alert(1)>",
    "a\N{RIGHT-TO-LEFT OVERRIDE}gnp.exe\x1b[31m",
    'quote" onmouseover="alert(1)&amp;',
    "pipe|*star*`tick`[link](#x)",
)


def table_of(n_layers: int = 4, formats: str = "w2,w3,w4,w8", names: tuple[str, ...] = ()) -> SensitivityTable:
    """Losses that fall with the bits, in layers of unequal size."""
    rng = np.random.default_rng(3)
    found = as_formats(formats)
    layers = tuple(
        Layer(names[at] if at < len(names) else f"blocks.{at}.conv", "conv2d", (8, 100 * (at % 5 + 1)), 8, 1000)
        for at in range(n_layers)
    )
    bits = np.array([entry.weight_bits for entry in found])
    loss = rng.uniform(0.1, 1, (n_layers, 1)) * 4.0**-bits * rng.uniform(0.9, 1.1, (n_layers, len(found)))
    return SensitivityTable(layers, found, loss, 0.1 * loss, method="gauss_newton", samples=64, rounder="nearest")


def allocation_on(table: SensitivityTable) -> Allocation:
    """The best policy at half of the bytes."""
    return allocate(table, {"weight_bytes": "50%"})


def validation_of(allocation: Allocation, *, alone: bool = True) -> dict[str, Any]:
    """A document as `validate` prints it."""
    policy = allocation.policy
    stored, predicted = policy.costs["weight_bytes"], policy.predicted
    rows = [("float", 4 * policy.n_weights, None, 0.0, 0.99), ("uniform w3, same rounder", stored, 0.02, 0.03, 0.97)]
    rows.append(("policy", stored, predicted, 1.1 * predicted, 0.98))
    layers = [
        {"layer": name, "format": entry.name, "predicted": 1e-3, "measured": 1.5e-3 * (at + 1), "stderr": 1e-5}
        for at, (name, entry) in enumerate(zip(policy.layer_names, policy.formats, strict=True))
    ]
    return {
        "verdict": "the prediction holds within its error",
        "samples": 128,
        "rows": [
            {
                "name": name,
                "weight_bytes": size,
                "predicted": each,
                "predicted_stderr": None,
                "kl": kl,
                "kl_stderr": 0.1 * kl,
                "loss": 0.5 + kl,
                "loss_stderr": 0.01,
                "accuracy": accuracy,
                "accuracy_stderr": 0.01,
                "kl_difference": None if name == "policy" else 0.5,
                "kl_difference_stderr": None if name == "policy" else 0.1,
            }
            for name, size, each, kl, accuracy in rows
        ],
        "carriers": {"layers": layers, "together": 0.25} if alone else None,
    }


def stability_of(allocation: Allocation, table: SensitivityTable) -> dict[str, Any]:
    """A document as `stability` prints it: each layer keeps its format in three draws of four."""
    policy = allocation.policy
    formats = {name: entry.name for name, entry in zip(policy.layer_names, policy.formats, strict=True)}
    other = table.format_names[0]
    figures = {"predicted": 1.0, "best": 0.6, "expected_regret": 0.01, "worst_regret": 0.02}
    return {
        "verdict": "the policy is the best one in most draws",
        "draws": 200,
        "distinct": 7,
        "resampled": "batches",
        "nominal": {"formats": formats, **figures},
        "robust": {"formats": formats, **figures},
        "layers": [
            {"layer": name, "kept": 0.75, "shares": {other: 0.25} | {own: 0.75 if own != other else 1.0}}
            for name, own in formats.items()
        ],
    }


def finished_of(allocation: Allocation) -> dict[str, Any]:
    """A document as `finish` writes it."""
    policy = allocation.policy
    figures = {"before": 0.02, "before_stderr": 0.002, "after": 0.01, "after_stderr": 0.001}
    return {
        "policy": policy.document(),
        "decided": {"codes": "in order", **figures, "gained": 0.01, "gained_stderr": 0.001, "held_back": 32},
    }


def full_report(table: SensitivityTable | None = None, **more: Any) -> ReportData:
    """A report with every part."""
    measured = table_of() if table is None else table
    found = allocation_on(measured)
    parts: dict[str, Any] = {
        "validation": validation_of(found),
        "stability": stability_of(found, measured),
        "finished": finished_of(found),
        "front": [(900, 0.01), (600, 0.05), (1400, 0.001)],
        "recipe": "formats = 'w2'",
        "provenance": {"seed": 3},
        "name": "a network",
    }
    return report_data(measured, found, **parts | more)
