"""The whole quadratic form of a policy: the loss of each layer alone, and the terms between layers."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..allocation.allocating import Allocation, as_policy, check_origin
from ..common.checks import check_probability
from ..common.documents import entries, field, whole
from ..common.files import readable
from ..common.npz import read_arrays, write_arrays
from ..common.renamed import renamed_fields
from ..errors import InvalidInput
from ..solvers import Pairs, solve
from .face import interactions_face, terms_grid
from .shrinkage import slope_on_others

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

    from ..allocation.index import Index
    from ..common.display import Face
    from ..solvers import Problem, Solver
    from ..tables.table import SensitivityTable

KIND = "matrix"
VERSION = 1


@renamed_fields(layers="layer_names", weights="batch_sizes")
@dataclass(frozen=True, eq=False)
class Interactions:
    """The cross-layer matrix of the Gauss-Newton form, in parts that come from different inputs.

    With ``i`` and ``j`` a layer in a format each, the form predicts for a policy the sum of ``matrix[i, j]`` over all
    ordered pairs of its entries; the diagonal is what `measure` with ``"gauss_newton"`` gives.

    Attributes
    ----------
    layer_names, formats
        Names; entry ``i`` is layer ``i // n_formats`` in format ``i % n_formats``.
    parts
        ``(n_parts, n, n)`` float64, ``n = n_layers * n_formats``: the mean over the samples of each part, in `unit`.
    batch_sizes
        ``(n_parts,)`` float64: samples in each part.
    unit
        ``"nats per sample"`` or ``"nats per token"``.
    samples
        How many samples were seen.
    seed
        Of the random probes.
    rounder
        What weights were rounded by, as a table says it; empty where that is not known.

    Raises
    ------
    InvalidInput
        When the shapes do not fit together.
    """

    layer_names: tuple[str, ...]
    formats: tuple[str, ...]
    parts: NDArray[np.float64]
    batch_sizes: NDArray[np.float64]
    unit: str = "nats per sample"
    samples: int = 0
    seed: int = 0
    rounder: str = ""

    def __post_init__(self) -> None:
        """Check and freeze."""
        n = len(self.layer_names) * len(self.formats)
        parts = np.array(self.parts, dtype=np.float64)
        batch_sizes = np.array(self.batch_sizes, dtype=np.float64)
        if parts.shape != (len(batch_sizes), n, n):
            raise InvalidInput(
                f"parts have the shape {parts.shape}: {len(batch_sizes)} batch sizes, {len(self.layer_names)} layers "
                f"and {len(self.formats)} formats need {(len(batch_sizes), n, n)}"
            )
        for name, array in (("parts", parts), ("batch_sizes", batch_sizes)):
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    def __repr__(self) -> str:
        """Of what they are, in a few lines."""
        return self._face().text()

    def _repr_html_(self) -> str:
        """The same in a notebook, with the largest terms between two layers."""
        return self._face().html(terms_grid(self.layer_names, self.formats, self.matrix, self.unit))

    def _face(self) -> Face:
        counts = len(self.layer_names), self.formats, self.samples, len(self.parts)
        return interactions_face(*counts, self.unit, self.seed, self.rounder)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write them as one npz file, whole or not at all."""
        about = {name: getattr(self, name) for name in ("formats", "unit", "samples", "seed")} | {
            "layers": self.layer_names,
            **({"rounder": self.rounder} if self.rounder else {}),
        }
        write_arrays(path, KIND, VERSION, about, {"parts": self.parts, "weights": self.batch_sizes})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Interactions:
        """Read what `save` wrote; raises InvalidInput where the file is missing, truncated, foreign or newer."""
        document, arrays = read_arrays(path, KIND, VERSION)
        source = f"the matrix {str(path)!r}"
        samples, seed = (whole(field(document, name, source), name, source) for name in ("samples", "seed"))
        with readable(source):
            return cls(
                layer_names=tuple(map(str, entries(document, "layers", source))),
                formats=tuple(map(str, entries(document, "formats", source))),
                parts=_finite(arrays, "parts", source),
                batch_sizes=_finite(arrays, "weights", source),
                unit=str(field(document, "unit", source)),
                samples=samples,
                seed=seed,
                rounder=str(document.get("rounder", "")),
            )

    @property
    def matrix(self) -> NDArray[np.float64]:
        """``(n, n)`` the mean over all samples."""
        return np.asarray(np.tensordot(self.batch_sizes / self.batch_sizes.sum(), self.parts, 1))

    @property
    def loss(self) -> NDArray[np.float64]:
        """``(n_layers, n_formats)`` the diagonal: what each layer adds by itself."""
        return np.diag(self.matrix).reshape(len(self.layer_names), len(self.formats)).copy()

    def predict(self, formats: NDArray[np.int64], factor: float = 1.0) -> float:
        """The form at a policy.

        Parameters
        ----------
        formats
            ``(n_layers,)`` the column of each layer's format.
        factor
            What terms between layers are multiplied by.

        Returns
        -------
        loss
            In `unit`.
        """
        entries = np.arange(len(self.layer_names)) * len(self.formats) + formats
        own = self.matrix[np.ix_(entries, entries)]
        alone = float(np.trace(own))
        return alone + factor * (float(own.sum()) - alone)

    def shrinkage(self) -> float:
        """How much of the terms between layers holds on inputs that they were not estimated on, by cross-validation.

        Each part is predicted from all others: the factor is the slope of the regression through the origin of the
        terms of the part on those of the rest, all in units of the layers' own losses, so that large layers do not
        decide alone. Noise makes the slope fall below 1, the more the fewer samples there are.

        Returns
        -------
        factor
            From 0 to 1.

        Raises
        ------
        InvalidInput
            When there is only one part, of which nothing can be held out.
        """
        if len(self.batch_sizes) < 2:
            raise InvalidInput("the interactions have one part only: measure them on at least 2 batches")
        n, width = len(self.layer_names), len(self.formats)
        layer = np.repeat(np.arange(n), width)
        first, second = np.triu_indices(n * width, 1)
        across = layer[first] != layer[second]
        first, second = first[across], second[across]
        own = np.sqrt(np.maximum(np.diag(self.matrix), 0))
        size = own[first] * own[second]
        scale = np.divide(1, size, out=np.zeros_like(size), where=size > 0)
        terms = self.parts[:, first, second] * scale
        return slope_on_others(terms, self.batch_sizes)

    def on(self, problem: Problem, index: Index, factor: float) -> Problem:
        """Add the terms between layers to a problem.

        Parameters
        ----------
        problem
            A problem that was built from a table of these layers and formats.
        index
            What its groups and labels mean.
        factor
            What the terms are multiplied by.

        Returns
        -------
        problem
            The same problem with pairwise terms; those within tied sets join the values.

        Raises
        ------
        InvalidInput
            When layers or formats are others.
        """
        if index.layer_names != self.layer_names or tuple(entry.name for entry in index.formats) != self.formats:
            raise InvalidInput("the interactions are of other layers or formats: measure both on the same ones")
        matrix, width = self.matrix, len(self.formats)
        n = problem.n_choices
        members = np.zeros((n, len(matrix)))
        for choice, (group, label) in enumerate(zip(problem.group.tolist(), problem.label.tolist(), strict=True)):
            members[choice, [row * width + label for row in index.groups[group]]] = 1
        whole = members @ matrix @ members.T
        within = np.diag(whole) - members @ np.diag(matrix)
        value = problem.value + factor * within
        first, second = np.triu_indices(n, 1)
        across = problem.group[first] != problem.group[second]
        first, second = first[across], second[across]
        pairs = Pairs(first, second, 2 * factor * whole[first, second])
        return problem.equivalent(value=value, cost=problem.cost, budget=problem.budget).with_pairs(pairs)


def allocate_with_interactions(
    table: SensitivityTable,
    allocation: Allocation,
    interactions: Interactions,
    *,
    factor: float | None = None,
    solver: Solver | str = "auto",
    seconds: float = 60.0,
    seed: int = 0,
) -> Allocation:
    """Solve the problem of an allocation again, with the terms between layers.

    Parameters
    ----------
    table
        The table that the allocation was made from.
    allocation
        What `allocate` made of it.
    interactions
        The terms between layers.
    factor
        What they are multiplied by, from 0 (none counts) to 1; by default what cross-validation says,
        `Interactions.shrinkage`.
    solver, seconds, seed
        As for `solve`.

    Returns
    -------
    allocation
        The best policy for losses and terms together; its prediction includes both.

    Raises
    ------
    InvalidInput
        When the factor is not from 0 to 1, the allocation is of another table, or layers, formats, units or rounders
        differ.
    """
    if factor is None:
        factor = interactions.shrinkage()
    check_probability("factor", factor)
    check_origin(allocation, table)
    if interactions.unit != table.unit:
        raise InvalidInput(
            f"the interactions are in {interactions.unit!r} and the table in {table.unit!r}, which do not add up: "
            "measure the table with 'gauss_newton' or 'measured_kl'"
        )
    if interactions.rounder and table.rounder and interactions.rounder != table.rounder:
        raise InvalidInput(
            f"the interactions are of weights rounded by {interactions.rounder}, the table of weights rounded by "
            f"{table.rounder}: measure both with the same bank"
        )
    if allocation.problem.rows is not None:
        raise InvalidInput(
            "the allocation has constraints, which no solver takes together with terms between layers: allocate "
            "without constraints="
        )
    problem = interactions.on(allocation.problem, allocation.index, factor)
    warm = allocation.solution.choice
    solution = solve(problem, solver, seconds=seconds, seed=seed, warm=warm)
    policy = dataclasses.replace(as_policy(table, solution, allocation.index), predicted_stderr=math.nan)
    return Allocation(policy, solution, problem, allocation.index, allocation.notes)


def between_moves(problem: Problem, choice: NDArray[np.int64]) -> Pairs | None:
    """The pairwise terms of a problem as seen from a selection: what two moves away from it add when both are made.

    What one move adds to its terms with choices that stay is not in them, but in its own change of the loss.

    Parameters
    ----------
    problem
        The problem.
    choice
        ``(n_groups,)`` positions of the selection.

    Returns
    -------
    pairs
        Terms that are 0 for every choice of the selection; None where the problem has no pairs.
    """
    if problem.pairs is None:
        return None
    whole = problem.pairs.dense(problem.n_choices)
    present = choice[problem.group]
    moved = whole - whole[:, present] - whole[present, :] + whole[np.ix_(present, present)]
    first, second = np.triu_indices(problem.n_choices, 1)
    across = (problem.group[first] != problem.group[second]) & (moved[first, second] != 0)
    first, second = first[across], second[across]
    return Pairs(first, second, moved[first, second])


def _finite(arrays: dict[str, NDArray[Any]], name: str, source: str) -> NDArray[np.float64]:
    """The array of this name in a file, or an error that names it."""
    array: NDArray[Any] = field(arrays, name, source)
    if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise InvalidInput(f"{source} has an array {name!r} of {array.dtype} that is not all finite numbers")
    return np.atleast_1d(array.astype(np.float64))
