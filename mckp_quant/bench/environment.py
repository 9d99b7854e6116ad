"""When a figure was measured, with which versions, and on which processor."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
from pathlib import Path

PACKAGES = ("numpy", "scipy", "ortools", "pulp", "pyscipopt")


def environment(packages: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """Date, versions and processor, for a line of a CSV file."""
    versions = [f"python {platform.python_version()}"]
    for package in packages:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "date": str(datetime.datetime.now(datetime.UTC).date()),
        "versions": "; ".join(versions),
        "processor": _processor(),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
