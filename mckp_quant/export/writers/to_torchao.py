"""torchao: a `FqnToConfig` as JSON, and the state of the network in torchao's tensors, with our integers and scales."""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ...common.files import write_text
from ...common.packages import require
from ..naming import parameter_of
from ..readers.from_torchao import CONFIG, EXTRA, STATE, read_config, read_state, stored_layers
from .to_compressed_tensors import notes_on_biases

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import torch
    from torch import Tensor

    from ...formats.format import Format
    from ...layers import Layer
    from ...policy.policy import Policy
    from ...rounding.encoded import StoredWeight
    from ..contract import Job, Stored

EXPERTS = "experts"


@dataclass(frozen=True)
class Torchao:
    """Writes ``torchao_config.json`` and ``model.safetensors``.

    The state holds the integers and scales that were measured, in ``IntxUnpackedToInt8Tensor``: one byte per weight at
    any width. The configuration makes torchao's own ``quantize_`` choose the same widths; its scales are its own.
    """

    name: ClassVar[str] = "torchao"
    packages: ClassVar[tuple[str, ...]] = ("torch", "torchao", "safetensors")
    extra: ClassVar[str | None] = EXTRA
    container: ClassVar[str] = "codes and zero points take a byte each, and every scale has a zero point"
    file: ClassVar[str] = STATE

    @property
    def capability(self) -> str:
        """The row of `capabilities.TARGETS`."""
        return "torchao"

    def prepare(self, policy: Policy, model: Any, batches: Sequence[object]) -> Job:
        """The policy's layers in a network; raises InvalidInput where one is not there."""
        from ..sources import module_job

        return module_job(policy, model, batches)

    def check(self, job: Job) -> None:
        """Refuse biases that a model of transformers has no place for, and layers that cannot run; see `check_called`.

        Raises InvalidInput.
        """
        from ..experts import check_run
        from ..sources import check_called, check_places

        check_places(self.name, job)
        check_called(self.name, job)
        check_run(self.name, job, lambda layer, entry: _of_layer(job, layer, entry))

    def write(self, job: Job, folder: Path) -> tuple[str, ...]:
        """Write the configuration and the state."""
        core = require("torchao.core.config", EXTRA)
        support = require("torchao.prototype.safetensors.safetensors_support", EXTRA)
        safetensors = require("safetensors.torch", EXTRA)
        write_text(folder / CONFIG, json.dumps(core.config_to_dict(configuration(job)), indent=1) + "\n")
        state = quantized_state(job)
        # torchao cannot name parameters of the network itself; as tensors that it does not list they are left alone.
        inner = {name: tensor for name, tensor in state.items() if "." in name}
        tensors, metadata = support.flatten_tensor_state_dict(inner)
        outer = {name: tensor for name, tensor in state.items() if "." not in name}
        safetensors.save_file({**tensors, **outer}, folder / STATE, metadata={**metadata, "format": "pt"})
        if hasattr(job.model, "save_pretrained"):
            _describe(job, folder)
        notes = list(notes_on_biases(job))
        if job.rounder not in ("", "nearest"):
            notes.append(
                f"{STATE} holds the weights of {job.rounder}; torchao.quantize_ with {CONFIG} would round to nearest, "
                "and the prediction would not hold"
            )
        if any(layer.kind.startswith("conv") for layer, _ in job.chosen):
            notes.append(
                f"{STATE} has one scale per output channel for convolutions; torchao.quantize_ with {CONFIG} would "
                "give them one per channel and kernel position"
            )
        if any(layer.kind == EXPERTS for layer, _ in job.chosen):
            notes.append(
                "torchao's tensors hold one expert at a time: config.json says experts_implementation = 'eager'; in a "
                "network that is loaded otherwise call set_experts_implementation('eager')"
            )
        return tuple(notes)

    def read(self, folder: Path, job: Job) -> Mapping[str, Stored]:
        """Read both files again."""
        from ..sources import check_others, with_float_layers

        state = read_state(folder / STATE)
        check_others(self.name, state, job)
        return with_float_layers(job, stored_layers(state, read_config(folder / CONFIG)))


def _describe(job: Job, folder: Path) -> None:
    """The ``config.json`` with which Hugging Face loads the state."""
    transformers = require("transformers", EXTRA)
    job.model.config.save_pretrained(folder)
    described = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    described["architectures"] = [type(job.model).__name__]
    described["dtype"] = str(job.model.dtype).removeprefix(
        "torch."
    )  # or it is guessed from whatever tensor comes first
    if any(layer.kind == EXPERTS for layer, _ in job.chosen):
        described["experts_implementation"] = "eager"
    described["quantization_config"] = transformers.TorchAoConfig(configuration(job)).to_dict()
    write_text(folder / "config.json", json.dumps(described, indent=1) + "\n")


def configuration(job: Job) -> Any:
    """The `FqnToConfig` of a policy: full names only, float layers named too."""
    api = require("torchao.quantization", EXTRA)
    named = OrderedDict(
        (name, _layer_configuration(layer, entry))
        for layer, entry in zip(job.layers, job.formats, strict=True)
        for name in (layer.name, *layer.ties)
    )
    return api.FqnToConfig(named)


def _layer_configuration(layer: Layer, entry: Format) -> Any:
    import torch

    api = require("torchao.quantization", EXTRA)
    scheme = entry.weight_scheme
    if scheme is None:
        return None
    if entry.activation_scheme is not None:
        return api.Int8DynamicActivationInt8WeightConfig(act_mapping_type=_mapping(entry.activation_scheme.symmetric))
    if layer.kind == EXPERTS:
        rows = api.PerRow() if scheme.group_size is None else api.PerGroup(scheme.group_size)
        return api.Int8WeightOnlyConfig(granularity=rows)
    granularity = api.PerAxis(0) if scheme.group_size is None else api.PerGroup(scheme.group_size)
    dtype = getattr(torch, f"int{scheme.bits}")
    return api.IntxWeightOnlyConfig(
        weight_dtype=dtype, granularity=granularity, mapping_type=_mapping(scheme.symmetric)
    )


def _mapping(symmetric: bool) -> Any:
    kinds = require("torchao.quantization", EXTRA).MappingType
    return kinds.SYMMETRIC if symmetric else kinds.ASYMMETRIC


def quantized_state(job: Job) -> dict[str, Tensor]:
    """The network's state with the policy's weights in torchao's tensors.

    Parameters
    ----------
    job
        What is exported.

    Returns
    -------
    state
        From names of parameters and buffers to tensors that share no memory with each other.
    """
    from ...network.checkpoints.state import state_of

    state = state_of(job.model)
    for layer, entry in job.chosen:
        state[parameter_of(layer.name, layer)] = _of_layer(job, layer, entry)
    return state


def _of_layer(job: Job, layer: Layer, entry: Format) -> Tensor:
    return _tensor(job.encoded(layer), job.weight(layer.name).dtype, entry, layer)


def _tensor(encoded: StoredWeight, dtype: torch.dtype, entry: Format, layer: Layer) -> Tensor:
    import torch

    from ..codes import codes_of

    api = require("torchao.quantization", EXTRA)
    codes = codes_of(encoded, entry, layer)
    if layer.kind == EXPERTS:  # of torchao's tensors these can be taken apart by experts
        scales = codes.scales.reshape(*layer.shape[:-1], -1)
        sizes = [1, 1, layer.shape[-1] // scales.shape[-1]]
        of_experts: Tensor = api.Int8Tensor(codes.integers.reshape(layer.shape), scales, sizes, dtype)
        return of_experts
    blocks = (layer.known_channels, *[1] * (len(layer.shape) - 2), codes.scales.shape[1])
    sizes = [size // count for size, count in zip(layer.shape, blocks, strict=True)]
    integers, scales = codes.integers.reshape(layer.shape), codes.scales.reshape(blocks)
    if entry.activation_scheme is not None:
        common = require("torchao.quantization.quantize_.workflows", EXTRA)
        inputs = common.QuantizeTensorToInt8Kwargs(api.PerRow(), _mapping(entry.activation_scheme.symmetric))
        with_inputs: Tensor = api.Int8Tensor(integers, scales, sizes, dtype, act_quant_kwargs=inputs)
        return with_inputs
    made: Tensor = api.IntxUnpackedToInt8Tensor(
        qdata=integers,
        scale=scales,
        zero_point=codes.zero_points.reshape(blocks),
        target_dtype=getattr(torch, f"int{codes.bits}"),
        block_size=sizes,
        dtype=dtype,
        activation_quantization=None,
    )
    return made
