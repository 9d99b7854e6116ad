"""What `finish` makes, exported: the codes of its bank, bit for bit, and the outputs of its network."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

import mckp_quant as mq
from mckp_quant import demo
from mckp_quant.export import export, read_policy
from mckp_quant.export.banks import network_of
from mckp_quant.export.exporting import EXPORTERS
from mckp_quant.rounding import EncodedWeight, Gptq
from mckp_quant.rounding.banking import described
from mckp_quant.rounding.transforms import fold_batch_norms
from mckp_quant.rounding.transforms.folding import fold_with_factors

from .networks import digits, mixed
from .test_banks import same_outputs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from torch import nn

    from mckp_quant.export.contract import FinishedNetwork

RAN = {"torchao": "digits", "onnxruntime": "digits", "compressed_tensors": "mixed", "gguf_tensors": "mixed"}


@functools.cache
def finished(name: str) -> tuple[FinishedNetwork, nn.Module, Sequence[object]]:
    """A network after the last pass for a policy, the float one, and the batches."""
    batches: Sequence[object]
    if name == "digits":
        model, batches = digits().model, demo.calibration()[:4]
        formats = {layer.name: "w4" for layer in digits().layers}
    else:
        model, batches = mixed().model, torch.randn(48, 64, generator=torch.Generator().manual_seed(0)).split(12)
        formats = {"fc": "w4g32", "fc1": "w8g32", "inner.fc": "w4g32"}
    made = tuple(mq.Format.named(each) for each in formats.values())
    policy = mq.Policy(tuple(formats), made, rounder=described(Gptq()))  # as of a table that gptq's weights gave
    return mq.finish(model, policy, batches), model, batches


@pytest.mark.slow
@pytest.mark.parametrize("target", RAN)
def test_codes_and_outputs_are_those_of_the_last_pass(
    target: str, tmp_path: Path, needs: Callable[[str], None]
) -> None:
    needs(target)
    done, model, batches = finished(RAN[target])
    report = export(done.policy, target, model=model, output=tmp_path / "made", batches=batches, finished=done)
    assert report.rounder == done.bank.rounder
    assert report.rounder.startswith(f"finish({done.policy.rounder}, ")
    job = EXPORTERS[target].prepare(done.policy, network_of(done), batches)
    factors: Mapping[str, torch.Tensor] = {}
    if target == "onnxruntime":  # the norm behind a layer goes into its scales
        factors = fold_with_factors(network_of(done), batches)[1]
        assert {name for name in factors if "conv" in name}
        job = replace(job, model=fold_batch_norms(network_of(done), batches))
    found = EXPORTERS[target].read(tmp_path / "made", job)
    assert len(job.coded) == len(done.policy)
    for layer, entry in job.coded:
        codes, own = found[layer.name].codes, done.bank.encoded(layer.name, entry)
        assert isinstance(codes, EncodedWeight)
        assert isinstance(own, EncodedWeight)
        assert torch.equal(codes.elements.double(), own.elements.double())
        scales = own.scales.double()
        if layer.name in factors:
            scales = (scales * factors[layer.name][:, None]).float().double()
        assert torch.equal(codes.scales.double(), scales)
    if target == "onnxruntime":
        images = torch.cat([images for images, _ in demo.held_out()])
        same_outputs(done.model, tmp_path / "made", images)


def test_plain_json_says_that_its_reader_rounds_by_itself(tmp_path: Path) -> None:
    done, model, batches = finished("mixed")
    report = export(done.policy, "json", model=model, output=tmp_path / "made", batches=batches, finished=done)
    assert read_policy(tmp_path / "made") == done.policy
    assert [note for note in report.notes if "rounds" in note and "gptq" in note]
