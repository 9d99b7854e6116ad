r"""The first-order change of the loss, ``g . dw``: signed, and a quantity of its own.

``g`` is the gradient of the mean loss in the layer's weight. At a minimum of the loss it vanishes, and what remains on
a finite set of inputs is noise of their targets: it predicts the change of the loss on these very inputs and little
else. It is measured to see how large that noise is, and is added to no other estimate.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ...network.likelihood import unit
from ...network.logits import mapped
from ..engine.labelled import loss_gradient, per_unit_sizes
from ..engine.taps import Taps
from ..estimator import Passes
from ..task import Reading, targets_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...network.batch import Batch
    from ..task import Reader, Task


@dataclass(frozen=True)
class FirstOrder:
    """Compute ``mean_n g_n . dw``, exactly; the only randomness is that of the inputs."""

    name: ClassVar[str] = "first_order"
    reference: ClassVar[str] = "Taylor's theorem: the first-order term"
    needs_targets: ClassVar[bool] = True
    reads_inputs: ClassVar[bool] = True
    passes: ClassVar[Passes] = Passes(batch=1.4)
    unit: ClassVar[str] = "nats"
    streams: ClassVar[bool] = True

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
            From a batch to the sums of its samples (sequences). It raises InvalidInput when the batch has no targets,
            they do not fit, or the model fails or cannot be differentiated.
        """
        taps = Taps(task)

        def read(batch: Batch) -> Reading:
            targets = targets_of(batch, self.name)
            logits = taps.forward(batch)
            positions = task.likelihood.positions(logits)
            gradient, labelled = loss_gradient(task, logits, targets)
            products = taps.backward(mapped(lambda own: own / positions, gradient), keep_graph=False)
            return Reading(
                sums=tuple(products),
                sizes=tuple(per_unit_sizes(labelled, positions, len(product)) for product in products),
                unit=unit(logits),
                surprise=task.likelihood.surprise(mapped(lambda own: own.detach(), logits), targets),
            )

        with taps.attached():
            yield read
