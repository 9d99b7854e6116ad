"""When, with what and on what a figure was measured; and the pages that show such figures."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def between_markers(path: Path, name: str, text: str) -> str:
    """The page with the part between its markers of that name replaced."""
    start, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    head, found, rest = path.read_text(encoding="utf-8").partition(start)
    if not found or end not in rest:
        raise SystemExit(f"{path}: the page has no part between {start} and {end}")
    inside = text.strip("\n")  # a first line that is indented stays so
    return f"{head}{start}\n\n{inside}\n\n{end}{rest.partition(end)[2]}"


def table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A markdown table; all columns but the first are aligned right."""
    lines = [headings, ("---", *["---:"] * (len(headings) - 1)), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
