"""Measures what each layer of a network takes in each format, and checks the sum on whole networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..common.checks import check_count
from ..common.run_options import RunOptions
from ..errors import InvalidInput, unknown
from ..formats.capabilities import capability
from ..formats.format import Format, as_formats
from ..formats.schemes import FLOAT
from ..policy.policy import Policy
from ..tables.cost_table import NOT_MEASURED, CostTable
from .designs import enough, least, mixed_networks
from .fitting import fit_layers
from .result import Check, Timing
from .running import Clocking, spread

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import nn

    from ..layers import Layer
    from .fitting import Fit

# From policies to seconds of a call, ``(n_policies, rounds)``.
Runner: TypeAlias = Callable[[Sequence[Policy]], NDArray[np.float64]]
_NS = 1e9
_TIMES = 4  # that each network of the check is loaded, since where it lies in memory changes its time
_DRAWN = 500  # networks from which that in the middle is taken


def time_network(
    model: nn.Module,
    batches: Iterable[object],
    formats: str | Iterable[str | Format],
    *,
    target: str = "onnxruntime",
    layers: Sequence[str] | None = None,
    networks: int | None = None,
    samples: int = 1,
    clocking: Clocking | None = None,
    run: RunOptions | None = None,
) -> Timing:
    """Measure what each layer of a network takes in each format, in a runtime on this machine.

    Whole networks are run, each layer in a format that is drawn: what a format takes depends on the layers around it,
    with which a runtime fuses it.

    Parameters
    ----------
    model
        The float network, or an `OnnxNetwork`.
    batches
        As for `measure`. Runs compute the first samples of the first batch; all batches calibrate ranges of inputs.
    formats
        The formats. Float is one in any case; what the target does not take of a layer is left out there.
    target
        An export target whose files ONNX Runtime computes, such as ``"onnxruntime"``.
    layers
        The layers to time; the others stay in float. None for all.
    networks
        How many networks to run; None for half as many again as there are differences between formats, at most 300.
    samples
        How many samples a run computes.
    clocking
        How often each runs, on how many threads, by which clock.
    run
        Its ``seed`` draws the networks; ``progress``.

    Returns
    -------
    timing
        The costs, their errors, and how far their sums are from whole networks.

    Raises
    ------
    InvalidInput
        When there is no batch, the target is none of ONNX Runtime's, a layer does not exist, or the networks are too
        few.
    PackageMissing
        When onnx, onnxscript or onnxruntime is not installed.
    """
    run, clocking = run or RunOptions(), clocking or Clocking()
    run.only("time_network", "seed", "progress")
    from ..network.discovery import discover
    from .graphs import RUNTIMES, OnnxRuns, PolicyGraphs

    if target not in RUNTIMES:
        raise unknown("target that ONNX Runtime computes", target, RUNTIMES)
    some, entries = list(batches), _with_float(as_formats(formats))
    check_count("samples", samples, 1)
    if not some:
        raise InvalidInput("there are no batches: a run needs an input, give one")
    found = discover(model, some[0])
    names = [layer.name for layer in found]
    for name in layers or ():
        if name not in names:
            raise unknown("layer", name, names)
    chosen = tuple(layer for layer in found if layers is None or layer.name in layers)
    runner = OnnxRuns(PolicyGraphs(target, model, some, chosen, entries, samples), clocking, run)
    return time_layers(chosen, entries, runner, target=target, networks=networks, clocking=clocking, seed=run.seed)


def time_layers(
    layers: Sequence[Layer],
    formats: str | Iterable[str | Format],
    runner: Runner,
    *,
    target: str,
    networks: int | None = None,
    clocking: Clocking | None = None,
    seed: int = 0,
) -> Timing:
    """Measure what layers take in formats with a runner of your own, such as one for a phone.

    Parameters
    ----------
    layers
        The layers.
    formats
        The formats. Float is one in any case.
    runner
        From policies to the seconds of a call under each, ``(n_policies, rounds)`` float64. It is called twice, and the
        first policy is the float network both times.
    target
        The export target, which says what formats a layer may have.
    networks, seed
        As for `time_network`.
    clocking
        How the runner runs, for the record.

    Returns
    -------
    timing
        As of `time_network`.

    Raises
    ------
    InvalidInput
        When the networks are too few to tell the layers apart, no layer has a choice, or the runner gives something
        else.
    """
    clocking, entries = clocking or Clocking(), _with_float(as_formats(formats))
    allowed = [_allowed(layer, entries, target) for layer in layers]
    choices = [len(each) for each in allowed]
    if max(choices, default=1) == 1:
        raise InvalidInput(
            f"target {target!r} takes none of the formats {', '.join(each.name for each in entries)} in any layer: "
            "there is nothing to time"
        )
    count = enough(choices) if networks is None else check_count("networks", networks, least(choices))
    # The float network, which comes first, runs as often as each of the check, by which it says how time has drifted.
    picked = mixed_networks(choices, count, seed)
    picked = np.concatenate([np.repeat(picked[:1], _TIMES - 1, axis=0), picked])
    policies = [_policy(layers, entries, allowed, row) for row in picked]
    seconds = _checked(runner(policies), len(policies))
    times = np.median(seconds, axis=1)
    fit = fit_layers(picked, allowed, times, [float(layer.macs or 0) for layer in layers])

    rows = _extremes(fit, choices, seed)
    whole = {name: _policy(layers, entries, allowed, row) for name, row in rows.items()}
    chosen = [policy for policy in (policies[0], *whole.values()) for _ in range(_TIMES)]
    again = np.median(_checked(runner(chosen), len(chosen)), axis=1).reshape(-1, _TIMES)
    floating, *measured = np.median(again, axis=1)
    drift = float(floating / np.median(times[:_TIMES]))
    checks = tuple(
        Check(name, whole[name], fit.of(rows[name]), float(own) / drift)
        for name, own in zip(rows, measured, strict=True)
    )
    costs, errors = _tables(layers, entries, allowed, fit)
    return Timing(
        costs,
        errors,
        checks,
        spread(seconds),
        fit.residual / float(np.median(times)),
        count,
        drift - 1,
        target,
        clocking,
    )


def _with_float(formats: Sequence[Format]) -> tuple[Format, ...]:
    """Float first, then the others."""
    return (Format.named(FLOAT), *(entry for entry in formats if entry.name != FLOAT))


def _allowed(layer: Layer, formats: Sequence[Format], target: str) -> list[int]:
    taken = capability(target)
    return [at for at, entry in enumerate(formats) if entry.name == FLOAT or not taken.refuses(layer, entry)]


def _policy(
    layers: Sequence[Layer], formats: Sequence[Format], allowed: Sequence[Sequence[int]], picked: NDArray[np.int64]
) -> Policy:
    chosen = tuple(formats[each[at]] for each, at in zip(allowed, picked, strict=True))
    return Policy(tuple(layer.name for layer in layers), chosen)


def _checked(seconds: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    if seconds.ndim != 2 or len(seconds) != count or not (np.isfinite(seconds) & (seconds > 0)).all():
        raise InvalidInput(
            f"the runner gave an array of the shape {seconds.shape}: it must hold seconds above 0, {count} policies by "
            "rounds"
        )
    return seconds


def _extremes(fit: Fit, choices: Sequence[int], seed: int) -> Mapping[str, NDArray[np.int64]]:
    """The fastest and the slowest network by the costs, and of some that are drawn the one nearest to their middle."""
    fastest = np.array([cost.argmin() for cost in fit.cost])
    slowest = np.array([cost.argmax() for cost in fit.cost])
    middle = (fit.of(fastest) + fit.of(slowest)) / 2
    drawn = np.random.default_rng((seed, 1)).integers(0, choices, size=(_DRAWN, len(choices)))
    nearest = min(drawn, key=lambda row: abs(fit.of(row) - middle))
    return {"fastest": fastest, "middle": nearest, "slowest": slowest}


def _tables(
    layers: Sequence[Layer], formats: Sequence[Format], allowed: Sequence[Sequence[int]], fit: Fit
) -> tuple[CostTable, NDArray[np.float64]]:
    cost = np.full((len(layers), len(formats)), NOT_MEASURED, dtype=np.int64)
    errors = np.full(cost.shape, np.nan)
    for row, columns in enumerate(allowed):
        cost[row, columns] = np.rint(fit.cost[row] * _NS)
        errors[row, columns] = fit.stderr[row] * _NS
    names = tuple(layer.name for layer in layers)
    return CostTable("latency", "ns", names, tuple(entry.name for entry in formats), cost), errors
