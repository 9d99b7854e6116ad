"""Runs a network again after a change of one layer, without computing anew what comes before that layer."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from ...network.logits import Logits


class Diverged(Exception):
    """The modules are called in another order than when they were recorded."""


@dataclass(eq=False)
class _Call:
    module: nn.Module
    end: int = 0  # index of the first call that is not nested in this one
    output: object = None
    versions: list[tuple[Tensor, int]] = field(default_factory=list)  # of the output's tensors, as they were returned


class Replay:
    """Records the output of every call of every module, and gives recorded outputs back up to a given module.

    A call that had ended before the changed module was first called cannot depend on the change, provided that the
    change acts through calls of that module only. Then its output is taken from the record, and what is nested in it is
    not run. Operations outside such calls run again. The caller has to compare with a whole run once, because a network
    may use a weight without calling its module, or draw random numbers.

    Outputs that the network overwrites in place after they were returned are found by their version counters; of these
    copies are kept and given back.

    Parameters
    ----------
    model
        The network; while `attached` its modules' ``forward`` is replaced, their hooks are not touched.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._calls: list[_Call] = []
        self._overwritten: set[int] = set()
        self._recording = False
        self._next: int | None = None  # the index of the next call while replaying
        self._start = 0

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """Hold the replacements in the modules."""
        with contextlib.ExitStack() as restoring:
            for module in self._model.modules():
                if not isinstance(module, torch.jit.ScriptModule):
                    restoring.callback(_restore, module, module.__dict__.get("forward"))
                    module.__dict__["forward"] = self._replacement(module, module.forward)
            yield
        self._calls = []

    def record(self, run: Callable[[], Logits]) -> Logits:
        """Run the network and keep what its modules return."""
        result = self._recorded(run)
        changed = self._changed()
        if not changed <= self._overwritten:
            self._overwritten |= changed
            result = self._recorded(run)
        return result

    def starts(self, modules: Collection[nn.Module]) -> int | None:
        """The index of the first recorded call of one of the modules; None where there is none."""
        return next((index for index, call in enumerate(self._calls) if call.module in modules), None)

    def replay(self, start: int, run: Callable[[], Logits]) -> Logits:
        """Run the network with recorded outputs for all calls that ended before call number `start`.

        Parameters
        ----------
        start
            The first call that may return something else than when it was recorded.
        run
            What `record` ran, on the same inputs.

        Returns
        -------
        result
            What `run` returned.

        Raises
        ------
        Diverged
            When the modules are called in another order than recorded.
        """
        self._start, self._next = start, 0
        try:
            return run()
        finally:
            self._next = None

    def _recorded(self, run: Callable[[], Logits]) -> Logits:
        self._calls, self._recording = [], True
        try:
            return run()
        finally:
            self._recording = False

    def _changed(self) -> set[int]:
        return {
            index
            for index, call in enumerate(self._calls)
            if any(tensor._version != version for tensor, version in call.versions)
        }

    def _replacement(self, module: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
        def replaced(*args: Any, **kwargs: Any) -> Any:
            if self._recording:
                return self._record_call(module, forward, args, kwargs)
            if self._next is not None:
                if self._next >= len(self._calls) or self._calls[self._next].module is not module:
                    raise Diverged
                call = self._calls[self._next]
                if call.end <= self._start:
                    copied = self._next in self._overwritten
                    self._next = call.end
                    return _copy(call.output) if copied else call.output
                self._next = None if self._next == self._start else self._next + 1
            return forward(*args, **kwargs)

        return replaced

    def _record_call(
        self, module: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        index = len(self._calls)
        call = _Call(module)
        self._calls.append(call)
        output = forward(*args, **kwargs)
        call.end = len(self._calls)
        if index in self._overwritten:
            call.output = _copy(output)
        else:
            call.output = output
            call.versions = [(tensor, tensor._version) for tensor in _tensors(output)]
        return output


def _restore(module: nn.Module, forward: object) -> None:
    if forward is None:
        del module.__dict__["forward"]
    else:
        module.__dict__["forward"] = forward


def _tensors(entry: object) -> Iterator[Tensor]:
    if isinstance(entry, Tensor):
        yield entry
    elif isinstance(entry, dict):
        for inner in entry.values():
            yield from _tensors(inner)
    elif isinstance(entry, tuple | list):
        for inner in entry:
            yield from _tensors(inner)


def _copy(entry: Any) -> Any:
    """The same with tensors copied, also in plain tuples, lists and dicts."""
    if isinstance(entry, Tensor):
        return entry.clone()
    if type(entry) is dict:
        return {key: _copy(inner) for key, inner in entry.items()}
    if type(entry) in {tuple, list}:
        return type(entry)(_copy(inner) for inner in entry)
    return entry
