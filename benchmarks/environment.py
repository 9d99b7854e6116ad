"""When a figure was measured, with which versions, and on which processor."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
import subprocess
from functools import cache
from pathlib import Path

PACKAGES = ("numpy", "scipy", "ortools", "pulp", "pyscipopt")


@cache
def environment(packages: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """Date, commit, versions and processor, for a line of a CSV file."""
    versions = [f"python {platform.python_version()}"]
    for package in packages:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "date": str(datetime.datetime.now(datetime.UTC).date()),
        "commit": _commit(),
        "versions": "; ".join(versions),
        "processor": _processor(),
    }


def _commit() -> str:
    """The commit, with a plus where the checkout differs from it; empty outside a checkout."""
    command = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
