r"""Hessian traces by Hutch++: the largest eigenvalues exactly, Hutchinson's probes for what is left.

For ``tr H_l`` with ``3 k`` Hessian-vector products (Meyer, Musco, Musco and Woodruff, 2021, *Hutch++: Optimal
stochastic trace estimation*, algorithm 1): the products with ``k`` random vectors span nearly the leading eigenvectors;
with an orthonormal basis ``Q`` of that span

    tr H = tr Q' H Q + tr (I - Q Q') H (I - Q Q'),

the first term by ``k`` products, the second estimated with ``k`` Rademacher vectors. It is unbiased, and its variance
is that of Hutchinson's estimator on a matrix without the eigenvalues that ``Q`` holds. It pays where few eigenvalues
carry the trace; docs/sensitivity.md shows where that is. The traces then make losses as in `Hutchinson`.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from ...common.checks import check_count
from ...network.likelihood import rademacher
from ..engine.second_order import block_product, quadratic_form
from ..engine.traces import trace_reader
from ..estimator import Passes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from ..task import LayerWeight, Reader, Task


@dataclass(frozen=True)
class HutchPlusPlus:
    """Estimate the trace of every layer with three Hessian-vector products a probe, and scale it to all formats.

    Attributes
    ----------
    probes
        The number ``k`` of random vectors for each layer and batch.

    Raises
    ------
    InvalidInput
        When `probes` is no whole number, or below 1.
    """

    probes: int = 1
    name: ClassVar[str] = "hutch_plus_plus"
    reference: ClassVar[str] = (
        "Meyer, Musco, Musco and Woodruff (2021), Hutch++: Optimal stochastic trace estimation, SOSA, 142-155"
    )
    needs_targets: ClassVar[bool] = True
    reads_inputs: ClassVar[bool] = False
    passes: ClassVar[Passes] = Passes(batch=2, layer=3.6)
    unit: ClassVar[str] = "nats"

    def __post_init__(self) -> None:
        """Refuse numbers of probes that estimate nothing."""
        check_count("probes", self.probes, 1)

    @contextlib.contextmanager
    def reading(self, task: Task) -> Iterator[Reader]:
        """Read batches with targets.

        Parameters
        ----------
        task
            What to measure.

        Yields
        ------
        read
            See `trace_reader`.
        """
        yield trace_reader(task, self.name, self._traces)

    def _traces(self, task: Task, gradients: dict[nn.Parameter, Tensor]) -> Tensor:
        traces = torch.zeros(self.probes, len(task.weights), dtype=torch.float64)
        for row, weight in enumerate(task.weights):
            basis = self._leading(task, weight, gradients)
            columns = basis.T.reshape(-1, *weight.parameters[0].shape)
            held = sum(quadratic_form(weight, gradients, column, keep_graph=True) for column in columns)
            for probe in range(self.probes):
                signs = rademacher(weight.parameters[0], task.state.generator).to(basis.dtype).flatten()
                left = (signs - basis @ (basis.T @ signs)).reshape(weight.parameters[0].shape)
                again = row < len(task.weights) - 1 or probe < self.probes - 1
                traces[probe, row] = held + quadratic_form(weight, gradients, left, keep_graph=again)
        return traces

    def _leading(self, task: Task, weight: LayerWeight, gradients: dict[nn.Parameter, Tensor]) -> Tensor:
        """``(elements, min(probes, elements))``, orthonormal columns: the span of products with random vectors."""
        parameter = weight.parameters[0]
        products = [
            block_product(weight, gradients, rademacher(parameter, task.state.generator), keep_graph=True).flatten()
            for _ in range(self.probes)
        ]
        wide = torch.promote_types(parameter.dtype, torch.float32)
        basis: Tensor = torch.linalg.qr(torch.stack(products, dim=1).to(wide)).Q
        return basis
