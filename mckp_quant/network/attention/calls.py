"""Sees, and may change, the keys and values that a network gives to `scaled_dot_product_attention`."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor, nn

    Change = Callable[[str, str, nn.Module, Tensor], Tensor]

_NAMES = ("query", "key", "value")


class AttentionCalls(TorchFunctionMode):
    """Calls `change` for keys and values before every attention, and gives the attention what it returns.

    What is seen is what a cache holds: keys behind rotary positions.

    Parameters
    ----------
    model
        The network.
    change
        From the name of the keys or values, their kind, the module that multiplies them, and themselves,
        ``(sequences, heads, tokens, width)``, to those that are to be multiplied. A name is that of the innermost
        module that runs, with ``.keys`` or ``.values``.
    """

    def __init__(self, model: nn.Module, change: Change) -> None:
        super().__init__()
        self._model, self._change = model, change
        self._running: list[tuple[str, nn.Module]] = []
        self._hooks = contextlib.ExitStack()

    def __enter__(self) -> AttentionCalls:
        """Begin to watch."""
        self._running = []
        for name, module in self._model.named_modules():
            if module is self._model:  # it may run already
                continue

            def opened(module: nn.Module, args: object, name: str = name) -> None:
                self._running.append((name, module))

            def closed(module: nn.Module, args: object, output: object) -> None:
                self._running.pop()

            self._hooks.callback(module.register_forward_pre_hook(opened, prepend=True).remove)
            self._hooks.callback(module.register_forward_hook(closed, always_call=True).remove)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        """End, and leave no hook."""
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self._hooks.close()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Change what an attention is given, then call it."""
        if func is not F.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        given = {**dict(zip(_NAMES, args, strict=False)), **(kwargs or {})}
        place, module = self._running[-1] if self._running else ("", self._model)
        for argument, kind in (("key", "keys"), ("value", "values")):
            given[argument] = self._change(f"{place}.{kind}".lstrip("."), kind, module, given[argument])
        return func(*(given.pop(name) for name in _NAMES), *args[len(_NAMES) :], **given)


def distinct_heads(module: nn.Module, numbers: Tensor) -> int:
    """How many heads of keys or values a cache holds: those that groups of queries share may have been repeated."""
    heads = numbers.shape[1]
    shared = getattr(getattr(module, "config", None), "num_key_value_heads", None)
    return shared if isinstance(shared, int) and 0 < shared < heads and heads % shared == 0 else heads
