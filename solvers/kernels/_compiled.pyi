import numpy as np
from numpy.typing import NDArray

def reduce_one_budget(
    value: NDArray[np.float64],
    cost: NDArray[np.int64],
    start: NDArray[np.int64],
    reference: NDArray[np.int64],
    incumbent: NDArray[np.int64],
    core_group: NDArray[np.int64],
    core_start: NDArray[np.int64],
    core_position: NDArray[np.int64],
    core_cost: NDArray[np.int64],
    core_value: NDArray[np.float64],
    core_reduced: NDArray[np.float64],
    warm: NDArray[np.int64] | None,
    budget: int,
    pairs_up_to: int,
    /,
) -> tuple[float, float, float, float, int, int, int]: ...
def search_core(
    start: NDArray[np.int64],
    cost: NDArray[np.int64],
    value: NDArray[np.float64],
    reduced: NDArray[np.float64],
    changes: NDArray[np.int64],
    n_changes: NDArray[np.int64],
    gap: NDArray[np.float64],
    slack: int,
    max_states: int,
    price: float,
    least_gain: float,
    least_total: float,
    seconds: float,
    /,
) -> tuple[int, int]: ...
def search_lists(
    start: NDArray[np.int64],
    cost: NDArray[np.int64],
    value: NDArray[np.float64],
    reduced: NDArray[np.float64],
    changes: NDArray[np.int64],
    n_changes: NDArray[np.int64],
    gap: NDArray[np.float64],
    slack: int,
    max_states: int,
    price: float,
    least_gain: float,
    least_total: float,
    seconds: float,
    /,
) -> tuple[int, int]: ...
def solve_one_budget(
    value: NDArray[np.float64],
    cost: NDArray[np.int64],
    start: NDArray[np.int64],
    choice: NDArray[np.int64],
    figures: NDArray[np.float64],
    counts: NDArray[np.int64],
    warm: NDArray[np.int64] | None,
    budget: int,
    pairs_up_to: int,
    first_states: int,
    states_of_a_group: int,
    max_states: int,
    seconds: float,
    /,
) -> bool: ...
def cheapest(
    value: NDArray[np.float64],
    above: NDArray[np.int64],
    price: NDArray[np.float64],
    start: NDArray[np.int64],
    position: NDArray[np.int64],
    near: NDArray[np.int64],
    reference: NDArray[np.int64],
    used: NDArray[np.int64],
    fits: NDArray[np.bool_] | None,
    /,
) -> int: ...
def whole_unit(value: NDArray[np.float64], fits: NDArray[np.bool_], start: NDArray[np.int64], /) -> float: ...
def deciding(
    value: NDArray[np.float64],
    start: NDArray[np.int64],
    choice: NDArray[np.int64],
    position: NDArray[np.int64],
    near: NDArray[np.int64],
    terms: NDArray[np.float64],
    /,
) -> tuple[float, int]: ...
def measure(
    cost: NDArray[np.int64],
    start: NDArray[np.int64],
    above: NDArray[np.int64],
    figures: NDArray[np.int64],
    /,
) -> None: ...
def outweighed(value: NDArray[np.float64], start: NDArray[np.int64], /) -> tuple[int, float]: ...
