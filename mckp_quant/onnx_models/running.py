"""Runs an ONNX graph whose weights are given with its inputs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from ..common.packages import require
from .lifting import EXTRA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from .weights import OnnxWeight

QUIET = 3  # of ONNX Runtime: errors, and not that weights can be overridden, which is what is wanted


@dataclass(eq=False)
class Held:
    """What copies of a network share: the graph, and sessions of it whose weights are given with the inputs."""

    proto: Any
    weights: tuple[OnnxWeight, ...]
    originals: dict[str, Tensor] = field(default_factory=dict)
    shapes: dict[tuple[tuple[int, ...], ...], dict[str, int]] = field(default_factory=dict)
    sessions: dict[tuple[str, ...], Any] = field(default_factory=dict)

    def __deepcopy__(self, memo: dict[int, Any]) -> Held:
        """Itself: weights are in the layers."""
        return self

    def session(self, watched: Sequence[str] = ()) -> Any:
        """A session that gives the graph's outputs, or other tensors of it."""
        key = tuple(watched)
        if key not in self.sessions:
            self.sessions[key] = self._session(key)
        return self.sessions[key]

    def _session(self, watched: tuple[str, ...]) -> Any:
        onnx, runtime = require("onnx", EXTRA), require("onnxruntime", EXTRA)
        made = onnx.ModelProto()
        made.CopyFrom(self.proto)
        types = {each.name: each.data_type for each in made.graph.initializer}
        made.graph.input.extend(
            onnx.helper.make_tensor_value_info(each.place, types[each.place], each.stored) for each in self.weights
        )
        if watched:
            del made.graph.output[:]
            made.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in watched)
        options = runtime.SessionOptions()
        options.log_severity_level = QUIET
        options.intra_op_num_threads = torch.get_num_threads()
        return runtime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])


@dataclass(frozen=True)
class Runs:
    """What a batch is to the graph: a run, or one for every sample."""

    feeds: list[dict[str, NDArray[Any]]]
    stacked: bool

    def joined(self, made: list[NDArray[Any]]) -> NDArray[Any]:
        """The outputs of all runs, the samples first."""
        import numpy as np

        if self.stacked:
            return np.stack(made)
        return made[0] if len(made) == 1 else np.concatenate(made)


def first_line(error: BaseException) -> str:
    """What an error says first; its kind where it says nothing."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
