"""A loss of zero is right, refused or unknown: layers behind which gradients stop, and ones that no sample reaches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import mckp_quant as mq
from mckp_quant.interactions import measure_interactions
from mckp_quant.network.discovery import discover
from mckp_quant.sensitivity import ESTIMATORS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FORMATS = "w2,w4,w8"
MEASURING = {"measured_kl", "measured_loss"}
GRADIENTS = sorted(
    name for name, each in ESTIMATORS.items() if each.passes.batch and name not in {*MEASURING, "metric"}
)


class Cut(nn.Module):
    """Something stands between the first layer and the rest."""

    def __init__(self, cut: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.head, self.cut = nn.Linear(6, 6), nn.Linear(6, 3), cut

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.cut(self.a(x)))
        return out


class Routed(nn.Module):
    """A hard router and four experts, of which one is never chosen; and a head that is not read."""

    def __init__(self) -> None:
        super().__init__()
        self.router, self.other = nn.Linear(6, 4), nn.Linear(6, 3)
        self.experts = nn.ModuleList(nn.Linear(6, 3) for _ in range(4))
        with torch.no_grad():
            self.router.bias[3] = -100

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        chosen = self.router(x).argmax(dim=1)
        out = x.new_zeros(len(x), 3)
        for at, expert in enumerate(self.experts):
            if bool((chosen == at).any()):
                out = out.index_put((torch.where(chosen == at)[0],), expert(x[chosen == at]))
        return out, self.other(x)


def pairs(count: int = 3, size: int = 8) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(3)
    return [
        (torch.randn(size, 6, generator=generator), torch.randint(0, 3, (size,), generator=generator))
        for _ in range(count)
    ]


def hard(x: Tensor) -> Tensor:
    return nn.functional.one_hot(x.argmax(dim=1), 6).to(x.dtype)


CUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "detach": torch.Tensor.detach,
    "round": lambda x: torch.round(x * 4) / 4,
    "argmax": hard,
    "sign": torch.sign,
}


@pytest.mark.parametrize("method", GRADIENTS)
@pytest.mark.parametrize("cut", CUTS)
def test_layers_behind_which_gradients_stop_are_refused_by_name(cut: str, method: str) -> None:
    torch.manual_seed(0)
    message = "no gradient reaches layer 'a'.*, although the outputs depend on it, .* use method='measured_kl'"
    with pytest.raises(mq.InvalidInput, match=message):
        mq.measure(Cut(CUTS[cut]), pairs(), formats=FORMATS, method=method)


@pytest.mark.parametrize("cut", CUTS)
def test_interactions_are_refused_too_and_measuring_goes_through(cut: str) -> None:
    torch.manual_seed(0)
    model = Cut(CUTS[cut])
    with pytest.raises(mq.InvalidInput, match="no gradient reaches layer 'a'"):
        measure_interactions(model, pairs(), formats=FORMATS)
    table = mq.measure(model, pairs(), formats=FORMATS, method="measured_kl")
    assert table.loss[0, 0] > 0
    assert (mq.measure(model, pairs(), formats=FORMATS, layers=["head"]).loss > 0).all()


def first(returned: tuple[Tensor, Tensor]) -> Tensor:
    return returned[0]


@pytest.mark.parametrize("method", ["gauss_newton", "measured_kl", "hessian_form"])
def test_unknown_losses_never_lead_to_few_bits(method: str, caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    model = Routed()
    names = ["other", *(f"experts.{at}" for at in range(4))]
    table = mq.measure(model, pairs(), formats=FORMATS, method=method, layers=names, outputs=mq.Outputs(take=first))
    assert "no sample reaches layer 'experts.3': give more batches" in caplog.text
    assert "nothing that outputs= takes depends on layer 'other'" in caplog.text
    for name in ("other", "experts.3"):
        assert np.isnan(table.loss[table.row(name)]).tolist() == [True, True, False]
    assert (table.loss[[table.row(f"experts.{at}") for at in range(3)]] > 0).all()
    policy = mq.allocate(table, {"weight_bytes": "85%"}).policy
    assert policy["other"].name == policy["experts.3"].name == "w8"


def test_a_router_without_gradient_is_refused() -> None:
    torch.manual_seed(0)
    with pytest.raises(mq.InvalidInput, match="no gradient reaches layer 'router' on batch 0"):
        mq.measure(Routed(), pairs(), formats=FORMATS, outputs=mq.Outputs(take=first))


def test_zeros_that_are_right_stay() -> None:
    torch.manual_seed(0)
    exact = Cut(torch.Tensor.detach)
    with torch.no_grad():
        exact.a.weight.copy_(torch.randint(0, 2, (6, 6)) * 2 - 1)  # what 2 bits store exactly
    assert not mq.measure(exact, pairs(), formats="w4").loss[0].any()
    certain = Cut(torch.tanh).double()
    with torch.no_grad():
        certain.head.bias[0] = 1e4  # the probabilities are exactly 0 and 1
    table = mq.measure(certain, [x.double() for x, _ in pairs()], formats=FORMATS)
    assert not table.loss.any()


def test_operations_are_means_over_all_batches(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, batches = Routed(), pairs()
    names = [f"experts.{at}" for at in range(4)]
    chosen = torch.cat([model.router(x).argmax(dim=1) for x, _ in batches])
    expected = [-(-18 * int((chosen == at).sum()) // len(chosen)) for at in range(4)]
    for method in ("gauss_newton", "measured_kl", "first_order"):
        path = tmp_path / method
        how = {"formats": FORMATS, "method": method, "layers": names, "outputs": mq.Outputs(take=first)}
        mq.measure(model, batches[:1], run=mq.RunOptions(checkpoint=path), **how)  # type: ignore[arg-type]
        table = mq.measure(model, batches, run=mq.RunOptions(checkpoint=path), **how)  # type: ignore[arg-type]
        assert [layer.macs for layer in table.layers] == expected
    assert [each.macs for each in discover(model, batches[0])][:2] == [24, 18]
