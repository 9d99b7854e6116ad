"""Finds the layers whose loss reads zero because nothing reaches them, which is no loss of zero but an unknown one."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..errors import InvalidInput
from ..network.batch import leading_size
from ..network.batches import forward
from ..network.discovery import uses_of
from ..network.likelihood import rademacher
from ..network.logits import heads_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from ..layers import Layer
    from ..network.batch import Batch
    from ..network.logits import Logits
    from ..network.weight_uses import WeightUse
    from .task import Task

logger = logging.getLogger(__name__)


class Reach:
    """Watches which layers the samples and the gradients reach, and counts operations over all batches.

    A layer whose rounding errors are not zero and whose loss is exactly zero on a batch is suspicious. Then its weight
    is changed for real. If the outputs change and no gradient reaches the weight, the gradient is cut, as behind
    ``detach``, ``round`` or ``argmax``, and the estimate is refused. If the outputs never change, no sample calls the
    layer, or nothing that is read of the outputs depends on it. A gradient that is there, where the network is so
    certain that its curvature vanishes, makes the zero right.

    Parameters
    ----------
    task
        What is measured.
    """

    def __init__(self, task: Task) -> None:
        rows = range(len(task.weights))
        self._task = task
        self._samples = 0
        self._operations = [0 for _ in rows]
        self._alike = set(rows)  # whose every run took what the first sample's took
        self._called: set[int] = set()
        self._reached: set[int] = set()
        self._tried: set[int] = set()
        self._flat: set[int] = set()  # whose gradient is zero where a change of the weight matters
        self._run: list[int] | None = None  # operations of the run that is counted
        self._awaited = 0  # samples of the batch whose run is to be counted; 0 where it has been

    def document(self) -> dict[str, Any]:
        """What was found so far, in plain types; `restore` takes it back."""
        sets = {name: sorted(getattr(self, f"_{name}")) for name in ("alike", "called", "reached", "tried", "flat")}
        return {"samples": self._samples, "operations": list(self._operations), **sets}

    def restore(self, document: dict[str, Any]) -> None:
        """Go on from what `document` gave."""
        self._samples = int(document["samples"])
        self._operations = [int(count) for count in document["operations"]]
        for name in ("alike", "called", "reached", "tried", "flat"):
            setattr(self, f"_{name}", {int(row) for row in document[name]})

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """Hold the hooks in the modules; they look at the first run of every batch only."""
        layers = [weight.layer for weight in self._task.weights]
        uses = uses_of(self._task.model, layers)
        places = [(row, use) for row, each in enumerate(layers) for use in {uses[n] for n in (each.name, *each.ties)}]

        def opened(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            given = [leading_size(each) for each in (*args, *kwargs.values()) if isinstance(each, Tensor)]
            if self._awaited in given:
                self._run = [0 for _ in layers]

        def closed(module: nn.Module, args: tuple[Any, ...], output: object) -> None:
            if self._run is not None:
                self._add(self._run)

        with contextlib.ExitStack() as hooks:
            hooks.callback(self._task.model.register_forward_pre_hook(opened, with_kwargs=True).remove)
            for row, use in places:

                def count(
                    module: nn.Module,
                    args: tuple[Any, ...],
                    kwargs: dict[str, Any],
                    output: object,
                    row: int = row,
                    use: WeightUse = use,
                ) -> None:
                    if self._run is not None:
                        self._called.add(row)
                        self._run[row] += use.operations(args, kwargs, output)

                hooks.callback(use.module.register_forward_hook(count, with_kwargs=True).remove)
            hooks.callback(self._task.model.register_forward_hook(closed).remove)
            yield

    def begin(self, batch: Batch) -> None:
        """Say that a batch is read next."""
        self._awaited, self._run = batch.size, None

    def note(self, batch: Batch, sums: Sequence[Tensor], *, measured: bool = False) -> None:
        """Look at what was read from a batch.

        Parameters
        ----------
        batch
            The batch.
        sums
            For each layer ``(n_units, n_formats)``: what was read.
        measured
            Whether the network was run in every format: a zero is then measured where the layer matters at all.

        Raises
        ------
        InvalidInput
            When a layer matters and no gradient reaches it.
        """
        first, self._awaited, self._run = not self._samples_seen(), 0, None
        self._reached |= {row for row, own in enumerate(sums) if bool(own.any())}
        due = [
            row
            for row in range(len(sums))
            if row not in self._reached | self._tried and (first or row in self._called) and self._is_rounded(row)
        ]
        self._tried |= {row for row in due if row in self._called}
        matter = self._that_matter(batch, due)
        if measured:
            self._reached |= set(matter)
        elif matter:
            self._differentiate(batch, matter)

    def check(self) -> None:
        """Raise InvalidInput when a layer matters and its gradient was zero on every batch."""
        flat = self._flat - self._reached
        if flat:
            self._refuse(flat, "")

    def unknown(self) -> tuple[int, ...]:
        """Rows of layers whose loss is unknown, which are named in warnings.

        Returns
        -------
        rows
            No sample calls them, or no output depends on them.
        """
        self.check()
        rows = self.suspects()
        warn_of_unknown([weight.layer.name for weight in self._task.weights], rows, self._called)
        return tuple(rows)

    def suspects(self) -> list[int]:
        """Rows of layers that some format changes and that nothing has reached so far."""
        return [row for row in range(len(self._task.weights)) if row not in self._reached and self._is_rounded(row)]

    def counted(self, layers: Sequence[Layer]) -> tuple[int | None, ...]:
        """Multiply-accumulate operations of each layer: a mean over all samples, rounded up.

        A layer that does the same work for every batch as for the first sample keeps that figure.
        """
        return operations_of(layers, self.document())

    def _samples_seen(self) -> bool:
        return bool(self._tried or self._reached)

    def _add(self, run: list[int]) -> None:
        self._samples += self._awaited
        self._operations = [before + own for before, own in zip(self._operations, run, strict=True)]
        self._alike = {row for row in self._alike if run[row] == self._task.weights[row].layer.macs}
        self._awaited, self._run = 0, None

    def _is_rounded(self, row: int) -> bool:
        """Whether any format changes the layer at all: a loss of zero is right where none does."""
        weight = self._task.weights[row]
        menu = self._task.menu
        rounds_inputs = menu is not None and bool(menu.schemes) and weight.layer.kind != "embedding"
        return rounds_inputs or bool(weight.errors.squares().any())

    def _that_matter(self, batch: Batch, rows: Sequence[int]) -> list[int]:
        """Those rows whose weights change the outputs; first tried all together, since mostly none does."""
        if not rows:
            return []
        with torch.no_grad():
            reference = self._logits(batch)
            if not self._changed(batch, rows, reference):
                return []
            return [row for row in rows if self._changed(batch, [row], reference)]

    def _changed(self, batch: Batch, rows: Sequence[int], reference: Logits) -> bool:
        """Whether the outputs change when weights are zero, or are rounded as far as any format rounds them."""
        held = [(row, parameter) for row in rows for parameter in self._task.weights[row].parameters]
        kept = [parameter.detach().clone() for _, parameter in held]
        try:
            for _, parameter in held:
                parameter.zero_()
            if not _same(self._logits(batch), reference):
                return True
            for (_, parameter), before in zip(held, kept, strict=True):
                parameter.copy_(before)
            coarsest = {row: self._task.weights[row].errors.coarsest() for row, _ in held}
            for (row, parameter), before in zip(held, kept, strict=True):
                parameter.copy_(before.to(coarsest[row].dtype) + coarsest[row])
            return not _same(self._logits(batch), reference)
        finally:
            for (_, parameter), before in zip(held, kept, strict=True):
                parameter.copy_(before)

    def _differentiate(self, batch: Batch, rows: Sequence[int]) -> None:
        """Sort rows that matter by the gradient of the outputs that reaches them."""
        for parameter in self._task.model.parameters():
            parameter.requires_grad_(False)
        held = [(row, parameter) for row in rows for parameter in self._task.weights[row].parameters]
        for _, parameter in held:
            parameter.requires_grad_(True)
        with torch.enable_grad():
            live_heads = [own for own in heads_of(self._logits(batch)) if own.requires_grad]
        gradients: Sequence[Tensor | None] = [None for _ in held]
        if live_heads:
            # No probe of the curvature, which vanishes where the network is certain.
            generator = torch.Generator().manual_seed(self._task.seed)
            vectors = [rademacher(own.detach(), generator) for own in live_heads]
            gradients = torch.autograd.grad(live_heads, [each for _, each in held], vectors, allow_unused=True)
        found: dict[int, list[Tensor]] = {row: [] for row in rows}
        for (row, _), gradient in zip(held, gradients, strict=True):
            if gradient is not None:
                found[row].append(gradient)
        cut = [row for row, own in found.items() if not own]
        if cut:
            self._refuse(cut, f" on batch {batch.index}")
        live = {row for row, own in found.items() if any(bool((each != 0).any()) for each in map(_dense, own))}
        self._reached |= live
        self._flat |= set(found) - live

    def _refuse(self, rows: Collection[int], where: str) -> None:
        refuse_cut([weight.layer.name for weight in self._task.weights], rows, where)

    def _logits(self, batch: Batch) -> Logits:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._task.seed)
            return forward(self._task.model, batch, self._task.output)


def refuse_cut(layers: Sequence[str], rows: Collection[int], where: str = "") -> None:
    """Refuse layers that matter and that no gradient reaches; raises InvalidInput."""
    raise InvalidInput(
        f"no gradient reaches {_named(layers, rows)}{where}, although the outputs depend on it, and its loss would "
        "read 0: something like detach, round or argmax stands behind it; use method='measured_kl', or name the "
        "other layers with layers="
    )


def warn_of_unknown(layers: Sequence[str], rows: Collection[int], called: Collection[int]) -> None:
    """Name the layers whose loss is unknown, by whether a sample called them."""
    for why, found in (
        ("no sample reaches %s: give more batches", [row for row in rows if row not in called]),
        ("nothing that outputs= takes depends on %s", [row for row in rows if row in called]),
    ):
        if found:
            logger.warning(why + "; the loss is unknown, so only the widest format is allowed", _named(layers, found))


def operations_of(layers: Sequence[Layer], found: Mapping[str, Any]) -> tuple[int | None, ...]:
    """The operations that `Reach.document` gave for layers, on average over its samples, as `Reach.counted` says."""
    samples, operations = found["samples"], found["operations"]
    return tuple(
        layer.macs if row in found["alike"] or not samples else -(-operations[row] // samples)
        for row, layer in enumerate(layers)
    )


def _named(layers: Sequence[str], rows: Collection[int]) -> str:
    names = [repr(layers[row]) for row in sorted(rows)]
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"layer{'s' if len(names) > 1 else ''} {', '.join(names[:8])}{more}"


def _same(some: Logits, others: Logits) -> bool:
    return all(torch.equal(own, other) for own, other in zip(heads_of(some), heads_of(others), strict=True))


def _dense(gradient: Tensor) -> Tensor:
    return gradient.to_dense() if gradient.is_sparse else gradient
