"""A run under way: what it was given, and the results of its steps, made, or loaded when another step asks for them."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import nn

    from ..allocation.request import Request
    from ..common.run_options import Progress, RunOptions
    from ..network.outputs import Outputs
    from .calibration import Data
    from .recipes.recipe import Recipe
    from .result import Decision
    from .settings import Settings
    from .state import State


class Step(Protocol):
    """One step of a run."""

    @property
    def name(self) -> str:
        """Its name, which is that of its folder too."""
        ...

    def asked(self, work: Work) -> bool:
        """Whether the run has this step."""
        ...

    def depends(self, work: Work) -> Mapping[str, Any]:
        """What it depends on beside the network, its calibration data and the steps before, in plain types."""
        ...

    def make(self, work: Work, folder: Path | None, run: RunOptions) -> tuple[Any, str]:
        """Make the result, write it where there is a folder, and say what was decided in a line.

        Parameters
        ----------
        work
            What to work on.
        folder
            Where to write; it may hold what an earlier process, which was killed, has left of the same step.
        run
            Seed, limits and progress.

        Returns
        -------
        result, decided
            The result, and the line.
        """
        ...

    def load(self, work: Work, folder: Path) -> Any:
        """Read what `make` wrote."""
        ...


def _no_progress(step: str) -> AbstractContextManager[Progress]:
    return nullcontext(lambda done, total: None)


@dataclass(frozen=True)
class Telling:
    """Who is told how a run goes.

    Attributes
    ----------
    step
        From a step's name to a context that lasts as long as it, and gives what is told of its progress.
    decided
        Called with what each step decided, when it did.
    """

    step: Callable[[str], AbstractContextManager[Progress]] = _no_progress
    decided: Callable[[Decision], None] = lambda decision: None


@dataclass(eq=False)
class Work:
    """A run under way.

    Attributes
    ----------
    model
        The float network.
    data
        Its data, parted.
    request
        What is asked.
    settings
        How the steps go.
    outputs
        What the network's outputs mean.
    limits
        Seed and memory limit.
    state
        Where results are kept; None to keep none.
    steps
        The steps of this run.
    recipe
        What repeats it, which is written into the folder; None where there is none.
    made
        The results so far that are in memory, by step.
    """

    model: nn.Module
    data: Data
    request: Request
    settings: Settings
    outputs: Outputs
    limits: RunOptions
    state: State | None
    steps: tuple[Step, ...]
    recipe: Recipe | None = None
    made: dict[str, Any] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        """Whether the run has a step of this name."""
        return any(step.name == name and step.asked(self) for step in self.steps)

    def result(self, name: str) -> Any:
        """The result of a step that was made, or whose result is in the folder."""
        if name not in self.made:
            assert self.state is not None
            step = next(each for each in self.steps if each.name == name)
            self.made[name] = step.load(self, self.state.place(name))
        return self.made[name]
