"""compressed-tensors, which vLLM and Hugging Face load: packed integers with our scales, and a configuration."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ...common.files import write_text
from ...common.packages import require
from ...formats.capabilities import held_scales
from ..naming import parameter_of
from ..readers.from_compressed_tensors import CONFIG, EXTRA, STATE, read_config, read_state, stored_layers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from ...formats.format import Format
    from ...formats.schemes import WeightScheme
    from ...layers import Layer
    from ...policy.policy import Policy
    from ...rounding.encoded import StoredWeight
    from ..contract import Job, Stored

_UNPACKED_EXPERTS = (
    "transformers unpacks experts when it loads them: there it multiplies float16 scales in float16, which changes "
    "weights in groups by up to 1 part in 2,000"
)


@dataclass(frozen=True)
class CompressedTensors:
    """Writes ``model.safetensors`` and ``config.json``; of a Hugging Face model, a checkpoint to load from.

    Attributes
    ----------
    capability
        The row of `capabilities.TARGETS` that the policy must keep: ``"vllm"`` and ``"sglang"`` fuse
        layers, and vLLM takes zero points.
    """

    capability: str = "compressed_tensors"

    name: ClassVar[str] = "compressed_tensors"
    packages: ClassVar[tuple[str, ...]] = ("torch", "compressed_tensors", "safetensors")
    extra: ClassVar[str | None] = EXTRA
    container: ClassVar[str] = "rows and zero points are padded to 32 bits, and 16 bytes hold the shape of the weight"
    file: ClassVar[str] = "*.safetensors"

    def prepare(self, policy: Policy, model: Any, batches: Sequence[object]) -> Job:
        """The policy's layers in a network; raises InvalidInput where one is not there."""
        from ..sources import module_job

        return module_job(policy, model, batches)

    def check(self, job: Job) -> None:
        """Refuse biases that a model has no place for, and experts in one tensor; raises InvalidInput."""
        from ...network.weight_uses import EXPERTS
        from ..experts import saved_pieces
        from ..sources import check_places

        check_places(self.name, job)
        for layer, _ in job.chosen:
            if layer.kind == EXPERTS:
                saved_pieces(job.model, layer)

    def write(self, job: Job, folder: Path) -> tuple[str, ...]:
        """Write the checkpoint."""
        from ...network.weight_uses import EXPERTS

        config = quantization_config(job, original=self._original)
        state = compressed_state(job, config, original=self._original)
        if hasattr(job.model, "save_pretrained"):
            job.model.save_pretrained(folder, state_dict=state, save_original_format=False)
            described = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        else:
            safetensors = require("safetensors.torch", EXTRA)
            safetensors.save_file(state, folder / STATE, metadata={"format": "pt"})
            described = {}
        described["quantization_config"] = config
        write_text(folder / CONFIG, json.dumps(described, indent=1) + "\n")
        grouped = any(layer.kind == EXPERTS and entry.group_size is not None for layer, entry in job.chosen)
        return (
            *notes_on_biases(job),
            *_notes_on_scales(job, self.capability),
            *_notes_on_bits(job, self.capability),
            *((_UNPACKED_EXPERTS,) if grouped and not self._original else ()),
        )

    def read(self, folder: Path, job: Job) -> Mapping[str, Stored]:
        """Read the checkpoint again."""
        from ...network.checkpoints.saved_names import as_saved, layer_name
        from ...network.weight_uses import EXPERTS
        from ..experts import joined, saved_pieces
        from ..sources import check_others, with_float_layers

        state: dict[str, Tensor] = {}
        for path in sorted(folder.glob("*.safetensors")):
            state |= read_state(path)
        check_others(self.name, state, job, (lambda own: as_saved(job.model, own)) if self._original else None)
        found = stored_layers(state, read_config(folder / CONFIG))
        saved = {layer.name: layer_name(job.model, layer.name) for layer in job.layers} if self._original else {}
        places = {layer.name: saved.get(layer.name, layer.name) for layer in job.layers}
        own = {name: found[place] for name, place in places.items() if place in found}
        own |= {
            layer.name: joined(layer, saved_pieces(job.model, layer), found)
            for layer, _ in job.chosen
            if layer.kind == EXPERTS
        }
        return with_float_layers(job, own)

    @property
    def _original(self) -> bool:
        """Whether the runtime knows the names of checkpoints, and not those that transformers gives their tensors."""
        return self.capability in ("vllm", "sglang")


def notes_on_biases(job: Job) -> tuple[str, ...]:
    """What whoever loads the state into a network of his own has to know of biases that layers have gained."""
    if not job.gained:
        return ()
    return (f"the network that loads {STATE} must have {', '.join(job.gained)}: build those layers with bias=True",)


def _notes_on_scales(job: Job, target: str) -> tuple[str, ...]:
    """Layers whose scales the runtime rounds when it loads them."""
    import torch

    from ..codes import with_codes

    rounded, types = [], set()
    for layer, entry in job.coded:
        held = held_scales(target, entry, str(job.weight(layer.name).dtype).removeprefix("torch."))
        if held:
            scales = with_codes(job.encoded(layer), entry, layer).scales.double()
            if not bool((scales.to(getattr(torch, held)).double() == scales).all()):
                rounded.append(layer.name)
                types.add(held)
    if not rounded:
        return ()
    return (
        f"{target} holds scales in {' and '.join(sorted(types))}, and rounds those of {len(rounded)} layers when it "
        f"loads them: round with round_weights(..., target={target!r}) before measuring, and what was measured runs",
    )


def _notes_on_bits(job: Job, target: str) -> tuple[str, ...]:
    """Widths that only newer versions of vLLM have kernels for."""
    bits = sorted({entry.weight_bits for _, entry in job.coded} - {4, 8})
    if target != "vllm" or not bits:
        return ()
    return (f"weights of {', '.join(map(str, bits))} bits need a newer vLLM; older ones take four and eight bits only",)


def storage(entry: Format) -> str:
    """The name that compressed-tensors has for the way in which a format is stored."""
    if entry.family == "float":
        return "float-quantized"
    return "int-quantized" if entry.weight_bits == 8 and entry.activation_scheme is not None else "pack-quantized"


def quantization_config(job: Job, *, original: bool = False) -> dict[str, Any]:
    """One group for each format, with full names as targets; every other linear layer is ignored by name.

    Parameters
    ----------
    job
        What is exported.
    original
        Whether layers have the names of checkpoints, where transformers renames them.

    Returns
    -------
    config
        What ``config.json`` holds under ``quantization_config``.
    """
    from ...network.checkpoints.saved_names import layer_name
    from ...network.weight_uses import EXPERTS
    from ..experts import experts_pattern, saved_pieces

    groups: dict[str, dict[str, Any]] = {}
    for layer, entry in job.chosen:
        if entry.weight_scheme is not None:
            group = groups.setdefault(entry.name, _group(entry, entry.weight_scheme))
            target = layer_name(job.model, layer.name) if original else layer.name
            if layer.kind == EXPERTS:
                target = experts_pattern(saved_pieces(job.model, layer))
            if target not in group["targets"]:
                group["targets"].append(target)
    ways = {group["format"] for group in groups.values()}
    quantised = {layer.name for layer, _ in job.chosen}
    require("torch", EXTRA)
    from torch import nn

    others = [name for name, module in job.model.named_modules() if isinstance(module, nn.Linear)]
    return {
        "quant_method": "compressed-tensors",
        "format": ways.pop() if len(ways) == 1 else "mixed-precision",
        "quantization_status": "compressed",
        "ignore": [layer_name(job.model, name) if original else name for name in others if name not in quantised],
        "config_groups": groups,
    }


def _group(entry: Format, scheme: WeightScheme) -> dict[str, Any]:
    inputs = entry.activation_scheme
    weights: dict[str, Any] = {
        "num_bits": scheme.bits,
        "type": "int" if scheme.family == "integer" else "float",
        "symmetric": scheme.symmetric,
        "strategy": scheme.granularity,
    }
    if scheme.group_size is not None:
        weights["group_size"] = scheme.group_size
    group: dict[str, Any] = {"targets": [], "format": storage(entry), "weights": weights}
    if inputs is not None:
        group["input_activations"] = {
            "num_bits": inputs.bits,
            "type": "int" if inputs.family == "integer" else "float",
            "symmetric": inputs.symmetric,
            "strategy": "token",
            "dynamic": True,
        }
    return group


def compressed_state(job: Job, config: Mapping[str, Any], *, original: bool = False) -> dict[str, Tensor]:
    """The network's state with the policy's weights compressed.

    Parameters
    ----------
    job
        What is exported.
    config
        Its `quantization_config`.
    original
        Whether tensors have the names of checkpoints, where transformers renames them.

    Returns
    -------
    state
        From the names in the checkpoint to tensors that share no memory.
    """
    from ...network.checkpoints.saved_names import as_saved
    from ...network.checkpoints.state import state_of
    from ...network.weight_uses import EXPERTS
    from ..experts import saved_pieces

    quantization = require("compressed_tensors.quantization", EXTRA)
    registry = require("compressed_tensors.compressors", EXTRA).BaseCompressor
    state, made = state_of(job.model), list[str]()
    experts: dict[str, Tensor] = {}
    for layer, entry in job.chosen:
        group = config["config_groups"][entry.name]
        compressor = registry.get_value_from_registry(group["format"])
        del state[parameter_of(layer.name, layer)]
        encoded, scheme = job.encoded(layer), quantization.QuantizationScheme(**group)
        if layer.kind == EXPERTS:
            for piece in saved_pieces(job.model, layer):
                parts = compressor.compress(_uncompressed(piece.of(encoded), entry, piece.layer(layer)), scheme)
                experts |= {f"{piece.name}.{part}": tensor for part, tensor in parts.items()}
            continue
        for part, tensor in compressor.compress(_uncompressed(encoded, entry, layer), scheme).items():
            made.append(f"{layer.name}.{part}")
            state[made[-1]] = tensor
    return {**(as_saved(job.model, state, made) if original else state), **experts}


def _uncompressed(encoded: StoredWeight, entry: Format, layer: Layer) -> dict[str, Tensor]:
    """The rounded weight with our scales and zero points: dividing by them gives our integers again."""
    from ...rounding.encoded import decode_weight
    from ..codes import codes_of, with_codes

    rounded = decode_weight(encoded, entry, layer)
    if entry.family == "float":
        return {"weight": rounded, "weight_scale": with_codes(encoded, entry, layer).scales}
    codes = codes_of(encoded, entry, layer)
    parts = {"weight": rounded, "weight_scale": codes.scales}
    if entry.symmetric is False:
        parts["weight_zero_point"] = codes.zero_points
    return parts
