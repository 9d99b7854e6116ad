from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mckp_quant.sensitivity.engine.replay import Diverged, Replay


class Nested(nn.Module):
    """Returns a structure whose tensors its caller overwrites, and calls one module twice."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 3)
        self.calls = 0

    def forward(self, x: Tensor) -> dict[str, tuple[Tensor, list[Tensor], str]]:
        self.calls += 1
        return {"made": (self.inner(x), [self.inner(x + 1)], "text")}


class Outer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.nested = Nested()
        self.middle = nn.Linear(3, 3)
        self.last = nn.Linear(3, 2)
        self.backwards = False

    def forward(self, x: Tensor) -> Tensor:
        one, (other,), _ = self.nested(x)["made"]
        one = one.add_(other)
        layers = [self.middle, self.last]
        for layer in reversed(layers) if self.backwards else layers:
            one = layer(one)
        made: Tensor = one
        return made


@pytest.mark.parametrize("layer", ["nested.inner", "middle", "last"])
def test_replays_give_what_a_whole_run_gives_after_the_layer_has_changed(layer: str) -> None:
    torch.manual_seed(0)
    model = Outer().eval()
    x = torch.randn(4, 3)
    replay = Replay(model)
    with torch.no_grad(), replay.attached():
        before = replay.record(lambda: model(x))
        torch.testing.assert_close(before, model(x), rtol=0, atol=0)
        start = replay.starts([model.get_submodule(layer)])
        assert start is not None
        model.get_parameter(f"{layer}.weight").mul_(2)
        ran = model.nested.calls
        for _ in range(3):
            found = replay.replay(start, lambda: model(x))
        assert model.nested.calls - ran == (3 if layer == "nested.inner" else 0)
        torch.testing.assert_close(found, model(x), rtol=0, atol=0)
        assert not torch.equal(found, before)


def test_another_order_of_calls_is_noticed() -> None:
    model = Outer().eval()
    model.last = nn.Linear(3, 3)
    replay = Replay(model)
    with torch.no_grad(), replay.attached():
        replay.record(lambda: model(torch.zeros(1, 3)))
        start = replay.starts([model.last])
        assert start is not None
        model.backwards = True
        with pytest.raises(Diverged):
            replay.replay(start, lambda: model(torch.zeros(1, 3)))


def test_a_module_that_is_never_called_has_no_start() -> None:
    model = Outer().eval()
    replay = Replay(model)
    with torch.no_grad(), replay.attached():
        replay.record(lambda: model(torch.zeros(1, 3)))
        assert replay.starts([nn.Linear(1, 1)]) is None


def test_a_forward_that_somebody_else_replaced_is_used_and_given_back() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    own = model[0].forward

    def doubled(x: Tensor) -> Tensor:
        out: Tensor = 2 * own(x)
        return out

    model[0].forward = doubled
    x = torch.ones(1, 2)
    expected = model(x)
    replay = Replay(model)
    with torch.no_grad(), replay.attached():
        torch.testing.assert_close(replay.record(lambda: model(x)), expected)
    assert model[0].__dict__["forward"] is doubled
    assert "forward" not in model[1].__dict__
