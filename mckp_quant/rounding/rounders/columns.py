"""Rounds the columns of a weight one after another, and takes what each adds to the layer's output out of the rest.

With ``H`` the (damped) Gram matrix of a layer's inputs, the squared output error of a row of weights ``w`` rounded to
``q`` is ``(q - w)' H (q - w)``. Fixing one weight at ``q_j`` moves the best values of those not yet fixed by
``-(w_j - q_j) / U_jj * U_{j,k}``, where ``U'U`` is the inverse of ``H`` and ``U`` is upper triangular (Frantar and
Alistarh, 2022, *Optimal Brain Compression*; Frantar, Ashkboos, Hoefler and Alistarh, 2023, *GPTQ*).

Everything is laid out ``(groups, n, rows)``: columns of a weight are contiguous.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ...errors import InvalidInput

if TYPE_CHECKING:
    from torch import Tensor

    from .grids import Grid

_BLOCK = 32  # columns that are corrected one by one; the others get the corrections of all of these at once
_RETRIES = 8  # every one with ten times the damping


def damped(gram: Tensor, share: float) -> Tensor:
    """Add a share of the mean diagonal entry to the diagonal of ``(groups, n, n)``; 1 where all of it is zero."""
    diagonal = gram.diagonal(dim1=1, dim2=2)
    amount = share * diagonal.mean(dim=1, keepdim=True)
    empty = diagonal.amax(dim=1, keepdim=True) <= 0
    return gram + torch.diag_embed(torch.where(empty, torch.ones_like(amount), amount).expand_as(diagonal))


def inverse_factor(gram: Tensor, share: float) -> tuple[Tensor, Tensor, float]:
    """Factorise the inverse of a Gram matrix.

    Parameters
    ----------
    gram
        ``(groups, n, n)`` float64, positive semidefinite.
    share
        The damping, as a share of the mean diagonal entry.

    Returns
    -------
    factor
        ``(groups, n, n)`` upper triangular ``U``, with ``U'U`` the inverse of the damped matrix.
    matrix
        The damped matrix.
    share
        The damping that it took.

    Raises
    ------
    InvalidInput
        When no damping makes the matrix positive definite, since it holds nan or infinite numbers.
    """
    # A factor L L' of the matrix with its order reversed is R R' of the matrix itself, R upper triangular: U = R^-1.
    for _ in range(_RETRIES):
        matrix = damped(gram, share)
        lower, failed = torch.linalg.cholesky_ex(matrix.flip(1, 2))
        if not bool(failed.any()) and bool(torch.isfinite(lower).all()):
            identity = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device).expand_as(gram)
            return torch.linalg.solve_triangular(lower.flip(1, 2), identity, upper=True), matrix, share
        share *= 10
    raise InvalidInput("the Gram matrix of the inputs holds nan or infinite numbers: check the network's inputs")


def round_columns(weight: Tensor, grid: Grid, factor: Tensor) -> Tensor:
    """Round column after column.

    Parameters
    ----------
    weight
        ``(groups, n, rows)`` float64.
    grid
        What its entries may become.
    factor
        ``(groups, n, n)``, see `inverse_factor`.

    Returns
    -------
    steps
        Of the grid, ``(groups, n, rows)``.
    """
    work, steps = weight.clone(), torch.empty_like(weight)
    columns = weight.shape[1]
    diagonal = factor.diagonal(dim1=1, dim2=2)
    for begin in range(0, columns, _BLOCK):
        end = min(begin + _BLOCK, columns)
        errors = torch.empty_like(work[:, begin:end])
        for column in range(begin, end):
            numbers = work[:, column]
            steps[:, column] = grid.steps(numbers, column)
            error = (numbers - steps[:, column] * grid.scale[:, column]) / diagonal[:, column, None]
            errors[:, column - begin] = error
            if column + 1 < end:
                work[:, column + 1 : end] -= factor[:, column, column + 1 : end, None] * error[:, None]
        if end < columns:
            work[:, end:].baddbmm_(factor[:, begin:end, end:].transpose(1, 2), errors, alpha=-1)
    return steps


def descend(weight: Tensor, steps: Tensor, grid: Grid, matrix: Tensor, sweeps: int) -> Tensor:
    """Move one column after another to its best step while the others stay, some times over.

    The output error never rises. It finds what one pass from left to right cannot: a better step for an early column
    once the late ones are known.

    Parameters
    ----------
    weight
        ``(groups, n, rows)`` float64.
    steps
        Where to begin, of the grid.
    grid
        What entries may become.
    matrix
        ``(groups, n, n)``, the damped Gram matrix.
    sweeps
        How often to go over all columns.

    Returns
    -------
    steps
        Of the grid.
    """
    steps = steps.clone()
    slope = matrix @ (steps * grid.scale - weight)
    diagonal = matrix.diagonal(dim1=1, dim2=2)[:, :, None]
    columns = weight.shape[1]
    for _ in range(sweeps):
        moved = False
        for begin in range(0, columns, _BLOCK):
            end = min(begin + _BLOCK, columns)
            own, changes = slope[:, begin:end].clone(), torch.empty_like(slope[:, begin:end])
            for column in range(begin, end):
                at, scale = column - begin, grid.scale[:, column]
                best = steps[:, column] * scale - own[:, at] / diagonal[:, column]
                found = grid.steps(best, column)
                changes[:, at] = (found - steps[:, column]) * scale
                steps[:, column] = found
                own[:, at + 1 :] += matrix[:, column + 1 : end, column, None] * changes[:, at, None]
            if bool((changes != 0).any()):
                moved = True
                slope.baddbmm_(matrix[:, :, begin:end], changes)
        if not moved:
            break
    return steps


def output_error(difference: Tensor, gram: Tensor) -> Tensor:
    """``d' G d`` for every row: ``(groups, rows)`` from ``(groups, n, rows)`` and ``(groups, n, n)``."""
    return (torch.bmm(gram, difference) * difference).sum(dim=1)


def retargeted(target: Tensor, gram: Tensor, cross: Tensor, damping: float, unseen: Tensor) -> Tensor:
    """The weight that does on these inputs what the float weight does on the float network's, as nearly as possible.

    Least squares with a ridge towards the float weight.
    """
    off = torch.where(unseen[:, None, None], torch.zeros_like(gram), cross - gram)
    factor, _, _ = inverse_factor(gram, damping)
    return target + target @ off @ (factor.transpose(1, 2) @ factor)
