r"""A caller's own distance between the float and the quantised network's outputs, measured on the network.

The mean over samples of ``distance(float outputs, quantised outputs)``, with one weight in one format and all others in
floating point.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from ...errors import InvalidInput
from ..engine.one_layer_at_a_time import measuring
from ..estimator import Passes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ...network.batch import Batch
    from ...network.logits import Logits
    from ..task import Reader, Task


@dataclass(frozen=True)
class Metric:
    """Measure the caller's distance for every layer and format.

    Attributes
    ----------
    distance
        From the logits of the float and of the quantised network (a tuple each for several heads) to a tensor with one
        number per sample, small where they agree.

    Raises
    ------
    InvalidInput
        When `distance` cannot be called.
    """

    distance: Callable[[Any, Any], object]
    name: ClassVar[str] = "metric"
    reference: ClassVar[str] = "the caller's own"
    needs_targets: ClassVar[bool] = False
    reads_inputs: ClassVar[bool] = True
    passes: ClassVar[Passes] = Passes(batch=1, entry=0.35)
    unit: ClassVar[str] = "units of the metric"

    def __post_init__(self) -> None:
        """Refuse what is no function."""
        if not callable(self.distance):
            raise InvalidInput(
                f"distance is {self.distance!r}: give a function from the outputs of the float and of the quantised "
                "network to one number per sample"
            )

    @contextlib.contextmanager
    def reading(self, task: Task) -> Iterator[Reader]:
        """Read batches, whose targets are not used.

        Parameters
        ----------
        task
            What to measure.

        Yields
        ------
        read
            From a batch to the distances of its samples. It raises InvalidInput when the model fails on the batch or
            the metric gives anything but one number for each sample.
        """

        def judged(reference: Logits, logits: Logits, batch: Batch) -> tuple[Tensor, Tensor]:
            values = self.distance(reference, logits)
            if not isinstance(values, Tensor) or tuple(values.shape) != (batch.size,):
                kind = type(values).__name__
                shape = f"the shape {tuple(values.shape)}" if isinstance(values, Tensor) else f"a {kind}"
                raise InvalidInput(
                    f"the metric returned {shape} for the {batch.size} samples of batch {batch.index}: it must return "
                    f"a tensor with one number for each, of shape ({batch.size},)"
                )
            return values.detach().double().cpu(), torch.ones(batch.size, dtype=torch.float64)

        with measuring(task, judged, lambda _: self.unit) as read:
            yield read
