"""A network whose attentions round keys and values, as a policy says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import unknown
from ..formats.cache_formats import cache_scheme
from ..layers import CACHES
from ..network.attention.calls import AttentionCalls
from ..rounding.caches import round_cache

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from ..formats.cache_formats import CacheScheme
    from ..policy.policy import Policy


def hold_caches(model: nn.Module, policy: Policy) -> None:
    """Let a network round the keys and values for which a policy has formats, whenever it is called.

    Parameters
    ----------
    model
        The network; it is changed. What does not call `scaled_dot_product_attention` is not seen.
    policy
        The policy; its other formats do not count.

    Raises
    ------
    InvalidInput
        When it names an attention that the network does not have.
    """
    known = {f"{name}.{kind}".lstrip(".") for name, _ in model.named_modules() for kind in CACHES}
    schemes = {}
    for name, entry in zip(policy.layer_names, policy.formats, strict=True):
        scheme = cache_scheme(entry)
        if scheme is None:
            continue
        if name not in known:
            raise unknown("attention", name, known)
        schemes[name] = scheme
    if schemes:
        holding = _Holding(model, schemes)
        model.register_forward_pre_hook(holding.begin)
        model.register_forward_hook(holding.end, always_call=True)


class _Holding:
    """Rounds keys and values from the beginning of a call of the network to its end."""

    def __init__(self, model: nn.Module, schemes: Mapping[str, CacheScheme]) -> None:
        self._schemes = schemes
        self._calls = AttentionCalls(model, self._change)

    def begin(self, model: nn.Module, args: object) -> None:
        self._calls.__enter__()

    def end(self, model: nn.Module, args: object, output: object) -> None:
        self._calls.__exit__(None, None, None)

    def _change(self, name: str, kind: str, module: nn.Module, numbers: Tensor) -> Tensor:
        scheme = self._schemes.get(name)
        if scheme is None:
            return numbers
        rounded = round_cache(numbers, kind, scheme)
        return numbers + (rounded - numbers).detach() if numbers.requires_grad else rounded  # straight through
