"""Weights of (in, out), as GPT-2's Conv1D has them, in the targets whose runtime takes them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest
import torch

from mckp_quant import Format, InvalidInput, Policy, apply, round_weights
from mckp_quant.export import export
from mckp_quant.rounding.calibration import calibrate_ranges

from ..networks import Drawn, sqnr

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAMES = ("0", "2")


@functools.cache
def network() -> Any:
    conv1d = pytest.importorskip("transformers").pytorch_utils.Conv1D
    torch.manual_seed(0)
    return torch.nn.Sequential(conv1d(48, 64), torch.nn.ReLU(), conv1d(32, 48)).eval()


def inputs() -> torch.Tensor:
    return torch.randn(5, 64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("target", "names", "least"),
    [
        ("onnxruntime", ("w4", "w8t"), 100),
        pytest.param("onnxruntime", ("w8a8", "w4t"), 35, marks=pytest.mark.slow),
        pytest.param("onnxruntime_nbits", ("w4g16", "w8g16z"), 100, marks=pytest.mark.slow),
    ],
)
def test_onnx_runtime_multiplies_by_the_codes_of_the_bank(
    target: str, names: tuple[str, str], least: float, tmp_path: Path, needs: Callable[[str], None]
) -> None:
    needs(target)
    formats = tuple(map(Format.named, names))
    wanted = [each for each in formats if each.activation_scheme is not None]
    ranges = calibrate_ranges(network(), [inputs()], wanted) if wanted else None
    policy = Policy(NAMES, formats, ranges=ranges)
    bank = round_weights(network(), [inputs()], list(formats), rounder=Drawn())
    report = export(policy, target, model=network(), output=tmp_path / "made", batches=[inputs()], bank=bank)
    assert [each.found for each in report.layers] == list(names)
    session = __import__("onnxruntime").InferenceSession(tmp_path / "made" / "model.onnx")
    (found,) = session.run(None, {session.get_inputs()[0].name: inputs().numpy()})
    with torch.no_grad():
        simulated = apply(network(), policy, bank=bank)(inputs()).double().numpy()
    assert sqnr(simulated, found) > least


def test_targets_whose_tensors_stand_in_linear_layers_refuse_them(tmp_path: Path, needs: Callable[[str], None]) -> None:
    policy = Policy(NAMES, (Format.named("w8"),) * 2)
    for target in ("torchao", "compressed_tensors"):
        needs(target)
        with pytest.raises(InvalidInput, match=f"{target} cannot take layer '0' .* linear_transposed layers stay in"):
            export(policy, target, model=network(), output=tmp_path / "made")
    assert not list(tmp_path.iterdir())
