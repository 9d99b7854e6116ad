"""A new target is one class and one line: this one is written, registered, and held to what every exporter must do."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest
import torch

from mckp_quant import Format, Policy, allocate
from mckp_quant.cli import main
from mckp_quant.export import ExportMismatch, Job, Stored, available, export
from mckp_quant.export.codes import with_codes
from mckp_quant.export.exporting import EXPORTERS
from mckp_quant.export.sources import module_job
from mckp_quant.formats import TARGETS, Capability

from ..drawn_tables import make_table
from .conformance import check_artefact, check_outputs, check_refusals
from .networks import Drawn, bank_of, digits, mixed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Toy:
    """Integer codes and float32 scales of a channel each, in one npz file."""

    name: ClassVar[str] = "toy"
    packages: ClassVar[tuple[str, ...]] = ("numpy",)
    extra: ClassVar[str | None] = None
    container: ClassVar[str] = ""
    file: ClassVar[str] = "toy.npz"
    capability: ClassVar[str] = "toy"

    def prepare(self, policy: Policy, model: Any, batches: Sequence[object]) -> Job:
        return module_job(policy, model, batches)

    def check(self, job: Job) -> None:
        """The row of capabilities says everything."""

    def write(self, job: Job, folder: Path) -> tuple[str, ...]:
        arrays: dict[str, Any] = {}
        for layer, entry in job.chosen:
            made = with_codes(job.encoded(layer), entry, layer)
            arrays[f"{layer.name}/codes"] = made.elements.numpy().astype(np.int8)
            arrays[f"{layer.name}/scales"] = made.scales.numpy().astype(np.float32)
            arrays[f"{layer.name}/bits"] = np.array(entry.weight_bits)
        np.savez(folder / "toy.npz", **arrays)
        return ()

    def read(self, folder: Path, job: Job) -> Mapping[str, Stored]:
        found = {}
        with np.load(folder / "toy.npz") as file:
            for layer in job.layers:
                if f"{layer.name}/codes" not in file:
                    found[layer.name] = Stored(Format.named("float"), 4 * layer.elements, "the network")
                    continue
                codes, scales = (file[f"{layer.name}/{part}"] for part in ("codes", "scales"))
                bits = int(file[f"{layer.name}/bits"])
                weight = torch.from_numpy(codes * scales).reshape(layer.shape)
                size = -(-codes.size * bits // 8) + scales.nbytes
                found[layer.name] = Stored(Format.named(f"w{bits}"), size, f"{layer.name}/codes", weight)
        return found


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line in `EXPORTERS`, and the row that says what the target takes."""
    monkeypatch.setitem(EXPORTERS, "toy", Toy())
    row = Capability(("linear", "conv2d"), (4, 8), granularities=("channel",), symmetric=True)
    monkeypatch.setitem(TARGETS, "toy", row)


@pytest.mark.parametrize("rounder", [None, "gptq", Drawn()], ids=["nearest", "gptq", "drawn"])
@pytest.mark.parametrize("network", [mixed, digits])
def test_toy_exporter_does_what_every_exporter_does(network: Any, rounder: Any, tmp_path: Path) -> None:
    assert available()["toy"] is None
    policy = network().policy("toy", 3)
    assert "w4" in {entry.name for entry in policy.formats} <= {"w4", "w8", "float"}
    bank = None if rounder is None else bank_of(network(), policy, rounder)
    check_artefact("toy", network(), policy, tmp_path / "made", bank)
    model = copy.deepcopy(network().model)
    state = model.state_dict()
    for name, stored in Toy().read(tmp_path / "made", Toy().prepare(policy, network().model, ())).items():
        if stored.weight is not None:
            state[f"{name}.weight"].copy_(stored.weight)
    check_outputs(network(), policy, network().run(model), bank)


def test_toy_exporter_refuses_what_its_row_does_not_take(tmp_path: Path) -> None:
    check_refusals(Toy(), mixed(), tmp_path)


def test_toy_exporter_that_writes_something_else_is_found_out(tmp_path: Path) -> None:
    class Careless(Toy):
        def write(self, job: Job, folder: Path) -> tuple[str, ...]:
            notes = super().write(job, folder)
            with np.load(folder / "toy.npz") as file:
                arrays = dict(file)
            arrays["fc/codes"][0, 0] += 1
            np.savez(folder / "toy.npz", **arrays)
            return notes

    policy = Policy(("fc",), (Format.named("w4"),))
    with pytest.raises(ExportMismatch, match=r"toy: the weight of layer 'fc' in 'w4' differs in 1 of 6,144 entries"):
        export(policy, Careless(), model=mixed().model, output=tmp_path / "made")
    assert list(tmp_path.iterdir()) == []


def test_toy_target_is_known_wherever_targets_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = make_table([[9.0, 4.0, 1.0], [8.0, 3.0, 0.5]])
    chosen = allocate(table, {"weight_bytes": "100%"}, target="toy").policy
    assert {entry.name for entry in chosen.formats} <= {"w4", "w8"}
    Policy.uniform(digits().layers, "w4").save(tmp_path / "policy.json")
    arguments = ["export", str(tmp_path / "policy.json"), "--to", "toy", "--model", "mckp_quant.demo:model"]
    assert main([*arguments, "-o", str(tmp_path / "made")]) == 0
    assert "toy: toy.npz in " in capsys.readouterr().out
