"""The command that says what works here, why the rest does not, and what to type: doctor."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.text import Text

from ..._version import __version__
from ...common.documents import PREFIX
from ...report.text import BLANK, table_of
from ..console import progress, show, show_json
from ..options import JsonOption
from .packages import FOUND, PACKAGES, look_at
from .parts import parts_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .packages import Package
    from .parts import Part

_KINDS = {"solver": "solvers", "kernels": "compiled kernels", "rounder": "rounders", "target": "export targets"}


def doctor(
    thorough: Annotated[
        bool, typer.Option("--thorough", help="Import the packages too whose import takes seconds.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Say which solvers, rounders and export targets work here, why others do not, and what to type.

    Exit code 1 if a package that always comes along cannot be used.
    """
    with progress("importing packages") as report:
        packages = look_at(PACKAGES, thorough=thorough, progress=report)
    parts = parts_of(packages)
    if json:
        show_json(_document(packages, parts))
    else:
        show(_text(packages, parts))
    if any(not package.usable and not package.asked.extra for package in packages):
        raise typer.Exit(1)


def _machine() -> dict[str, str]:
    return {
        "mckp_quant": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processors": str(os.cpu_count()),
    }


def _document(packages: Sequence[Package], parts: Sequence[Part]) -> dict[str, Any]:
    listed = [
        {
            "name": each.asked.distribution,
            "version": each.version or None,
            "state": each.state,
            "extra": each.asked.extra or None,
            "reason": each.reason or None,
        }
        for each in packages
    ]
    made_of = [
        {"kind": each.kind, "name": each.name, "works": each.works, "reason": each.reason or None} for each in parts
    ]
    return {"schema": f"{PREFIX}/doctor/1", **_machine(), "packages": listed, "parts": made_of}


def _text(packages: Sequence[Package], parts: Sequence[Part]) -> Group:
    machine = _machine()
    head = f"mckp-quant {machine['mckp_quant']}, Python {machine['python']}, {machine['system']}, "
    rows = [(each.asked.distribution, each.version or "-", each.state, each.asked.purpose) for each in packages]
    lines = []
    for kind, name in _KINDS.items():
        lines += _lines(name, [each for each in parts if each.kind == kind])
    named = {part.reason for part in parts}
    lines += [each.reason for each in packages if each.reason and each.reason not in named]
    if any(each.state == FOUND for each in packages):
        lines.append("found: it is there, but was not imported; 'mckp-quant doctor --thorough' does that")
    return Group(
        Text(f"{head}{machine['processors']} processors"),
        BLANK,
        table_of(("package", "version", "here", "for"), rows, left=4),
        BLANK,
        Text("\n".join(lines)),
    )


def _lines(kind: str, parts: Sequence[Part]) -> list[str]:
    """What works of a kind in one line, and a line for each reason why others do not."""
    if len(parts) == 1:
        return [f"{kind}: {parts[0].reason or 'work here'}"]
    work = [each.name for each in parts if each.works]
    lines = [f"{kind} that work here: {', '.join(work) or 'none'}"]
    for reason in dict.fromkeys(each.reason for each in parts if not each.works):
        names = ", ".join(each.name for each in parts if each.reason == reason)
        lines.append(f"- not {names}: {reason}")
    return lines
