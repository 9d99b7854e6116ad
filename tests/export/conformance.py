"""What every exporter must do, for the tests of those that exist and of new ones."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch

from mckp_quant import Format, InvalidInput, Policy, apply
from mckp_quant.export import export
from mckp_quant.export.exporting import EXPORTERS
from mckp_quant.formats.capabilities import capability

from .networks import NAMES, sqnr

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from mckp_quant.export import Exporter, ExportReport
    from mckp_quant.rounding import WeightBank

    from .networks import Network

ACCURATE = 100.0  # dB: the same integers and scales, summed in another order
BORDERS = 30.0  # dB: an input between two codes falls to either side with the last bit of a sum


def check_artefact(
    to: str | Exporter, network: Network, policy: Policy, folder: Path, bank: WeightBank | None = None
) -> ExportReport:
    """Export a policy: the report says what was asked and found, bytes are those of the row, the model is untouched."""
    row = (EXPORTERS[to] if isinstance(to, str) else to).capability
    before = {key: tensor.clone() for key, tensor in network.model.state_dict().items()}
    report = export(policy, to, model=network.model, output=folder, batches=network.batches, bank=bank)
    assert (report.rounder, report.bank) == (("nearest", "") if bank is None else (bank.rounder, bank.digest))
    assert [each.layer for each in report.layers] == list(policy.layer_names)
    for each, layer, entry in zip(report.layers, network.layers, policy.formats, strict=True):
        assert each.asked == each.found == entry.name
        assert each.asked_bytes == entry.storage_bytes(layer)
        if entry.name != "float" and row is not None:
            assert each.stored_bytes == capability(row).stored_bytes(layer, entry)
    assert report.overhead_bytes == 0 or report.container
    assert json.loads((folder / "export.json").read_text())["stored_bytes"] == report.stored_bytes
    assert Policy.load(folder / "policy.json") == policy
    after = network.model.state_dict()
    assert all(torch.equal(tensor, after[key]) for key, tensor in before.items())
    return report


def check_outputs(network: Network, policy: Policy, got: np.ndarray[Any, Any], bank: WeightBank | None = None) -> None:
    """What the target's runtime made of the artefact is what the simulation makes of the policy."""
    borders = any(entry.activation_scheme is not None for entry in policy.formats)
    assert sqnr(network.run(apply(network.model, policy, bank=bank)), got) > (BORDERS if borders else ACCURATE)
    assert sqnr(network.run(network.model), got) < ACCURATE  # a policy that took no effect would be exact


def check_refusals(to: Exporter, network: Network, folder: Path) -> None:
    """A format that the row of capabilities does not take is refused for its layer, and nothing is left behind."""
    if to.capability is None:
        return
    row = capability(to.capability)
    refused = [
        (layer.name, name) for layer in network.layers for name in NAMES if row.refuses(layer, Format.named(name))
    ]
    assert refused, "the target takes every format of the tests"
    for layer, name in refused[:: max(1, len(refused) // 5)]:
        policy = Policy((layer,), (Format.named(name),))
        with pytest.raises(InvalidInput, match=f"{to.capability} cannot take layer '{layer}' in format '{name}': "):
            export(policy, to, model=network.model, output=folder / "made", batches=network.batches)
        assert list(folder.iterdir()) == []
