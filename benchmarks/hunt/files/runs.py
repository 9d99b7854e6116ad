"""One valid file of each kind that an interrupted or finished run of a network leaves, and what takes it up again."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

import mckp_quant as mq
from mckp_quant.cli.load import load_batches
from mckp_quant.pipeline.judged_files import load_validation, save_validation
from mckp_quant.pipeline.state import State
from mckp_quant.refinement import refine
from mckp_quant.search.searching import search
from mckp_quant.tuning import Finished, finish

from .kind import Kind, written

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FORMATS = "w2,w4"
BUDGET = {"weight_bytes": "100%"}
STEP = {"seed": 0, "formats": ["w2", "w4"]}


def network() -> nn.Module:
    """A network of two layers, the same every time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()


def batches() -> list[torch.Tensor]:
    """Three batches, the same every time."""
    return list(torch.randn(12, 4, generator=torch.Generator().manual_seed(1)).split(4))


def runs(folder: Path) -> list[Kind]:
    """Write one file of each kind into a folder.

    Parameters
    ----------
    folder
        An empty folder.

    Returns
    -------
    kinds
        The files with what reads them.
    """
    logging.disable()
    try:
        readers = {**_checkpoints(folder), **_results(folder)}
    finally:
        logging.disable(logging.NOTSET)
    return written(folder, readers)


def _checkpoints(folder: Path) -> dict[str, Callable[[Path], object]]:
    model, data = network(), batches()
    table = mq.measure(model, data, formats=FORMATS)

    def measured(path: Path) -> object:
        return mq.measure(model, data, formats=FORMATS, run=mq.RunOptions(checkpoint=path))

    def refined(path: Path) -> object:
        return refine(model, table, BUDGET, data, evaluations=2, run=mq.RunOptions(checkpoint=path))

    def searched(path: Path) -> object:
        return search(model, table, BUDGET, data, method="random", evaluations=2, run=mq.RunOptions(checkpoint=path))

    def rounded(path: Path) -> object:
        return mq.round_weights(model, data, FORMATS, rounder="nearest", output=path.parent)

    readers: dict[str, Callable[[Path], object]] = {"measured.json": measured, "refined.json": refined}
    readers["searched.json"] = searched
    for name, read in readers.items():
        read(folder / name)
    rounded(folder / "rounded" / "bank.json")
    return {**readers, **{f"rounded/{each.name}": rounded for each in _files(folder / "rounded")}}


def _results(folder: Path) -> dict[str, Callable[[Path], object]]:
    model, data = network(), batches()
    policy = mq.Policy(("0", "2"), (mq.Format.named("w2"), mq.Format.named("w4")))
    mq.round_weights(model, data, FORMATS, rounder="nearest", output=folder / "bank")
    finish(model, policy, data).save(folder / "finished")
    save_validation(mq.validate(model, policy, data), folder / "judged.npz")
    state = State(folder)
    (state.begin("step", STEP) / "kept.txt").write_text("kept", encoding="utf-8")
    state.finish("step", STEP, "decided", 1.0)
    np.savez(folder / "data.npz", inputs=np.ones((4, 2), np.float32), targets=np.arange(4))
    readers: dict[str, Callable[[Path], object]] = {
        "judged.npz": load_validation,
        "data.npz": lambda path: load_batches(str(path), 2),
        "step/step.json": _step,
    }
    readers |= {f"bank/{each.name}": _bank for each in _files(folder / "bank")}
    readers |= {f"finished/{each.name}": _finished for each in _files(folder / "finished")}
    return readers


def _files(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.is_file())


def _bank(path: Path) -> Any:
    bank = mq.WeightBank.load(path.parent)
    return [bank.weight(layer.name, entry) for layer in bank.layers for entry in bank.formats]


def _finished(path: Path) -> Any:
    return Finished.load(path.parent, network())


def _step(path: Path) -> Any:
    return State(path.parents[1]).kept("step", STEP)
