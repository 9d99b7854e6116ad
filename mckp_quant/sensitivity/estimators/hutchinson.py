r"""Average Hessian trace times squared perturbation (HAWQ-V2), with standard errors.

``loss(l, f) = (tr H_l / n_l) * ||dw(l, f)||^2 / 2``, with ``H_l`` the Hessian of the mean loss in the ``n_l`` weights
of layer ``l`` (Dong et al., 2020, *HAWQ-V2: Hessian Aware trace-Weighted Quantization of Neural Networks*; the factor
1/2, which makes it a second-order prediction for perturbations without preferred direction, is not in their formula).
The trace is the mean of ``r' H_l r`` over Rademacher vectors (Hutchinson, 1990, *A stochastic estimator
of the trace of the influence matrix for Laplacian smoothing splines*).

One vector over all layers serves all traces with one Hessian-vector product: the blocks between layers add variance but
no bias. `HutchinsonBlockwise` does without that variance.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from ...common.checks import check_count
from ...network.likelihood import rademacher
from ..engine.second_order import hessian_vector_product
from ..engine.traces import trace_reader
from ..estimator import Passes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from ..task import Reader, Task


@dataclass(frozen=True)
class Hutchinson:
    """Estimate the traces with one vector over all layers for each probe, and scale them to all formats.

    Attributes
    ----------
    probes
        Random vectors for each batch, each with one Hessian-vector product.

    Raises
    ------
    InvalidInput
        When `probes` is no whole number, or below 1.
    """

    probes: int = 1
    name: ClassVar[str] = "hutchinson"
    reference: ClassVar[str] = (
        "Dong, Yao, Arfeen, Gholami, Mahoney and Keutzer (2020), HAWQ-V2: Hessian aware trace-weighted quantization of "
        "neural networks, NeurIPS 33, 18518-18529"
    )
    needs_targets: ClassVar[bool] = True
    reads_inputs: ClassVar[bool] = False
    passes: ClassVar[Passes] = Passes(batch=5.6)
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
        for probe in range(self.probes):
            signs = {weight: rademacher(weight.parameters[0], task.state.generator) for weight in task.weights}
            vectors = {parameter: signs[weight] for weight in task.weights for parameter in weight.parameters}
            linked = [gradients[parameter] for parameter in vectors]
            again = probe < self.probes - 1
            products = hessian_vector_product(linked, list(vectors), list(vectors.values()), keep_graph=again)
            by_parameter = dict(zip(vectors, products, strict=True))
            for row, weight in enumerate(task.weights):
                for parameter in weight.parameters:
                    traces[probe, row] += float((signs[weight] * by_parameter[parameter]).sum(dtype=torch.float64))
        return traces
