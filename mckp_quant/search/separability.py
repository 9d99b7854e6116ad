"""How well the features of a layer tell the classes apart: between-class over within-class scatter."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import InvalidInput
from ..network.batches import evaluating, forward
from ..network.discovery import modules
from ..network.labels import IGNORED_TARGET
from ..network.outputs import Outputs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import nn

    from ..layers import Layer
    from ..network.batch import Batch


class Scatter:
    """Sums from which the scatter of labelled points follows, however the points come in.

    The separability is ``J = tr(S_b) / tr(S_w)``, with the between-class scatter ``S_b`` (of the class means about the
    mean of all points, weighted by the size of the class) and the within-class scatter ``S_w`` (Fisher, 1936, *The use
    of multiple measurements in taxonomic problems*).

    Parameters
    ----------
    classes
        How many classes there are.
    """

    def __init__(self, classes: int) -> None:
        self._count = torch.zeros(classes, dtype=torch.float64)
        self._sum: Tensor | None = None
        self._squares = 0.0

    def add(self, points: Tensor, labels: Tensor) -> None:
        """Take in points.

        Parameters
        ----------
        points
            ``(n, features)`` floating point.
        labels
            ``(n,)`` int64 classes, from 0.
        """
        points = points.detach().double().cpu()
        labels = labels.cpu()
        if self._sum is None:
            self._sum = torch.zeros(len(self._count), points.shape[1], dtype=torch.float64)
        self._count.index_add_(0, labels, torch.ones(len(labels), dtype=torch.float64))
        self._sum.index_add_(0, labels, points)
        self._squares += float(points.square().sum())

    @property
    def separability(self) -> float:
        """``tr(S_b) / tr(S_w)``: 0 where all classes have the same mean, infinite where each class is a point."""
        if self._sum is None:
            return 0.0
        seen = self._count > 0
        count, total = self._count[seen], self._sum[seen]
        inside = float((total.square().sum(dim=1) / count).sum())
        overall = float(total.sum(dim=0).square().sum() / count.sum())
        # Sums of squares of means, less one another: what is below their rounding is no separation.
        noise = 1e-12 * self._squares
        between, within = max(inside - overall, 0.0), max(self._squares - inside, 0.0)
        if between <= noise:
            return 0.0
        return between / within if within > noise else float("inf")


def separabilities(
    model: nn.Module, layers: Sequence[Layer], batches: Iterable[Batch], *, outputs: Outputs = Outputs()
) -> dict[str, float]:
    """The separability of what every layer puts out.

    The output of a convolution is averaged over space; where there is an output for each token or pixel, and a target
    for each, every one of them is a point.

    Parameters
    ----------
    model
        The float network, left as it was.
    layers
        Its layers.
    batches
        With targets: class numbers; -100 does not count.
    outputs
        What the network returns.

    Returns
    -------
    separability
        By the layer's name, in the order in which the network runs them; a layer that it does not run is missing.

    Raises
    ------
    InvalidInput
        When a batch has no targets, or targets that are no class numbers.
    """
    users = modules(model, layers)
    names = {users[name]: layer.name for layer in layers for name in (layer.name, *layer.ties)}
    scatter: dict[str, Scatter] = {}
    labels = torch.zeros(0)

    def classes_of(batch: Batch) -> Tensor:
        given = batch.targets if isinstance(batch.targets, tuple) else (batch.targets,)
        numbers = [each for each in given if each is not None and not each.is_floating_point()]
        if not numbers:
            raise InvalidInput(
                f"batch {batch.index} has no class numbers as targets: the separability of classes needs them"
            )
        first: Tensor = numbers[0]  # of several heads, the first with classes
        return first.long()

    def watch(module: nn.Module, args: tuple[Any, ...], result: Any) -> None:
        points, own = _points(result, labels)
        known = (own != IGNORED_TARGET).to(points.device)
        if points.shape[0] == len(own):
            scatter.setdefault(names[module], Scatter(classes)).add(points[known], own[known.cpu()])

    held, take = list(batches), outputs.logits
    classes = 1 + max(int(classes_of(batch).max()) for batch in held)
    with evaluating(model), contextlib.ExitStack() as hooks, torch.no_grad():
        for module in names:
            hooks.callback(module.register_forward_hook(watch).remove)
        for batch in held:
            labels = classes_of(batch)
            forward(model, batch, take)
    return {name: found.separability for name, found in scatter.items()}


def _points(result: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """``(n, features)`` points and the label of each, of one call of a layer."""
    if labels.ndim > 1 and result.shape[:-1] == labels.shape:
        return result.reshape(-1, result.shape[-1]), labels.reshape(-1)
    if labels.ndim > 1 and result.ndim > 3 and result.shape[2:].numel() == labels.shape[1]:  # a target for each pixel
        return result.movedim(1, -1).reshape(-1, result.shape[1]), labels.reshape(-1)
    pooled = result.flatten(2).mean(dim=2) if result.ndim > 2 else result
    return pooled, labels if labels.ndim == 1 else labels[:, -1]
