"""What is exported: the layers of a network that a policy names, and what must hold before anything is written."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..errors import InvalidInput
from ..evaluation.simulation import Simulator
from ..formats.format import Format
from ..formats.schemes import FLOAT
from ..network.batches import as_batch, call, evaluating
from ..network.checkpoints.plain_names import unwrapped
from ..network.weight_uses import EXPERTS, KINDS, uses_in
from ..onnx_models.network import OnnxNetwork
from ..rounding.encoded import decode_weight
from ..rounding.rounders.nearest import nearest_bank
from .codes import difference_of_codes
from .contract import ExportMismatch, Job, Stored
from .naming import parameter_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..layers import Layer
    from ..policy.policy import Policy
    from .graphs.graph import Graph

ROUNDINGS = 4  # units in the last place by which an artefact's weight may differ


def module_job(policy: Policy, model: object, batches: Sequence[object], *, file_too: bool = False) -> Job:
    """Find the policy's layers in a network.

    Parameters
    ----------
    policy
        The policy.
    model
        The network.
    batches
        Example inputs.
    file_too
        Whether the target can write what is only an ONNX file.

    Returns
    -------
    job
        Its layers are in the policy's order, its codes nearest ones.

    Raises
    ------
    InvalidInput
        When `model` is no network, or has no such layer; when the policy was made for another network, gives two
        formats to one weight, or names one weight twice.
    """
    if model is None:
        raise InvalidInput("model is missing: give the float network whose weights are exported (--model)")
    if not isinstance(model, nn.Module):
        raise InvalidInput(f"model is a {type(model).__name__}: this target takes a torch.nn.Module")
    if isinstance(model, OnnxNetwork) and not file_too:
        raise InvalidInput(
            "model is an ONNX file, which PyTorch does not compute: export it to onnxruntime or onnxruntime_nbits"
        )
    model = unwrapped(model)
    if "" in policy.layer_names:
        raise InvalidInput(
            f"the network itself, a {type(model).__name__}, is the layer of the policy: its weight has no module's "
            "name to be exported under; put it into a torch.nn.Sequential"
        )
    simulator = Simulator(model)
    simulator.weight_bytes(policy)  # refuses foreign policies and weights with two formats
    uses = uses_in(model)
    users: dict[int, list[str]] = {}
    for name, use in uses.items():
        if not use.obstacle:
            users.setdefault(use.weight.data_ptr(), []).append(name)
    found: list[Layer] = []
    for name in policy.layer_names:
        facts = simulator.layer(name)
        names = users[uses[name].weight.data_ptr()]
        twice = next((each.name for each in found if each.name in names), None)
        if twice is not None:
            raise InvalidInput(f"layers {twice!r} and {name!r} share one weight: name one of them in the policy")
        found.append(replace(facts, ties=tuple(each for each in names if each != name)))

    def weight(name: str) -> Tensor:
        return uses[name].weight.detach()

    return Job(policy, tuple(found), model, weight, batches, nearest_bank(found, policy.formats, weight))


def difference(job: Job, layer: Layer, entry: Format, stored: Stored) -> str:
    """Say how what an artefact holds of a layer differs from what was to be written.

    Parameters
    ----------
    job
        What was asked.
    layer
        The layer.
    entry
        Its format.
    stored
        What the artefact holds, with a weight.

    Returns
    -------
    words
        Empty where its codes are the same bit for bit, as far as they can be read, and every entry of the weight that
        the target computes with is equal up to the rounding of its type.
    """
    found = stored.weight
    if found is None:
        return ""
    if tuple(found.shape) != layer.shape:
        return f"has the shape {tuple(found.shape)} in the artefact, not {layer.shape}"
    own = job.weight(layer.name)
    if entry.weights_only.name == "float":
        return _distance(own.double(), found, torch.finfo(own.dtype).eps)
    encoded = job.encoded(layer)
    codes = "" if stored.codes is None else difference_of_codes(encoded, stored.codes)
    return codes or _distance(decode_weight(encoded, entry, layer).double(), found, torch.finfo(own.dtype).eps)


def _distance(asked: Tensor, found: Tensor, eps: float) -> str:
    off = (found.detach().double() - asked.to(found.device)).abs()
    wrong = int((off > ROUNDINGS * eps * asked.abs()).sum())
    return f"differs in {wrong:,} of {asked.numel():,} entries, by up to {float(off.max()):.3g}" if wrong else ""


def check_others(
    target: str,
    state: Mapping[str, Tensor],
    job: Job,
    saved: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] | None = None,
) -> None:
    """Compare every tensor of an artefact that is no quantised weight with the network's own.

    Parameters
    ----------
    target
        The name of the target.
    state
        From the names of parameters and buffers to what the artefact holds.
    job
        What was asked.
    saved
        From tensors by the network's names to what the artefact should hold of them; None where names stay.

    Raises
    ------
    ExportMismatch
        When one is missing, other than under another name of the same tensor, or differs in an entry or its shape.
    """
    taken = {parameter_of(name, layer) for layer, _ in job.chosen for name in (layer.name, *layer.ties)}
    own: Mapping[str, Tensor] = {name: tensor for name, tensor in job.model.state_dict().items() if name not in taken}
    own = own if saved is None else saved(own)
    held = {tensor.data_ptr() for name, tensor in own.items() if name in state}
    for name, tensor in own.items():
        if name not in state:
            if tensor.numel() == 0 or tensor.data_ptr() in held:
                continue
            raise ExportMismatch(f"{target}: the tensor {name!r} of the network is not in the artefact")
        _check_same(target, name, tensor, state[name])


def with_float_layers(job: Job, found: Mapping[str, Stored]) -> dict[str, Stored]:
    """What an artefact says of layers, with those that stay in float and are no modules, such as experts.

    Parameters
    ----------
    job
        What was asked.
    found
        What the reader found, by the layers' names. `check_others` has compared the other layers.

    Returns
    -------
    found
        With an entry for each layer that stays in float.
    """
    entry = Format.named(FLOAT)
    as_they_are = {}
    for layer in job.layers:
        if job.policy[layer.name].name == FLOAT and not any(name in found for name in (layer.name, *layer.ties)):
            weight = job.weight(layer.name)
            size = weight.numel() * weight.element_size()
            as_they_are[layer.name] = Stored(entry, size, layer.name, weight)
    return {**found, **as_they_are}


def check_named(target: str, graph: Graph, job: Job) -> None:
    """Compare every tensor of an ONNX graph that has the name of one of the network's with that.

    Those that were folded into others have no name any more, and are not compared.

    Parameters
    ----------
    target
        The name of the target.
    graph
        The graph, read again.
    job
        What was asked.

    Raises
    ------
    ExportMismatch
        When one differs in an entry or its shape.
    """
    state = job.model.state_dict()
    for name in graph.initializers:
        if name in state:
            _check_same(target, name, state[name], torch.from_numpy(graph.array(name).copy()))


def _check_same(target: str, name: str, own: Tensor, found: Tensor) -> None:
    kept = found.detach().cpu()
    asked = own.detach().cpu().to(kept.dtype)
    same = asked.shape == kept.shape and bool(((asked == kept) | (asked.isnan() & kept.isnan())).all())
    if not same:
        raise ExportMismatch(
            f"{target}: the tensor {name!r}, which is no weight of the policy's, is not as it is in the network"
        )


def check_places(target: str, job: Job) -> None:
    """Refuse biases that layers have gained where a model of transformers is loaded: raises InvalidInput.

    Its configuration builds the layers without them, and whoever loads the checkpoint would get other outputs.
    """
    if job.gained and hasattr(job.model, "save_pretrained"):
        raise InvalidInput(
            f"{target}: the finished network has {', '.join(job.gained)}, which {type(job.model).__name__} does not "
            "have when it is built from its configuration: export its codes alone, with "
            "bank=finished.bank and the float network"
        )


def check_called(target: str, job: Job) -> None:
    """Refuse layers whose weights the network multiplies by itself, where the target's tensors cannot do that.

    Parameters
    ----------
    target
        The name of the target, whose tensors take part in a layer's own forward pass and in nothing else.
    job
        What is asked. The network runs on its first batch, or on the few tokens that a model of transformers has for
        such trials; without either only the classes of the layers are looked at.

    Raises
    ------
    InvalidInput
        When a quantised layer has a forward pass of its own making, or is never called. Experts are no layers that are
        called; see `experts.check_run`.
    """
    uses = uses_in(job.model)
    chosen = [(layer, entry) for layer, entry in job.chosen if layer.kind != EXPERTS]
    for layer, entry in chosen:
        kind = type(uses[layer.name].module)
        if not any(kind.forward is base.forward for base in KINDS):
            raise InvalidInput(
                f"{target} cannot take layer {layer.name!r} in format {entry.name!r}: a {kind.__name__} multiplies its "
                f"weight in a way of its own, which {target}'s tensors do not know; pin the layer to 'float'"
            )
    called: set[nn.Module] = set()
    batch = trial(job)
    if batch is None:
        return
    with contextlib.ExitStack() as hooks, evaluating(job.model), torch.no_grad():
        for layer, _ in chosen:
            module = uses[layer.name].module
            hooks.callback(module.register_forward_hook(lambda each, *_: called.add(each)).remove)
        call(job.model, as_batch(batch).head(1))
    for layer, entry in chosen:
        if uses[layer.name].module not in called:
            raise InvalidInput(
                f"{target} cannot take layer {layer.name!r} in format {entry.name!r}: the network never calls it, but "
                f"reads its weight elsewhere, where {target}'s tensors cannot stand; pin the layer to 'float'"
            )


def trial(job: Job) -> Any:
    """An input to try a network on: its first batch, or a few tokens for a model of transformers that takes such."""
    if job.batches:
        return job.batches[0]
    if getattr(job.model, "main_input_name", None) != "input_ids":
        return None
    tokens = torch.zeros((1, 4), dtype=torch.int64)
    paired = getattr(job.model.config, "is_encoder_decoder", False)
    return {"input_ids": tokens, "decoder_input_ids": tokens} if paired else {"input_ids": tokens}
