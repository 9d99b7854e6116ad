"""Small problems with answers that can be checked by hand, each with the reason why it is here."""

from __future__ import annotations

import numpy as np

from mckp_quant.solvers import Problem

INT64_MAX = 2**63 - 1

# name -> (problem, least value or None where no selection is within the budgets)
GOLDEN: dict[str, tuple[Problem, float | None]] = {
    "one group, one choice": (Problem.from_table([[3.5]], [[7]], 7), 3.5),
    "one unit short": (Problem.from_table([[3.5]], [[7]], 6), None),
    "nothing costs anything": (Problem.from_table([[1.0, 0.0], [2.0, 5.0]], np.zeros((2, 2)), 0), 2.0),
    "budget below zero": (Problem.from_table([[1.0, 0.0]], [[0, 0]], -1), None),
    "least int64 as budget": (Problem.from_table([[1.0, 0.0]], [[0, 5]], -(2**63)), None),
    "greatest int64 as budget": (Problem.from_table([[1.0, 0.0], [1.0, 0.5]], [[0, 5], [7, 9]], INT64_MAX), 0.5),
    "every selection ties": (Problem.from_table(np.ones((4, 3)), np.ones((4, 3)), 4), 4.0),
    # The published counter-example to taking the threshold that fits: the dearer choice is the worse one.
    "dearer and worse": (Problem.from_table([[0.0, 10.0]], [[100, 495]], 500), 0.0),
    # The optimum takes (2.0, 3), which lies above the chord of its neighbours: hull walks never reach it.
    "optimum above the hull": (
        Problem.from_table([[9.0, 8.0, 0.0], [0.0, np.nan, np.nan]], [[0, 3, 4], [0, 0, 0]], 3),
        8.0,
    ),
    "losses that rise with bits": (
        Problem.from_table([[1.0, 2.0, 0.5], [3.0, 7.0, 4.0]], [[1, 2, 3], [1, 2, 3]], 4),
        3.5,
    ),
    "values below zero": (Problem.from_table([[-1.0, -5.0], [0.0, -3.0]], [[1, 4], [1, 3]], 5), -5.0),
    "the lightest is within by nothing": (Problem.from_table([[9.0, 1.0], [8.0, 1.0]], [[5, 6], [7, 9]], 12), 17.0),
    "fill that skips what does not fit": (
        Problem.from_table([[10.0, 0.0], [6.0, 0.0], [5.0, 0.0]], [[0, 10], [0, 7], [0, 3]], 10),
        10.0 + 0.0 + 0.0,
    ),
    "two budgets, one binds": (
        Problem.from_table([[4.0, 0.0], [3.0, 0.0]], [[[0, 5], [0, 5]], [[0, 1], [0, 1]]], [5, 9]),
        3.0,
    ),
    "two budgets that clash": (Problem.from_table([[0.0, 0.0]], [[[1, 0]], [[0, 1]]], [0, 0]), None),
    # Half of each choice would be within both budgets, so no price proves what is true of whole choices.
    "two budgets that only fractions meet": (Problem.from_table([[0.0, 0.0]], [[[2, 0]], [[0, 2]]], [1, 1]), None),
    "nothing to lose under two budgets": (
        Problem(
            value=np.zeros(7),
            cost=np.array([[42, 0, 24, 30, 0, 78, 90], [36, 726, 623, 448, 269, 169, 436]]),
            budget=np.array([198, 2048]),
            start=np.array([0, 2, 4, 5, 6, 7]),
            label=np.array([0, 1, 2, 0, 1, -1, 0]),
        ),
        0.0,
    ),
    "three budgets": (
        Problem.from_table(
            [[6.0, 3.0, 0.0], [8.0, 1.0, 0.0]],
            [[[0, 1, 2], [0, 1, 2]], [[0, 2, 2], [0, 2, 4]], [[1, 1, 0], [0, 1, 1]]],
            [3, 4, 2],
        ),
        1.0,
    ),
    "large costs": (Problem.from_table([[2.0, 1.0], [5.0, 1.0]], [[2**58, 2**59], [2**58, 2**59]], 2**58 + 2**59), 3.0),
    "largest costs": (
        Problem.from_table([[2.0, 1.0], [5.0, 1.0]], [[2**60, 2**61], [2**60, 2**61]], 2**60 + 2**61),
        3.0,
    ),
    "one unit in 2**60": (Problem.from_table([[2.0, 1.0], [5.0, 1.0]], [[0, 2**58 + 1], [0, 2**58]], 2**59), 3.0),
    "values beyond one another": (Problem.from_table([[1e9, 0.0], [1e-9, 0.0]], [[0, 1], [0, 1]], 2), 0.0),
    "small beside large": (
        Problem.from_table([[1e9, 1e9 - 1], [1e-3, 0.0], [2e-3, 0.0]], [[0, 9], [0, 1], [0, 1]], 1),
        1e9 + 1e-3,
    ),
    "least normal numbers": (Problem.from_table([[3e-300, 1e-300], [5e-300, 0.0]], [[0, 1], [0, 1]], 1), 3e-300),
}
