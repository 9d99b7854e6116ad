"""Every step that writes, on a small network: it takes a folder, goes on with what lies there, and says its result."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import mckp_quant as mq
from mckp_quant.export import export
from mckp_quant.refinement import refine
from mckp_quant.search.searching import search
from mckp_quant.tuning import finish

from .files.runs import BUDGET, FORMATS, batches, network

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

POLICY = mq.Policy(("0", "2"), (mq.Format.named("w2"), mq.Format.named("w4")))


def _table() -> mq.SensitivityTable:
    return mq.measure(network(), batches(), formats=FORMATS)


def measure(folder: Path) -> str:
    """Measure with a checkpoint, and save the table."""
    table = mq.measure(network(), batches(), formats=FORMATS, run=mq.RunOptions(checkpoint=folder / "checkpoint.json"))
    table.save(folder / "table.json")
    return _digest(mq.SensitivityTable.load(folder / "table.json").loss.tolist())


def round_weights(folder: Path) -> str:
    """Round into a bank on the disk."""
    return mq.round_weights(network(), batches(), FORMATS, rounder="gptq", output=folder / "bank").digest


def refined(folder: Path) -> str:
    """Refine with a checkpoint, and save the policy."""
    run = mq.RunOptions(checkpoint=folder / "checkpoint.json")
    found = refine(network(), _table(), BUDGET, batches(), evaluations=6, run=run)
    found.policy.save(folder / "policy.json")
    return _digest(mq.Policy.load(folder / "policy.json").document())


def searched(folder: Path) -> str:
    """Search with a checkpoint, and save the policy."""
    run = mq.RunOptions(checkpoint=folder / "checkpoint.json")
    found = search(network(), _table(), BUDGET, batches(), method="random", evaluations=6, run=run)
    found.policy.save(folder / "policy.json")
    return _digest(mq.Policy.load(folder / "policy.json").document())


def finished(folder: Path) -> str:
    """Make the last pass, and save the network."""
    finish(network(), POLICY, batches()).save(folder / "finished")
    return str(mq.Finished.load(folder / "finished", network()).bank.digest)


def exported(folder: Path) -> str:
    """Export codes as plain JSON and safetensors."""
    export(POLICY, "json", model=network(), output=folder / "exported")
    return _digest(sorted((each.name, _of(each)) for each in (folder / "exported").iterdir()))


def run(folder: Path) -> str:
    """Go the whole way, with all that a run keeps."""
    found = mq.quantize(network(), batches() * 2, BUDGET, formats=FORMATS, evaluations=4, output=folder / "run")
    return _digest([found.chosen, found.policy.document(), found.difference])


STEPS: dict[str, Callable[[Path], str]] = {
    "measure": measure,
    "round": round_weights,
    "refine": refined,
    "search": searched,
    "finish": finished,
    "export": exported,
    "run": run,
}


def _of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _digest(found: object) -> str:
    return hashlib.sha256(json.dumps(found, sort_keys=True, default=repr).encode()).hexdigest()
