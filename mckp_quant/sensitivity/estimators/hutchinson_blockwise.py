r"""Average Hessian trace times squared perturbation, as `Hutchinson` has it, layer by layer.

A random vector for each layer takes a Hessian-vector product for each, and is free of the variance that the blocks
between layers add to a vector over all of them.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from ...common.checks import check_count
from ...network.likelihood import rademacher
from ..engine.second_order import quadratic_form
from ..engine.traces import trace_reader
from ..estimator import Passes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from ..task import Reader, Task


@dataclass(frozen=True)
class HutchinsonBlockwise:
    """Estimate the traces with a vector and a Hessian-vector product for each layer, and scale them to all formats.

    Attributes
    ----------
    probes
        Random vectors for each layer and batch.

    Raises
    ------
    InvalidInput
        When `probes` is no whole number, or below 1.
    """

    probes: int = 1
    name: ClassVar[str] = "hutchinson_blockwise"
    reference: ClassVar[str] = (
        "Hutchinson (1990), A stochastic estimator of the trace of the influence matrix for Laplacian smoothing splines"
    )
    needs_targets: ClassVar[bool] = True
    reads_inputs: ClassVar[bool] = False
    passes: ClassVar[Passes] = Passes(batch=2, layer=1.2)
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
        last = traces.numel() - 1
        for probe in range(self.probes):
            for row, weight in enumerate(task.weights):
                signs = rademacher(weight.parameters[0], task.state.generator)
                again = probe * len(task.weights) + row < last
                traces[probe, row] = quadratic_form(weight, gradients, signs, keep_graph=again)
        return traces
