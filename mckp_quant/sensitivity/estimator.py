"""What an estimator is: facts about it as class attributes, its options as fields, and what it does with a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from torch import Tensor

    from .task import Reader, Task

_EACH_SCHEME = 0.5  # gradient evaluations more for each way of storing inputs, where one pass serves all entries


@dataclass(frozen=True)
class Passes:
    """Gradient evaluations that an estimator takes for one batch; they are what `plan` reckons with.

    Attributes
    ----------
    batch
        Whatever the table's size.
    layer
        For each layer.
    entry
        For each layer in each format.
    """

    batch: float = 0
    layer: float = 0
    entry: float = 0

    def of(self, layers: int, formats: int, schemes: int) -> float:
        """How many they are for so many layers and formats, which store inputs in so many ways."""
        inputs = 0 if self.entry else _EACH_SCHEME * schemes
        return self.batch + inputs + (self.layer + self.entry * formats) * layers


class EstimatorFacts(Protocol):
    """What is known of an estimator before it is used.

    Attributes
    ----------
    name
        Its name in `ESTIMATORS`.
    reference
        Who described it: author, year, title; or what it is measured by.
    needs_targets
        Whether batches must have targets.
    reads_inputs
        Whether it also predicts formats that store a layer's input.
    passes
        What a batch costs.
    unit
        Unit of the estimates: for ``"nats"`` a reading adds whether they are per sample or per token.
    """

    name: ClassVar[str]
    reference: ClassVar[str]
    needs_targets: ClassVar[bool]
    reads_inputs: ClassVar[bool]
    passes: ClassVar[Passes]
    unit: ClassVar[str]


@runtime_checkable
class Estimator(EstimatorFacts, Protocol):
    """Estimates from batches: a frozen dataclass whose fields are its options."""

    def reading(self, task: Task) -> AbstractContextManager[Reader]:
        """Set up what it needs in the model, give a function from batches to readings, and clean up.

        Parameters
        ----------
        task
            What to measure.

        Returns
        -------
        context
            Gives the function; hooks are in the model while it is open.
        """
        ...


@runtime_checkable
class DataFreeEstimator(EstimatorFacts, Protocol):
    """Estimates from the weights alone: a frozen dataclass whose fields are its options."""

    def losses(self, task: Task) -> Tensor:
        """Compute the whole table.

        Parameters
        ----------
        task
            What to measure.

        Returns
        -------
        losses
            ``(n_layers, n_formats)`` float64 on the CPU.
        """
        ...


AnyEstimator: TypeAlias = Estimator | DataFreeEstimator
