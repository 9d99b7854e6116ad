"""The network as it is traced for an ONNX graph: in float32, its batch norms folded into the layers before them."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...common.packages import require
from ...errors import InvalidInput
from .graph import EXTRA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from ...network.batch import Batch
    from ...policy.policy import Policy
    from ..contract import Job


def prepared(job: Job) -> Job:
    """What an ONNX graph is traced from.

    ONNX Runtime has no kernels for bfloat16 and few for float16 and float64 on a CPU, so that such networks are
    converted. A batch norm becomes a part of the layer before it: the codes stay as they are, their scales are
    multiplied. Layers with one scale for the whole weight keep their norm, and so do those that `fold_batch_norms`
    leaves alone.

    Parameters
    ----------
    job
        A job with its codes and at least one batch.

    Returns
    -------
    job
        With a network of its own where something changed, and notes that say what did.
    """
    torch = require("torch", EXTRA)
    from ...network.batches import as_batches
    from ...onnx_models.network import OnnxNetwork

    if isinstance(job.model, OnnxNetwork):  # its graph is written as it is
        return job
    from ...network.weight_uses import uses_in
    from ...rounding.transforms.folding import fold_with_factors

    model, batches, notes = job.model, list(as_batches(job.batches, job.model)), job.notes
    kinds = {each.dtype for each in (*model.parameters(), *model.buffers()) if each.is_floating_point()}
    if kinds - {torch.float32}:
        model = copy.deepcopy(model).float()
        batches = [_in_float32(each) for each in batches]
        names = " and ".join(sorted(str(each).removeprefix("torch.") for each in kinds - {torch.float32}))
        notes = (*notes, f"the network is in {names}; the graph computes in float32, and takes and gives float32")
    left = kept_norms(job)
    factors: dict[str, Tensor] = {}
    if left is not None:
        try:
            folded, factors = fold_with_factors(model, batches, left)
            idle = [name for name, factor in factors.items() if not bool(factor.all())]
            if idle:  # channels that are 0 whatever the weight is: integer kernels cannot divide by such a scale
                folded, factors = fold_with_factors(model, batches, [*left, *idle])
            model = folded
        except InvalidInput:  # it does not do the same on every batch, and is traced as it is
            factors = {}
    if model is job.model:
        return job
    uses = uses_in(model)

    def weight(name: str) -> Tensor:
        return uses[name].weight.detach()

    return replace(job, model=model, batches=batches, weight=weight, factors=factors, notes=notes)


def kept_norms(job: Job) -> list[str] | None:
    """The layers whose batch norms stay, as their codes have no scale a channel; None of a network without norms."""
    norm = require("torch", EXTRA).nn.modules.batchnorm._BatchNorm
    if not any(isinstance(each, norm) for each in job.model.modules()):
        return None
    return [layer.name for layer, entry in job.coded if entry.granularity != "channel"]


def _in_float32(batch: Batch) -> Batch:
    from torch import Tensor

    if isinstance(batch.inputs, Tensor):
        return replace(batch, inputs=_floated(batch.inputs))
    return replace(batch, inputs={name: _floated(each) for name, each in batch.inputs.items()})


def _floated(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def graph_job(target: str, policy: Policy, model: object, batches: Sequence[object]) -> Job:
    """Find the policy's layers in a network that is written as an ONNX graph.

    Parameters
    ----------
    target
        The name of the target.
    policy, model, batches
        As for `module_job`.

    Returns
    -------
    job
        It is `prepared` once its codes are there.

    Raises
    ------
    InvalidInput
        As `module_job` does; when the network is an ONNX file and the policy rounds inputs of layers.
    """
    from ...onnx_models.network import OnnxNetwork
    from ..sources import module_job

    job = replace(module_job(policy, model, batches, file_too=True), form=prepared)
    if isinstance(job.model, OnnxNetwork):
        odd = next(((layer, entry) for layer, entry in job.chosen if entry.activation_scheme is not None), None)
        if odd is not None:
            raise InvalidInput(
                f"layer {odd[0].name!r} has the format {odd[1].name!r}, which rounds its input: into a graph that is "
                f"only an ONNX file {target} writes formats of weights, such as {odd[1].weights_only.name}"
            )
    return job


def check_example(target: str, job: Job) -> None:
    """Refuse a job without an example input, unless its network is an ONNX file; raises InvalidInput."""
    from ...onnx_models.network import OnnxNetwork

    if not job.batches and not isinstance(job.model, OnnxNetwork):
        raise InvalidInput(f"{target} traces the network: give batches=[...], of which the first is enough")


def beside_the_file(job: Job, proto: Any) -> tuple[str, ...]:
    """How far the outputs of a written graph are from those of the file that it comes from, for the report."""
    from ...network.batches import as_batches
    from ...onnx_models.network import OnnxNetwork

    if not isinstance(job.model, OnnxNetwork) or not job.batches:
        return ()
    found = job.model.decibels(proto, as_batches(job.batches, job.model))
    return (f"on the batches outputs lie {found:.1f} dB above their difference from those of the float file",)
