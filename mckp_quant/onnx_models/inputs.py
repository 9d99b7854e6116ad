"""Inputs of ONNX graphs from npz files, whose arrays have the names of the inputs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..common.checks import check_count
from ..common.npz import npz_names, read_npz_arrays
from ..errors import InvalidInput

if TYPE_CHECKING:
    from torch import Tensor

    from .network import OnnxNetwork


def read_inputs(
    path: str | os.PathLike[str], network: OnnxNetwork, batch_size: int = 32
) -> list[dict[str, Tensor] | tuple[dict[str, Tensor], Tensor]]:
    """Read batches for an ONNX graph.

    Parameters
    ----------
    path
        An npz file with an array for each input of the graph, samples first; a graph of one input also takes
        ``inputs``. ``targets`` may be there too. Arrays with one dimension more than the graph's inputs hold the inputs
        of a run in each entry.
    network
        The network.
    batch_size
        Samples in a batch.

    Returns
    -------
    batches
        As `measure` takes them: inputs by name, with targets where the file has them.

    Raises
    ------
    InvalidInput
        When an input is missing, arrays have other numbers of samples, or other dimensions than the graph says.
    """
    check_count("--batch-size", batch_size, 1)
    source = os.fspath(path)
    ranks = network.input_ranks()
    known = npz_names(path, "data")
    names = {name: name for name in ranks}
    if len(ranks) == 1 and next(iter(ranks)) not in known:
        names = {next(iter(ranks)): "inputs"}
    lacking = [name for name in names.values() if name not in known]
    if lacking:
        raise InvalidInput(
            f"data {source!r} lacks the array {lacking[0]!r}: it has {', '.join(map(repr, known)) or 'no arrays'}, and "
            f"the graph takes {', '.join(ranks)}; write it with numpy.savez({source!r}, **arrays), samples first"
        )
    arrays = read_npz_arrays(path, "data", (*names.values(), "targets"))
    kinds = network.input_types()
    given = {name: torch.from_numpy(arrays[key].astype(kinds[name], copy=False)) for name, key in names.items()}
    beyond = {name: tensor.ndim - ranks[name] for name, tensor in given.items()}
    if not set(beyond.values()) <= {0} and set(beyond.values()) != {1}:
        shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in given.items())
        raise InvalidInput(
            f"data {source!r} has {shapes}, and the graph takes {ranks} dimensions: give all arrays as the graph takes "
            "them, samples first, or all with one more dimension, in whose entries lie the inputs of a run"
        )
    targets = arrays.get("targets")
    sizes = {len(each) for each in (*given.values(), *(() if targets is None else (targets,))) if each.ndim}
    if len(sizes) != 1 or 0 in sizes:
        raise InvalidInput(f"data {source!r} has arrays of {sorted(sizes)} samples: give as many in each, at least one")
    parts = {name: tensor.split(batch_size) for name, tensor in given.items()}
    batches = [dict(zip(parts, each, strict=True)) for each in zip(*parts.values(), strict=True)]
    if targets is None:
        return list(batches)
    labels = torch.from_numpy(targets.astype(np.float32 if targets.dtype.kind == "f" else np.int64))
    return list(zip(batches, labels.split(batch_size), strict=True))
