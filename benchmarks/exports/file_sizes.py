"""Budgets of `file_bytes` against the files that exports write, for every target that writes one.

    python -m benchmarks.exports.file_sizes [--network demo,resnet20,decoder] [--target NAME,NAME] [--data FOLDER]
        [--page FILE]

For each network and target three budgets between the smallest file and the float one; the policy is exported, and the
files that hold the network are weighed on disk. Prints a markdown table, or writes it between the markers of a page.
Exit code 1 where a file is over its budget, or more than 2 % below what the menu allows. FOLDER is that of
`benchmarks.policies.networks`, for resnet20.
"""

from __future__ import annotations

import dataclasses
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import mckp_quant as mq
from mckp_quant.allocation.builder import build
from mckp_quant.export import Gguf, export, with_file_size
from mckp_quant.export.exporting import EXPORTERS
from mckp_quant.solvers import solve

from ..command_line import Command, say
from ..pages import fill, table
from ..policies.networks import FILES, load_networks, require_data

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from torch import nn

    from mckp_quant.tables.table import SensitivityTable

NETWORKS = ("demo", "resnet20", "decoder")
# The formats that are measured for each target.
MENUS = {
    **dict.fromkeys(("torchao", "hf_torchao"), "w4,w8"),
    **dict.fromkeys(("compressed_tensors", "hf"), "w2,w3,w4g32,w5,w6,w8"),
    **dict.fromkeys(("vllm", "sglang"), "w4,w4g32,w4g64,w8,w8g32,w8g64"),
    **dict.fromkeys(("gguf", "gguf_tensors"), "w4g32,w5g32,w8g32"),
    "onnxruntime": "w4,w8",
    "onnxruntime_nbits": "w2g32,w4g32,w8g32",
}
_OF_TRANSFORMERS = ("hf", "hf_torchao", "gguf")
_SHARES = (0.25, 0.5, 0.75)  # of the way from the smallest file to the float one
_CLOSE = 0.02


@dataclass(frozen=True)
class Row:
    """One export.

    Attributes
    ----------
    network, target
        What was exported.
    budget
        The budget in bytes.
    predicted
        What the policy says that the file takes at most.
    on_disk
        What it takes.
    menu
        The most that any policy within the budget would take.
    """

    network: str
    target: str
    budget: int
    predicted: int
    on_disk: int
    menu: int

    @property
    def good(self) -> bool:
        """Whether the file is within the budget, and no more than 2 % below what the menu allows."""
        return self.on_disk <= self.budget and self.on_disk >= (1 - _CLOSE) * self.menu


def decoder() -> nn.Module:
    """A Llama of four blocks, with weights drawn from a seed."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=96,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=False,
    )
    made: Any = LlamaForCausalLM(config)
    made.eval()
    return made  # type: ignore[no-any-return]


def measured(model: nn.Module, batch: Any, target: str, source: Any) -> SensitivityTable:
    """A table of squared errors, which knows the file of the target."""
    found = mq.measure(model, [batch], formats=MENUS[target], method="weight_mse").with_float()
    return with_file_size(found, target, model=source, batches=[batch])


def rows(network: str, model: nn.Module, batch: Any, target: str, folder: Path) -> list[Row]:
    """Export under three budgets.

    Parameters
    ----------
    network
        The network's name.
    model, batch
        The network and an input.
    target
        The export target.
    folder
        Where files may be written.

    Returns
    -------
    rows
        One for each budget.
    """
    source: Any = model
    if target == "gguf":
        made = mq.measure(model, [batch], formats="w8", method="weight_mse").with_float()
        export(
            mq.Policy.uniform(made, "float"), Gguf("llama", tensors_only=True), model=model, output=folder / "source"
        )
        source = folder / "source" / "model.gguf"
    known = measured(model, batch, target, source)
    goal = EXPORTERS[target].capability
    assert goal is not None
    problem, index = build(known, {"file_bytes": "100%"}, target=goal)
    fixed = index.budgets[0].fixed
    most = index.budgets[0].whole
    least = fixed + sum(
        int(problem.cost[0, first:last].min()) for first, last in zip(problem.start, problem.start[1:], strict=False)
    )
    found = []
    for share in _SHARES:
        budget = round(least + share * (most - least))
        policy = mq.allocate(known, {"file_bytes": budget}, target=goal).policy
        batches = [batch] if target.startswith("onnx") else []
        report = export(policy, target, model=source, output=folder / f"{share}", batches=batches)
        on_disk = sum((report.output / name).stat().st_size for name in (report.size.files if report.size else ()))
        found.append(Row(network, target, budget, policy.costs["file_bytes"], on_disk, _fullest(known, budget, goal)))
    return found


def _fullest(known: SensitivityTable, budget: int, target: str) -> int:
    """The most that any policy within the budget takes."""
    problem, index = build(known, {"file_bytes": budget}, target=target)
    full = dataclasses.replace(problem, value=-problem.cost[0].astype(float))
    return index.budgets[0].fixed - round(solve(full, "exact", seconds=20).value)


def markdown(found: Sequence[Row]) -> str:
    """The table of the page."""
    header = ("network", "target", "budget", "predicted", "on disk", "below the budget", "below what the menu allows")
    lines = [
        (
            each.network,
            f"`{each.target}`",
            f"{each.budget:,}",
            f"{each.predicted:,}",
            f"{each.on_disk:,}",
            f"{1 - each.on_disk / each.budget:.2%}",
            f"{1 - each.on_disk / each.menu:.2%}",
        )
        for each in found
    ]
    return table(header, lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 0, or 1 where a file is over its budget or far below it."""
    command = Command(__doc__)
    command.several("--network", str, ",".join(NETWORKS), "which networks", "NAME,NAME")
    command.several("--target", str, ",".join(MENUS), "which targets", "NAME,NAME")
    command.folder("--data", help="the networks and their data, for resnet20")
    command.file("--page", help="a page to write the table into")
    return command.run(arguments, _run)


def _run(options: argparse.Namespace) -> int:
    torch.set_num_threads(1)
    found: list[Row] = []
    for name in options.network:
        model, batch = _network(name, options.data)
        for target in options.target:
            if target in _OF_TRANSFORMERS and name != "decoder":
                continue
            say(f"{name}: {target}")
            with tempfile.TemporaryDirectory() as folder:
                try:
                    found += rows(name, model, batch, target, Path(folder))
                except mq.InvalidInput as error:
                    say(f"{name}: {target}: {error}")
    text = markdown(found)
    if options.page is None:
        print(text)
    else:
        fill(options.page, {"file sizes": text})
    bad = [each for each in found if not each.good]
    for each in bad:
        say(f"over the budget or far below it: {each}")
    say(f"{len(found)} files, {sum(each.on_disk > each.budget for each in found)} over their budget, {len(bad)} bad")
    return 1 if bad else 0


def _network(name: str, data: Path | None) -> tuple[nn.Module, Any]:
    if name == "demo":
        from mckp_quant import demo

        return demo.model(), demo.calibration()[0]
    if name == "decoder":
        return decoder(), {"input_ids": torch.arange(24).reshape(2, 12)}
    require_data(data, FILES["resnet20"])
    assert data is not None
    return load_networks(data).resnet20(data).eval(), torch.zeros((2, 3, 32, 32))


if __name__ == "__main__":
    raise SystemExit(main())
