"""When a figure was measured, at which commit, with which versions, and on which processor."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

from mckp_quant.bench.environment import PACKAGES
from mckp_quant.bench.environment import environment as measured_with


@cache
def environment(packages: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """Date, commit, versions and processor, for a line of a CSV file."""
    facts = measured_with(packages)
    return {"date": facts.pop("date"), "commit": _commit(), **facts}


def _commit() -> str:
    """The commit, with a plus where the checkout differs from it; empty outside a checkout."""
    command = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
