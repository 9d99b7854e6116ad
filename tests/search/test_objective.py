from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

import mckp_quant as mq
from mckp_quant.search.objective import Level, Objective, Spent

from . import small

if TYPE_CHECKING:
    from pathlib import Path

    from mckp_quant.search.space import Genome


class Counted:
    def __init__(self, worth: float = 1.0) -> None:
        self.calls, self.worth = 0, worth

    def __call__(self, policy: mq.Policy) -> float:
        self.calls += 1
        return self.worth * sum(entry.weight_bits for entry in policy.formats)


def genomes(count: int) -> list[Genome]:
    space = small.space()
    found = [tuple((number >> at) & 1 for at in range(len(space))) for number in range(count)]
    assert all(space.fits(genome) for genome in found)
    return found


def test_a_genome_is_measured_once() -> None:
    fitness = Counted()
    objective = Objective(small.space(), [Level(fitness)])
    first, second = genomes(2)
    assert [objective(first), objective(first), objective(second)] == [8, 8, 9]
    assert fitness.calls == 2
    assert objective.spent == 2
    genome, worth = objective.best
    assert (genome, worth) == (first, 8)
    assert objective.history == [(1, 8)]


def test_levels_cost_their_share_and_only_the_last_counts() -> None:
    cheap, whole = Counted(0.5), Counted()
    objective = Objective(small.space(), [Level(cheap, 0.25), Level(whole)])
    first, second = genomes(2)
    assert objective(first, 0) == 4
    with pytest.raises(mq.InvalidInput, match="before it had judged a policy"):
        assert objective.best
    assert objective(second) == 9
    assert (objective.spent, objective.best) == (1.25, (second, 9))


def test_evaluations_run_out() -> None:
    seen: list[tuple[int, int | None]] = []
    objective = Objective(
        small.space(),
        [Level(Counted())],
        evaluations=2,
        run=mq.RunOptions(progress=lambda done, most: seen.append((done, most))),
    )
    first, second, third = genomes(3)
    objective(first), objective(second), objective(first)
    with pytest.raises(Spent, match="evaluations"):
        objective(third)
    assert seen == [(1, 2), (2, 2)]


def test_seconds_run_out() -> None:
    objective = Objective(small.space(), [Level(Counted())], run=mq.RunOptions(seconds=1e-9))
    with pytest.raises(Spent, match="seconds"):
        objective(genomes(1)[0])


@pytest.mark.parametrize("evaluations", [0, math.nan])
def test_limits_without_sense_are_refused(evaluations: float) -> None:
    with pytest.raises(mq.InvalidInput, match=r"evaluations is .*at least 1"):
        Objective(small.space(), [Level(Counted())], evaluations=evaluations)


def test_a_policy_over_budget_is_refused() -> None:
    space = small.space()
    with pytest.raises(mq.InvalidInput, match=r"takes \(\d+,\) of the budgets \(\d+,\)"):
        Objective(space, [Level(Counted())])(tuple((space.size - 1).tolist()))


def test_a_fitness_that_is_no_number_is_refused() -> None:
    with pytest.raises(mq.InvalidInput, match="is nan"):
        Objective(small.space(), [Level(Counted(math.nan))])(genomes(1)[0])


def test_what_was_measured_survives_in_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "search.json"
    objective = Objective(small.space(), [Level(Counted())], settings="a", run=mq.RunOptions(checkpoint=path))
    values = [objective(genome) for genome in genomes(4)]
    objective(genomes(4)[0])
    objective.save()
    fitness = Counted()
    again = Objective(small.space(), [Level(fitness)], settings="a", run=mq.RunOptions(checkpoint=path))
    assert [again(genome) for genome in genomes(4)] == values
    assert fitness.calls == 1  # the first is measured again, to see that the file is of this network
    assert (again.spent, again.history, again.best) == (objective.spent, objective.history, objective.best)


def test_an_overflow_survives_in_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "search.json"
    objective = Objective(small.space(), [Level(Counted(math.inf))], run=mq.RunOptions(checkpoint=path))
    objective(genomes(1)[0])
    objective.save()
    again = Objective(small.space(), [Level(Counted(math.inf))], run=mq.RunOptions(checkpoint=path))
    assert again(genomes(1)[0]) == math.inf


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "search.json"
    objective = Objective(small.space(), [Level(Counted())], settings="a", run=mq.RunOptions(checkpoint=path))
    objective(genomes(1)[0])
    objective.save()
    with pytest.raises(mq.InvalidInput, match="is of another search"):
        Objective(small.space(), [Level(Counted())], settings="b", run=mq.RunOptions(checkpoint=path))
    with pytest.raises(mq.InvalidInput, match="of another network or of other data"):
        Objective(small.space(), [Level(Counted(2))], settings="a", run=mq.RunOptions(checkpoint=path))(genomes(1)[0])
    path.write_text(path.read_text(encoding="utf-8").replace("8.0", "9.0"), encoding="utf-8")
    with pytest.raises(mq.InvalidInput, match="is not as it was written"):
        Objective(small.space(), [Level(Counted())], settings="a", run=mq.RunOptions(checkpoint=path))
