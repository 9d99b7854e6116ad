r"""Expands the loss around a quantised network: what every other format of every layer would change there.

A table is an expansion around the float network, where the first derivative vanishes. Around a network that is
quantised already it does not: with ``p`` the float network's probabilities, ``q`` the quantised one's, ``J_n`` the
derivative of its logits and ``d`` a change of weights from one format to another, the divergence of sample ``n`` from
the float network grows by

    (q_n - p_n)' J_n d  +  d' J_n' S_n J_n d / 2.

The first term holds what the change does to the errors of all other layers, in full and without probes: one backward
pass gives it for every layer and format. The second is what `gauss_newton` estimates, here at the quantised network;
the same probe gives ``e' J_n' S_n J_n d``, the part of the first term that is due to the error ``e`` of the same layer.
What is left of the first term are terms between layers. They are small differences of large numbers, and on few samples
they overfit, so they are multiplied by the factor that holds on samples they were not estimated on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..errors import InvalidInput
from ..interactions.shrinkage import slope_on_others
from ..network.batches import evaluating
from ..network.logits import mapped, spread
from ..network.weight_uses import uses_in
from ..sensitivity.engine.taps import Taps
from ..sensitivity.errors import held_errors
from ..sensitivity.reach import Reach
from ..sensitivity.task import LayerWeight, Task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from ..allocation.index import Index
    from ..evaluation.evaluator import Evaluator
    from ..network.logits import Logits
    from ..solvers import Problem
    from ..tables.table import SensitivityTable

# By time, in passes of the network: one forward, two backward with their contractions over layers and formats.
EXPANSION_PASSES = 7.0


@dataclass(frozen=True, eq=False)
class Expansion:
    """What every choice of a problem would change in the loss around one selection.

    Attributes
    ----------
    own, cross
        ``(n_parts, n_choices)`` float64: for each part of the data the mean change that is due to the layer's own
        error, and to those of the others.
    curvature
        ``(n_choices,)`` float64: the second-order term alone, which is never negative.
    weights
        ``(n_parts,)`` float64: how much each part counts.
    """

    own: NDArray[np.float64]
    cross: NDArray[np.float64]
    curvature: NDArray[np.float64]
    weights: NDArray[np.float64]

    def shrinkage(self) -> float:
        """How much of the terms between layers holds on other data, from 0 to 1; one half where there is one part."""
        scale = np.sqrt(self.curvature)
        moved = scale > 0
        return slope_on_others(self.cross[:, moved] / scale[moved], self.weights)

    def change(self, factor: float | None = None) -> NDArray[np.float64]:
        """The change of the loss for every choice.

        Parameters
        ----------
        factor
            What the terms between layers are multiplied by; by default `shrinkage`.

        Returns
        -------
        change
            ``(n_choices,)`` float64, 0 for what is selected.
        """
        kept = self.shrinkage() if factor is None else factor
        return np.asarray(np.average(self.own + kept * self.cross, axis=0, weights=self.weights))


class Expander:
    """Expands the loss of one network around selections of a problem.

    Parameters
    ----------
    evaluator
        The evaluator of the float network.
    table, problem, index
        What is to be chosen, in formats of weights and possibly of activations.
    positions
        Which of the evaluator's batches to use.
    seed
        Of the probes.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        table: SensitivityTable,
        problem: Problem,
        index: Index,
        positions: Sequence[int],
        seed: int,
    ) -> None:
        self._evaluator = evaluator
        self._table = table
        self._problem = problem
        self._index = index
        self._likelihood = evaluator.outputs.distribution
        self._positions = positions
        self._seed = seed

    def around(
        self, choice: NDArray[np.int64], quantised: nn.Module, importance: Sequence[NDArray[np.float64]]
    ) -> Expansion:
        """Expand around a selection.

        Parameters
        ----------
        choice
            ``(n_groups,)`` positions of its choices.
        quantised
            The network under it, as the evaluator's simulator makes it; it is given back as it was.
        importance
            For each of the batches ``(samples,)``, how much each sample counts.

        Returns
        -------
        expansion
            A part for each batch.

        Raises
        ------
        InvalidInput
            When the network cannot be differentiated, no gradient reaches a layer, or derivatives overflow.
        """
        weights_here = self._weights(choice, quantised)
        task = Task(quantised, weights_here, self._likelihood, self._evaluator.outputs.logits, self._seed)
        first, second, own, weights = [], [], [], []
        with evaluating(quantised):
            taps, reach = Taps(task), Reach(task)
            with reach.attached(), taps.attached():
                for at, counts in zip(self._positions, importance, strict=True):
                    batch, wanted = self._evaluator.data(at)
                    reach.begin(batch)
                    logits = taps.forward(batch)
                    counted = self._likelihood.counted(logits, batch)
                    share = torch.as_tensor(counts).to(counted.device)[:, None] * counted
                    here = mapped(lambda own: own.detach(), logits)
                    there = mapped(lambda own, goal: goal.to(own.device), here, wanted)
                    pull = self._likelihood.divergence_gradient(here, there, batch)
                    first.append(self._summed(taps.backward(_scaled(pull, share), keep_graph=True)))
                    probe = self._likelihood.curvature_probe(logits, task.state.generator, batch)
                    found = taps.backward(_scaled(probe, share, root=True), keep_graph=False)
                    if bool(counted.any()):
                        reach.note(batch, found)
                    squares, products = self._squares(found)
                    second.append(squares)
                    own.append(products)
                    weights.append(float(counted.sum()))
                reach.check()
        seen = np.flatnonzero(weights)  # a batch of padding only says nothing
        parts = np.array(weights)[seen, None]
        curvature, mine, gradient = np.array(second)[seen] / 2, np.array(own)[seen], np.array(first)[seen]
        if not all(np.isfinite(each).all() for each in (curvature, mine, gradient)):
            raise InvalidInput("derivatives at the quantised network overflow its floating-point type")
        return Expansion(
            own=(mine + curvature) / parts + self._inputs(choice),
            cross=(gradient - mine) / parts,
            curvature=curvature.sum(axis=0) / parts.sum(),
            weights=parts[:, 0],
        )

    def _weights(self, choice: NDArray[np.int64], quantised: nn.Module) -> tuple[LayerWeight, ...]:
        """Every layer in the quantised network, with what other formats would change, and its present error last."""
        uses, simulator = uses_in(quantised), self._evaluator.simulator
        columns = self._index.formats  # whole: a bank rounds weights for the inputs that they meet
        allowed: dict[int, set[int]] = {}
        for group, rows in enumerate(self._index.groups):
            own = self._problem.label[self._problem.start[group] : self._problem.start[group + 1]]
            allowed |= {row: set(own.tolist()) for row in rows}
        made = []
        for row, layer in enumerate(self._table.layers):
            found = [uses[name] for name in dict.fromkeys((layer.name, *layer.ties))]
            parameter = found[0].weight
            here = parameter.detach()
            moves = [
                simulator.rounded(layer.name, column) - here if at in allowed[row] else torch.zeros_like(here)
                for at, column in enumerate(columns)
            ]
            moves.append(here - simulator.weight(layer.name).detach())
            made.append(
                LayerWeight(
                    layer=layer,
                    modules=tuple(dict.fromkeys(use.module for use in found)),
                    parameters=tuple(dict.fromkeys(use.weight for use in found)),
                    errors=held_errors(
                        here, layer, torch.stack(moves).to(torch.promote_types(here.dtype, torch.float32))
                    ),
                )
            )
        return tuple(made)

    def _summed(self, products: Sequence[Tensor]) -> NDArray[np.float64]:
        """``(n_choices,)`` the sum over the batch."""
        sums = np.array([product.sum(dim=0).numpy() for product in products])[:, :-1]
        return np.array([sums[list(rows), label].sum() for rows, label in self._choices()])

    def _squares(self, products: Sequence[Tensor]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Sums over the batch of every choice's squared product, and of its product with that of the present error.

        Where a layer is known as a sum over the batch only, the products of sums estimate the sums of products.
        """
        squares, crossed = [], []
        for rows, label in self._choices():
            own = [products[row] for row in rows]
            if len({len(each) for each in own}) > 1:
                own = [each.sum(dim=0, keepdim=True) for each in own]
            whole = torch.stack(own).sum(dim=0)
            squares.append(float(whole[:, label] @ whole[:, label]))
            crossed.append(float(whole[:, label] @ whole[:, -1]))
        return np.array(squares), np.array(crossed)

    def _choices(self) -> list[tuple[tuple[int, ...], int]]:
        groups, labels = self._problem.group.tolist(), self._problem.label.tolist()
        return [(self._index.groups[group], label) for group, label in zip(groups, labels, strict=True)]

    def _inputs(self, choice: NDArray[np.int64]) -> NDArray[np.float64]:
        """``(n_choices,)`` what the table says of storing the inputs otherwise than now, with the weights changed."""
        entries, loss = self._index.formats, self._table.loss
        by_parts = {(entry.weights_only, entry.activation_scheme): at for at, entry in enumerate(entries)}
        present = self._problem.label[choice]
        change = []
        for group, (rows, label) in zip(self._problem.group.tolist(), self._choices(), strict=True):
            here, there = entries[present[group]], entries[label]
            steps = (  # at the new weights, or where that is no format of the layer, at those of now
                (by_parts.get((there.weights_only, here.activation_scheme)), label),
                (int(present[group]), by_parts.get((here.weights_only, there.activation_scheme))),
            )
            sums = [
                float((loss[list(rows), after] - loss[list(rows), before]).sum())
                for before, after in steps
                if before is not None and after is not None
            ]
            change.append(next((each for each in sums if np.isfinite(each)), 0.0))
        return np.array(change)


def _scaled(vectors: Logits, share: Tensor, *, root: bool = False) -> Logits:
    """Vectors of the shape of the logits times what each sample and position counts, or its root."""

    def scaled(own: Tensor) -> Tensor:
        by = spread(share.to(own), own)
        return own * (by.sqrt() if root else by)

    return mapped(scaled, vectors)
