"""Hooks that contract per-sample weight gradients while one backward pass runs, for all layers and formats at once."""

from __future__ import annotations

import contextlib
import functools
import logging
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ...errors import InvalidInput
from ...network.batches import forward
from ...network.blocks.finding import without_cache
from ...network.blocks.recomputing import Recomputing
from ...network.likelihood import rademacher
from ...network.logits import heads_of, mapped
from ...rounding.inputs import input_of, with_input
from .contract import has_own_forward, has_sample_rows, per_sample_products, piecewise
from .joint import input_products, rounded_inputs, weight_products
from .means import MeanChanges
from .whole_gradients import agree, summed_product

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from ...network.batch import Batch
    from ...network.logits import Logits
    from ...rounding.inputs import InputRounding
    from ..columns import Menu
    from ..task import Task

logger = logging.getLogger(__name__)

_CHECKED_SAMPLES = 2


class Taps:
    """Products of weight gradients with perturbations, per sample where that is possible.

    Where formats round inputs too, a product is that of the output's gradient with the change of the output when both
    are rounded (see `joint`). The gradient that reaches the input is taken from an alias of it: it then holds what
    comes through this call, and nothing of other uses of the same tensor.

    Hooks keep what each layer was called with; when the gradient of its output arrives, it is contracted with the
    layer's perturbations and dropped. Products of several calls and of tied modules add up, because the weight they
    share is perturbed everywhere at once.

    The hooks see calls of modules only, and attribute rows of a layer's input to samples by their order. Both can be
    wrong: a model may use ``embedding.weight`` directly, look positions up once for all samples, or put time first. So
    the first batch's `forward` compares with autograd on two samples, and layers that fail go to `per_batch`: for these
    the product is taken from autograd's weight gradient, summed over the batch. For all others autograd is not asked
    for weight gradients. A subclass with a ``forward`` of its own may fit at one shape and not at another, so it is
    compared again at every new one. A hook that fails, whatever it raises, gives its layer up in the same way.

    Where the task names blocks, nothing of them is kept but their inputs, and each is computed again, hooks included,
    when its gradient arrives (see `Recomputing`): the numbers are the same.

    Parameters
    ----------
    task
        The model, its layers, and what is known of them from earlier batches.
    matched
        Whether the mean change of every output channel over the batch is taken away, as a bias takes it, see
        `MeanChanges`. Layers in `per_batch` and embeddings keep it.
    """

    def __init__(self, task: Task, *, matched: bool = False) -> None:
        self._means = MeanChanges() if matched else None
        self._task = task
        self._menu = task.menu
        self._state = task.state
        self._weights = task.weights
        self._samples = 0
        self._blocks = Recomputing(tuple(task.blocks.modules.values()))
        self._products: list[Tensor | None] = [None] * len(task.weights)
        self._again = False  # whether another backward pass through the same graph follows
        self._under_no_grad: set[int] = set()
        self._unfit: set[int] = set()
        self._checking = False
        self._failure: tuple[int, Exception] | None = None  # of a layer for which nothing else can stand in
        self._shapes: set[str] = set()
        self._batch: Batch | None = None
        self._logits: Logits | None = None
        # Of layers whose weight gradients autograd gives: their products, and the sums of their norms times those
        # of the largest perturbation.
        self._summed: dict[int, Tensor] = {}
        self._norms: dict[int, float] = {}

    @property
    def per_batch(self) -> set[int]:
        """Indices of layers whose products are known only as their sum over the batch."""
        return self._state.per_batch

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """Hold the hooks in the modules."""
        with contextlib.ExitStack() as hooks:
            if self._task.blocks.modules:
                hooks.enter_context(without_cache(self._task.model))
            hooks.enter_context(self._blocks.attached())
            for row, weight in enumerate(self._weights):
                for module in weight.modules:
                    if self._menu is not None and self._menu.schemes:
                        alias = module.register_forward_pre_hook(self._alias(row, self._menu), with_kwargs=True)
                        hooks.callback(alias.remove)
                    handle = module.register_forward_hook(self._hook(row), with_kwargs=True)
                    hooks.callback(handle.remove)
            yield

    def forward(self, batch: Batch) -> Logits:
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
        shape = batch.head(1).shape
        new = shape not in self._shapes and any(
            has_own_forward(module)
            for row, weight in enumerate(self._weights)
            if row not in self.per_batch
            for module in weight.modules
        )
        if self._state.checked_samples < min(batch.size, _CHECKED_SAMPLES) or new:
            self._check(batch.head(_CHECKED_SAMPLES))
        self._shapes.add(shape)
        self._batch, self._logits = batch, self._run(batch, self.per_batch)
        if not self._unfit <= self.per_batch:
            self._read_per_batch(self._unfit)
            self._logits = self._run(batch, self.per_batch)
        return self._logits

    def backward(self, vectors: Logits, *, keep_graph: bool) -> list[Tensor]:
        """Send vectors back through the network, from the logits that `forward` gave last.

        Parameters
        ----------
        vectors
            Of the shape of the logits: the gradient to start from.
        keep_graph
            Whether another call from the same logits follows.

        Returns
        -------
        products
            For each layer ``(n_samples, n_formats)`` float64 on the CPU, or ``(1, n_formats)`` for `per_batch`.
        """
        assert self._batch is not None
        assert self._logits is not None
        self._differentiate(self._logits, self.per_batch, vectors, keep_graph)
        if not self._unfit <= self.per_batch:
            self._read_per_batch(self._unfit)
            self._logits = self._run(self._batch, self.per_batch)
            self._differentiate(self._logits, self.per_batch, vectors, keep_graph)
        if self._failure is not None:
            row, error = self._failure
            raise InvalidInput(
                f"layer {self._weights[row].layer.name!r} computes its output in a way of its own, and what rounding "
                f"its input changes cannot be followed ({type(error).__name__}: {error}): use method='measured_kl', or "
                "measure formats of weights only"
            ) from error
        if not keep_graph:
            self._batch = self._logits = None
        products = []
        for row in range(len(self._weights)):
            product = self._products[row]
            if product is None:  # the layer was not called, or does not reach the logits
                samples = 1 if row in self.per_batch else self._samples
                product = torch.zeros(samples, self._task.shape[1], dtype=torch.float64)
            if row in self.per_batch:
                summed = self._summed[row]
                product = product + (summed if self._menu is None else summed[[at for at, _ in self._menu.columns]])
            products.append(product)
        if self._means is None:
            return products
        split = {row: product for row, product in enumerate(products) if row not in self.per_batch}
        split = self._means.without(split)
        return [split.get(row, product) for row, product in enumerate(products)]

    def _run(self, batch: Batch, differentiated: Collection[int]) -> Logits:
        """Run the model so that autograd can give the weight gradients of some rows, and the hooks see all others."""
        for parameter in self._task.model.parameters():
            parameter.requires_grad_(False)
        for row in differentiated:
            for parameter in self._weights[row].parameters:
                parameter.requires_grad_(True)
        self._samples = batch.size
        self._under_no_grad.clear()
        with torch.enable_grad(), self._blocks.running():
            logits = forward(self._task.model, batch, self._task.output)
        self._refuse_no_grad(f" on batch {batch.index}")
        heads = heads_of(logits)
        if (
            not any(own.requires_grad for own in heads) and self._unfit <= self.per_batch
        ):  # others get their gradients in a second run
            raise InvalidInput(
                f"the logits of batch {batch.index} do not depend on any layer in a way that can be differentiated: "
                "does the model, or what Outputs(take=...) names, detach them?"
            )
        if not all(bool(torch.isfinite(own).all()) for own in heads):
            raise InvalidInput(f"the logits of batch {batch.index} hold nan or infinite entries: check the inputs")
        return logits

    def _refuse_no_grad(self, where: str) -> None:
        if self._under_no_grad:
            name = self._weights[min(self._under_no_grad)].layer.name
            raise InvalidInput(
                f"layer {name!r} runs under torch.no_grad(){where}: no gradient reaches it, and its loss would read 0; "
                "take the no_grad (or the reentrant checkpointing) out, or use method='measured_kl'"
            )

    def _differentiate(self, logits: Logits, rows: Collection[int], vectors: Logits, keep_graph: bool) -> None:
        """Send vectors back; weight gradients of some rows are contracted one by one as they arrive, and dropped."""
        self._products = [None] * len(self._weights)
        self._summed = {row: torch.zeros(len(self._weights[row].errors), dtype=torch.float64) for row in rows}
        self._norms = dict.fromkeys(rows, 0.0)
        if self._means is not None:
            self._means.found.clear()
        self._again = keep_graph
        # A head that depends on no layer has no gradient to give.
        pairs = [each for each in zip(heads_of(logits), heads_of(vectors), strict=True) if each[0].requires_grad]
        starts, along = zip(*pairs, strict=True) if pairs else ((logits,), (vectors,))
        try:
            with contextlib.ExitStack() as hooks:
                inputs = list(self._blocks.roots)
                for row in sorted(rows):
                    for parameter in self._weights[row].parameters:
                        hooks.callback(parameter.register_hook(functools.partial(self._arrived, row)).remove)
                        inputs.append(parameter)
                torch.autograd.grad(starts, inputs, along, retain_graph=keep_graph, allow_unused=True)
        except (InvalidInput, torch.OutOfMemoryError):
            raise
        except RuntimeError as error:
            raise InvalidInput(f"the model cannot be differentiated: {error}") from error
        self._refuse_no_grad("")

    def _arrived(self, row: int, gradient: Tensor) -> Tensor:
        """Contract a weight's gradient, and give back one that takes no memory."""
        products, squares = summed_product(self._weights[row], gradient)
        self._summed[row] += products
        self._norms[row] += float(gradient.norm()) * float(squares.max()) ** 0.5
        return gradient if gradient.is_sparse else gradient.new_zeros(()).expand_as(gradient)

    def _alias(self, row: int, menu: Menu) -> Callable[..., tuple[tuple[Any, ...], dict[str, Any]] | None]:
        name = self._weights[row].layer.name

        def alias(
            module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
            inputs = input_of(args, kwargs)
            if self._checking or not torch.is_grad_enabled() or inputs is None or not inputs.is_floating_point():
                return None
            menu.roundings_at(module, name)
            if not inputs.requires_grad:
                inputs = inputs.detach().requires_grad_()
                self._blocks.roots.append(inputs)
            return with_input(inputs.view_as(inputs), args, kwargs)

        return alias

    def _hook(self, row: int) -> Callable[..., Tensor | None]:
        name = self._weights[row].layer.name

        def record(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: object) -> Tensor | None:
            if self._blocks.first:
                return None
            if not torch.is_grad_enabled():
                self._under_no_grad.add(row)
                return None
            if not isinstance(output, Tensor):
                return None
            menu = None if self._checking else self._menu
            if row in self.per_batch and menu is None:
                return None
            alias = input_of(args, kwargs)
            if alias is None:
                self._unfit.add(row)
                return None
            inputs = alias.detach()
            roundings = None if menu is None else menu.roundings_at(module, name)
            if row in self.per_batch:
                if menu is not None and roundings is not None:
                    self._follow(row, menu, module, alias, output, roundings)
                return None
            if not has_sample_rows(module, inputs, self._samples):
                self._unfit.add(row)
                return None
            if not output.requires_grad:
                # Nothing before this layer is differentiated: the graph starts here. The clone lets the model change
                # the output in place, which autograd forbids for a leaf.
                root = output.detach().requires_grad_()
                self._blocks.roots.append(root)
                output = root.clone()
            if menu is not None and roundings is not None:
                self._follow(row, menu, module, alias, output, roundings)
            else:
                held = [inputs]
                output.register_hook(self._guarded(row, lambda gradient: self._contract(row, module, held, gradient)))
            return output

        return record

    def _contract(self, row: int, module: nn.Module, held: list[Tensor], gradient: Tensor) -> None:
        # Inputs go as soon as they have served, as those that autograd saves do, or they would add to the peak.
        inputs = held[0] if self._again else held.pop()
        errors = self._weights[row].errors
        plain = self._menu is None or self._checking
        # The input of an embedding is stored as it is in every scheme.
        for x, d, directions in piecewise(module, inputs, gradient, errors):
            if plain:
                self._add(row, per_sample_products(module, x, d, directions, self._samples))
            elif self._menu is not None:
                given = [x] * (1 + len(self._menu.schemes))
                self._add(row, weight_products(module, given, d, directions, self._menu, self._samples))
        if self._means is not None and not self._checking:
            self._means.add(row, module, inputs, gradient, errors.whole(), self._samples)

    def _follow(
        self, row: int, menu: Menu, module: nn.Module, alias: Tensor, output: Tensor, roundings: Sequence[InputRounding]
    ) -> None:
        """Contract what rounding both weight and input changes, in the two steps in which their gradients arrive."""
        held: list[Tensor] = []
        whole = row in self.per_batch
        samples = 1 if whole else self._samples

        def at_output(gradient: Tensor) -> None:
            errors = self._weights[row].errors
            inputs = alias.detach().to(errors.dtype)
            rounded = rounded_inputs(module, inputs, roundings)
            held.extend(each - inputs for each in rounded)
            # Of a whole batch autograd gives the products of unrounded inputs: only what rounding adds is missing.
            given = [None, *held] if whole else [inputs, *rounded]
            for _, own, directions in piecewise(module, inputs, gradient, errors):
                self._add(row, weight_products(module, given, own, directions, menu, samples))

        def at_input(gradient: Tensor) -> None:
            self._add(row, input_products(gradient, held, menu, samples))
            held.clear()

        output.register_hook(self._guarded(row, at_output))
        alias.register_hook(self._guarded(row, at_input))

    def _guarded(self, row: int, hook: Callable[[Tensor], None]) -> Callable[[Tensor], None]:
        """A hook whose failure gives up its layer; where inputs are rounded too, nothing else can stand in for it."""

        def guarded(gradient: Tensor) -> None:
            try:
                hook(gradient)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # noqa: BLE001  a subclass may break any assumption, in any way
                logger.debug("the hook of layer %r failed: %s", self._weights[row].layer.name, error)
                if row in self.per_batch:
                    self._failure = row, error
                self._unfit.add(row)

        return guarded

    def _add(self, row: int, product: Tensor) -> None:
        product = product.to(device="cpu", dtype=torch.float64)
        before = self._products[row]
        self._products[row] = product if before is None else before + product

    def _check(self, batch: Batch) -> None:
        """Send a vector back from one sample only: its products must equal autograd's, the others' must vanish."""
        self._state.checked_samples = batch.size
        self._checking = True
        logits = self._run(batch, range(len(self._weights)))
        generator = torch.Generator().manual_seed(self._task.seed)
        vectors = mapped(lambda own: _from_the_first(own.detach(), generator), logits)
        self._differentiate(logits, range(len(self._weights)), vectors, False)
        self._checking = False
        for row, weight in enumerate(self._weights):
            if row in self.per_batch:
                continue
            expected, norm, dtype = self._summed[row], self._norms[row], weight.parameters[0].dtype
            product = self._products[row]
            if product is None:
                product = torch.zeros(batch.size, len(expected), dtype=torch.float64)
            if row in self._unfit or bool(product[1:].any()) or not agree(product[0], expected, dtype, norm):
                self._read_per_batch({row})

    def _read_per_batch(self, rows: set[int]) -> None:
        for row in sorted(rows - self.per_batch):
            logger.info(
                "layer %r is used in a way that cannot be split into samples: it is estimated from whole batches, with "
                "a larger standard error",
                self._weights[row].layer.name,
            )
        self._state.per_batch |= rows


def _from_the_first(head: Tensor, generator: torch.Generator) -> Tensor:
    """A vector of one sample only, and no probe of the curvature, which vanishes where the network is certain."""
    vectors: Tensor = rademacher(head, generator) / head[0].numel() ** 0.5
    vectors[1:] = 0
    return vectors
