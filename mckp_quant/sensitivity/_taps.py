"""Hooks that contract per-sample weight gradients while one backward pass runs, for all layers and formats at once."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..batches import forward
from ..errors import InvalidInput
from ._contract import has_sample_rows, per_sample_products

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from ..batches import Batch
    from ._estimator import LayerWeight, Task

logger = logging.getLogger(__name__)

_CHECKED_SAMPLES = 2
_TOLERANCE = 1e-2  # relative: what a use of the weight that the hooks do not see may hide in


class Taps:
    """Products of weight gradients with perturbations, per sample where that is possible.

    Hooks keep what each layer was called with; when the gradient of its output arrives, it is contracted with the
    layer's perturbations and dropped. Products of several calls and of tied modules add up, because the weight they
    share is perturbed everywhere at once.

    The hooks see calls of modules only, and attribute rows of a layer's input to samples by their order. Both can be
    wrong: a model may use ``embedding.weight`` directly, look positions up once for all samples, or put time first. So
    the first batch's `forward` compares with autograd on two samples, and layers that fail go to `per_batch`: for these
    the product is taken from autograd's weight gradient, summed over the batch. For all others autograd is not asked
    for weight gradients.

    Parameters
    ----------
    task
        The model, its layers, and what is known of them from earlier batches.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._memory = task.memory
        self._weights = task.weights
        self._samples = 0
        self._roots: list[Tensor] = []
        self._products: list[Tensor | None] = [None] * len(task.weights)
        self._blind: set[int] = set()
        self._unordered: set[int] = set()

    @property
    def per_batch(self) -> set[int]:
        """Indices of layers whose products are known only as their sum over the batch."""
        return self._memory.per_batch

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """Hold the hooks in the modules."""
        with contextlib.ExitStack() as hooks:
            for row, weight in enumerate(self._weights):
                for module in weight.modules:
                    handle = module.register_forward_hook(self._hook(row), with_kwargs=True)
                    hooks.callback(handle.remove)
            yield

    def forward(self, batch: Batch) -> Tensor:
        """Run the model and give its logits, with what `backward` needs recorded; checks the hooks where due.

        Parameters
        ----------
        batch
            The batch.

        Returns
        -------
        logits
            With a graph that reaches every layer.
        """
        if self._memory.checked_samples < min(batch.size, _CHECKED_SAMPLES):
            self._check(batch.head(_CHECKED_SAMPLES))
        logits = self._run(batch, self.per_batch)
        if not self._unordered <= self.per_batch:
            self._give_up(self._unordered)
            logits = self._run(batch, self.per_batch)
        return logits

    def backward(self, logits: Tensor, vectors: Tensor, *, keep_graph: bool) -> list[Tensor]:
        """Send vectors back through the network.

        Parameters
        ----------
        logits
            What `forward` gave.
        vectors
            Of the shape of the logits: the gradient to start from.
        keep_graph
            Whether another call with the same logits follows.

        Returns
        -------
        products
            For each layer ``(n_samples, n_formats)`` float64 on the CPU, or ``(1, n_formats)`` for `per_batch`.
        """
        parameters = [parameter for row in self.per_batch for parameter in self._weights[row].parameters]
        gradients = self._differentiate(logits, [*self._roots, *parameters], vectors, keep_graph)
        by_parameter = dict(zip(parameters, gradients[len(self._roots) :], strict=True))
        products = []
        for row, weight in enumerate(self._weights):
            product = self._products[row]
            if row in self.per_batch:
                product = _summed_product(weight, by_parameter)[None]
            if product is None:  # the layer was not called, or does not reach the logits
                product = torch.zeros(self._samples, len(weight.perturbations), dtype=torch.float64)
            products.append(product)
        return products

    def _run(self, batch: Batch, differentiated: Collection[int]) -> Tensor:
        """Run the model so that autograd can give the weight gradients of some rows, and the hooks see all others."""
        for parameter in self._task.model.parameters():
            parameter.requires_grad_(False)
        for row in differentiated:
            for parameter in self._weights[row].parameters:
                parameter.requires_grad_(True)
        self._samples = batch.size
        self._roots = []
        self._blind.clear()
        with torch.enable_grad():
            logits = forward(self._task.model, batch, self._task.output)
        if self._blind:
            name = self._weights[min(self._blind)].layer.name
            raise InvalidInput(
                f"layer {name!r} runs under torch.no_grad() on batch {batch.index}: no gradient reaches it, and its "
                "loss would read 0; take the no_grad (or the reentrant checkpointing) out, or use method='measured_kl'"
            )
        if not logits.requires_grad:
            raise InvalidInput(
                f"the logits of batch {batch.index} do not depend on any layer in a way that can be differentiated: "
                "does the model or output= detach them?"
            )
        if not bool(torch.isfinite(logits).all()):
            raise InvalidInput(f"the logits of batch {batch.index} hold nan or infinite entries: check the inputs")
        return logits

    def _differentiate(
        self, logits: Tensor, inputs: Sequence[Tensor], vectors: Tensor, keep_graph: bool
    ) -> tuple[Tensor | None, ...]:
        self._products = [None] * len(self._weights)
        try:
            return torch.autograd.grad(logits, inputs, vectors, retain_graph=keep_graph, allow_unused=True)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise InvalidInput(f"the model cannot be differentiated: {error}") from error

    def _hook(self, row: int) -> Callable[..., Tensor | None]:
        def record(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: object) -> Tensor | None:
            if not torch.is_grad_enabled():
                self._blind.add(row)
                return None
            if row in self.per_batch or not isinstance(output, Tensor):
                return None
            inputs: Tensor = (args[0] if args else kwargs["input"]).detach()
            if not has_sample_rows(module, inputs, self._samples):
                self._unordered.add(row)
                return None
            if not output.requires_grad:
                # Nothing before this layer is differentiated: the graph starts here. The clone lets the model change
                # the output in place, which autograd forbids for a leaf.
                root = output.detach().requires_grad_()
                self._roots.append(root)
                output = root.clone()
            output.register_hook(lambda gradient: self._contract(row, module, inputs, gradient))
            return output

        return record

    def _contract(self, row: int, module: nn.Module, inputs: Tensor, gradient: Tensor) -> None:
        product = per_sample_products(module, inputs, gradient, self._weights[row].perturbations, self._samples)
        product = product.to(device="cpu", dtype=torch.float64)
        before = self._products[row]
        self._products[row] = product if before is None else before + product

    def _check(self, batch: Batch) -> None:
        """Send a vector back from one sample only: its products must equal autograd's, the others' must vanish."""
        self._memory.checked_samples = batch.size
        logits = self._run(batch, range(len(self._weights)))
        parameters = [parameter for weight in self._weights for parameter in weight.parameters]
        vectors = self._task.likelihood.curvature_probe(logits, torch.Generator().manual_seed(self._task.seed))
        vectors[1:] = 0
        gradients = dict(zip(parameters, self._differentiate(logits, parameters, vectors, False), strict=True))
        for row, weight in enumerate(self._weights):
            if row in self.per_batch:
                continue
            expected = _summed_product(weight, gradients)
            product = self._products[row]
            if product is None:
                product = torch.zeros(batch.size, len(expected), dtype=torch.float64)
            if row in self._unordered or bool(product[1:].any()) or not _agree(product[0], expected, weight, gradients):
                self._give_up({row})

    def _give_up(self, rows: set[int]) -> None:
        for row in sorted(rows - self.per_batch):
            logger.info(
                "layer %r is used in a way that cannot be split into samples: it is estimated from whole batches, with "
                "a larger standard error",
                self._weights[row].layer.name,
            )
        self._memory.per_batch |= rows


def _summed_product(weight: LayerWeight, gradients: dict[nn.Parameter, Tensor | None]) -> Tensor:
    """``(n_formats,)`` float64 on the CPU: the weight's whole gradient times each perturbation."""
    directions = weight.perturbations
    total = torch.zeros(len(directions), dtype=torch.float64)
    for parameter in weight.parameters:
        gradient = gradients[parameter]
        if gradient is not None:
            dense = gradient.to_dense() if gradient.is_sparse else gradient
            total += (directions.flatten(1) @ dense.flatten().to(directions.dtype)).to(
                device="cpu", dtype=torch.float64
            )
    return total


def _agree(
    product: Tensor, expected: Tensor, weight: LayerWeight, gradients: dict[nn.Parameter, Tensor | None]
) -> bool:
    norms = [float(gradient.norm()) for each in weight.parameters if (gradient := gradients[each]) is not None]
    sizes = weight.perturbations.flatten(1).norm(dim=1).to(device="cpu", dtype=torch.float64)
    rounding = 10 * torch.finfo(weight.parameters[0].dtype).eps * sum(norms) * float(sizes.max())
    allowed = _TOLERANCE * max(float(product.norm()), float(expected.norm())) + rounding
    return float((product - expected).norm()) <= allowed
