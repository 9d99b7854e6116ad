"""Policies of other tools beside those of mckp-quant: the same networks, formats and bytes, one judge.

    python -m benchmarks.policies.rivals run --environments FOLDER [--data FOLDER] [--tool NAME,NAME]
        [--network NAME,NAME] [--csv FILE]
    python -m benchmarks.policies.rivals page [--csv FILE] [--page docs/comparison.md]

`run` makes an environment for each tool in the folder (with pip; one that is there is used), asks the tool there for
its policy of each network at each size, and judges its weights here: bytes by the rule of mckp-quant, KL from the float
network on inputs that no tool has seen, seconds of one core. Beside them it judges uniform bits and the exact policy of
mckp-quant, of weights rounded to nearest and by GPTQ, for the same layers, formats and bytes. It adds to the CSV what
is not there yet. FOLDER after --data is that of `benchmarks.policies.networks`; without it the demo network runs alone.
`page` writes the tables of the page.

    python -m benchmarks.policies.rivals run --environments FOLDER --tool modelopt --network demo
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ...command_line import Command, WrongInput, require_file, say
from ...environment import environment
from ...pages import DOCS, RESULTS, append_rows, read_rows
from ..networks import FILES, require_data
from ..rounding import split
from .environments import answer_of, python_of
from .judging import OWN, Court, Judged
from .page import write_page
from .tools import TOOLS
from .workers.job import Job, write_job

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence
    from fractions import Fraction

    from .tools import Tool
    from .workers.job import Answer

FIELDS = (
    *("network", "average", "menu", "tool", "policy", "weight_bytes", "kl", "kl_stderr", "accuracy", "seconds"),
    *("formats", "note", "version", "date", "commit", "versions", "processor"),
)
NETWORKS = ("demo", "resnet20", "chargpt")
NOT_RUN = "not run"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, or write the page; 0."""
    command = Command(__doc__, ("run", "page"))
    command.folder("--data", help="the networks and their data")
    command.folder("--environments", help="where the environment of each tool is, or is made")
    command.several("--tool", str, ",".join(TOOLS), f"some of {', '.join(TOOLS)}", "NAME,NAME")
    command.several("--network", str, None, f"some of {', '.join(NETWORKS)}", "NAME,NAME")
    command.file("--csv", RESULTS / "rivals.csv", "the results")
    command.file("--page", DOCS / "comparison.md", "the page to fill")
    return command.run(arguments, _run)


def _run(options: argparse.Namespace) -> int:
    if options.action == "page":
        require_file("--csv", options.csv, "benchmarks.policies.rivals run")
        write_page(read_rows(options.csv), options.page)
        return 0
    torch.set_num_threads(1)
    networks = options.network or (NETWORKS if options.data is not None else NETWORKS[:1])
    for option, given, known in (("--tool", options.tool, TOOLS), ("--network", networks, NETWORKS)):
        if unknown := [name for name in given if name not in known]:
            raise WrongInput(f"{option} {unknown[0]} is unknown: give some of {', '.join(known)}")
    if options.environments is None:
        raise WrongInput("--environments is missing: name a folder for the environments of the tools")
    require_data(options.data, (file for name in networks for file in FILES.get(name, ())))
    for network in networks:
        court: Court | None = None
        for tool in (TOOLS[name] for name in options.tool):
            court = court or Court(split(network, options.data, 0))
            for row in rows(tool, court, options.data, options.environments, options.csv):
                append_rows(options.csv, FIELDS, [row])
    return 0


def known_of(path: Path) -> set[tuple[str, ...]]:
    """What the results hold already."""
    return {tuple(row[key] for key in ("network", "average", "menu", "tool", "policy")) for row in read_rows(path)}


def rows(tool: Tool, court: Court, data: Path | None, environments: Path, path: Path) -> Iterator[dict[str, object]]:
    """The lines of one tool and network that the results lack, those of mckp-quant for the same sizes last."""
    network, where = court.case.name, environment(("torch", "numpy"))
    if network not in tool.networks:
        if (network, "", tool.menu, tool.name, NOT_RUN) not in known_of(path):
            yield {
                **{"network": network, "menu": tool.menu, "tool": tool.name, "policy": NOT_RUN},
                **{"note": tool.not_run[network], "version": tool.packages[0].replace("==", " "), **where},
            }
        return
    for average in tool.averages:
        shown = f"{float(average):g}"
        for method in tool.policies(average):
            if (network, shown, tool.menu, tool.name, method) in known_of(path):
                continue
            about = {"network": network, "average": shown, "menu": tool.menu, "tool": tool.name, "policy": method}
            python = python_of(environments, tool)
            try:
                found = court.judge(method, asked(tool, court, average, method, data, python))
            except WrongInput as error:
                # What a tool cannot do is a result too; a later run asks again where its line is taken out.
                say(str(error))
                yield {**about, "note": str(error), "version": tool.packages[0].replace("==", " "), **where}
                continue
            say(f"{network}, {shown} bits: {tool.name}, {method}: KL {found.found.kl:.5f}, {found.seconds:.0f} s")
            yield {**about, **line(found), **where}
        if (network, shown, tool.menu, OWN, "exact, gptq, finished") not in known_of(path):
            for found in court.own(tool.menu, average):
                if (network, shown, tool.menu, OWN, found.policy) in known_of(path):
                    continue
                about = {"network": network, "average": shown, "menu": tool.menu, "tool": OWN, "policy": found.policy}
                yield {**about, **line(found), **where}


def asked(tool: Tool, court: Court, average: Fraction, method: str, data: Path | None, python: Path) -> Answer:
    """Ask a tool for one policy, with the Python of its environment."""
    case = court.case
    job = Job(
        case.name,
        str(data.resolve()) if data is not None else "",
        court.names,
        tool.bits,
        float(average),
        method,
        len(case.calibration[0]),
    )
    with tempfile.TemporaryDirectory() as folder:
        write_job(Path(folder), job, torch.cat(case.calibration), torch.cat(list(case.targets)))
        return answer_of(python, tool, Path(folder))


def line(found: Judged) -> dict[str, object]:
    """What the results hold of a judged policy."""
    return {
        **{"weight_bytes": found.weight_bytes, "kl": found.found.kl, "kl_stderr": found.found.kl_stderr},
        **{"accuracy": found.found.accuracy, "seconds": round(found.seconds, 1)},
        **{"formats": " ".join(found.formats), "version": found.version},
    }


if __name__ == "__main__":
    raise SystemExit(main())
