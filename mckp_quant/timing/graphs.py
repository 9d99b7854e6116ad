"""The graphs that ONNX Runtime computes under many policies, from one trace of the network, and runs of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..common.packages import require
from ..errors import InvalidInput
from ..export.exporting import EXPORTERS
from ..export.graphs.graph import EXTRA
from ..export.graphs.preparing import kept_norms
from ..export.graphs.tracing import float_graph
from ..export.writers.to_onnxruntime import OnnxRuntime
from ..export.writers.to_onnxruntime_nbits import OnnxRuntimeNBits
from ..policy.policy import Policy
from .running import CLOCKS, in_turns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from ..common.run_options import RunOptions
    from ..export.contract import Job
    from ..formats.format import Format
    from ..layers import Layer
    from .running import Clocking

RUNTIMES = tuple(name for name, each in EXPORTERS.items() if isinstance(each, (OnnxRuntime, OnnxRuntimeNBits)))
_FLOAT = "float"
_QUIET = 3  # of ONNX Runtime: errors only
_HELD = 2**30  # bytes of weights in sessions that take turns


class PolicyGraphs:
    """The graphs that an export target writes of a network under policies, with weights rounded to nearest.

    Parameters
    ----------
    target
        One of `RUNTIMES`.
    model
        The network, or an `OnnxNetwork`.
    batches
        Example inputs: the first is traced, and all calibrate ranges of inputs.
    layers
        The layers of the policies.
    formats
        All formats of the policies.
    samples
        How many samples a run computes.

    Raises
    ------
    InvalidInput
        As the target's exporter does; when the first batch has fewer samples.
    """

    def __init__(
        self,
        target: str,
        model: Any,
        batches: Sequence[object],
        layers: Sequence[Layer],
        formats: Sequence[Format],
        samples: int,
    ) -> None:
        exporter = EXPORTERS[target]
        assert isinstance(exporter, (OnnxRuntime, OnnxRuntimeNBits))
        for package in exporter.packages:
            require(package, exporter.extra)
        from ..network.batches import as_batches
        from ..onnx_models.network import OnnxNetwork
        from ..rounding.calibration import calibrate_ranges
        from ..rounding.rounders.nearest import nearest_bank

        rounding = [each for each in formats if each.activation_scheme is not None]
        if rounding and isinstance(model, OnnxNetwork):
            raise InvalidInput(
                f"format {rounding[0].name!r} rounds inputs of layers: into a graph that is only an ONNX file {target} "
                f"writes formats of weights, such as {rounding[0].weights_only.name}"
            )
        job = exporter.prepare(Policy.uniform(layers, _FLOAT), model, batches)
        exporter.check(job)
        have = next(iter(as_batches(job.batches, job.model))).size
        if have < samples:
            raise InvalidInput(f"samples is {samples}, and the first batch has {have}: give larger batches")
        self._exporter, self._samples = exporter, samples
        self._traced: dict[tuple[str, ...], tuple[Any, Job]] = {}
        self._job = replace(job, nearest=nearest_bank(job.layers, formats, job.weight))
        calibrated = [each for each in rounding if each.activation_scheme and each.activation_scheme.calibrated]
        self._ranges = calibrate_ranges(model, batches, calibrated) if calibrated else None

    def graph(self, policy: Policy) -> Any:
        """The graph of a policy, an ``onnx.ModelProto``."""
        job = replace(self._job, policy=replace(policy, ranges=self._ranges))
        key = tuple(kept_norms(job) or ())
        if key not in self._traced:
            made = job if job.form is None else job.form(job)
            self._traced[key] = float_graph(made.model, made.batches), made
        traced, made = self._traced[key]
        return self._exporter.graph(traced, replace(made, policy=job.policy))

    def feed(self, inputs: Sequence[str]) -> dict[str, NDArray[Any]]:
        """The inputs of one run, by the graph's names: samples of the first batch."""
        from torch import Tensor

        from ..network.batches import as_batches
        from ..onnx_models.network import OnnxNetwork

        _, made = next(iter(self._traced.values()))
        batch = next(iter(as_batches(made.batches, made.model))).head(self._samples)
        if isinstance(made.model, OnnxNetwork):
            return made.model.feeds(batch)[0]
        given = {inputs[0]: batch.inputs} if isinstance(batch.inputs, Tensor) else dict(batch.inputs)
        return {name: given[name].detach().cpu().numpy() for name in inputs}


class OnnxRuns:
    """Times policies in ONNX Runtime, on the processor: a runner for `time_layers`.

    Parameters
    ----------
    graphs
        The graphs.
    clocking
        How often, and on how many threads.
    run
        Its `progress` hears of every graph and every round.
    """

    def __init__(self, graphs: PolicyGraphs, clocking: Clocking, run: RunOptions) -> None:
        self._graphs, self._clocking, self._run = graphs, clocking, run

    def __call__(self, policies: Sequence[Policy]) -> NDArray[np.float64]:
        """Seconds of a call, ``(n_policies, rounds)``; the first policy runs beside all others, to see drift."""
        first, size = self._session(policies[0])
        at_once = max(1, _HELD // max(size, 1) - 1)
        groups = [policies[at : at + at_once] for at in range(1, len(policies), at_once)] or [()]
        total, done = len(policies) + len(groups) * self._clocking.rounds, 1
        rows, references = [], []

        def tell() -> None:
            nonlocal done
            done += 1
            self._run.report(done, total)

        for group in groups:
            calls = [first]
            for policy in group:
                calls.append(self._session(policy)[0])
                tell()
            found = in_turns(calls, self._clocking, CLOCKS[self._clocking.clock], tell)
            references.append(found[0])
            rows.append(found[1:])
        middle = float(np.median(references))
        steady = [row * (middle / float(np.median(own))) for row, own in zip(rows, references, strict=True)]
        return np.concatenate([np.median(references, axis=0)[None], *steady])

    def _session(self, policy: Policy) -> tuple[Callable[[], object], int]:
        runtime = require("onnxruntime", EXTRA)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = self._clocking.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _QUIET
        whole = self._graphs.graph(policy).SerializeToString()
        session = runtime.InferenceSession(whole, options, providers=["CPUExecutionProvider"])
        feed = self._graphs.feed([each.name for each in session.get_inputs()])
        return lambda: session.run(None, feed), len(whole)
