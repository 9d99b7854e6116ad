"""GGUF: a file with our integers in ggml's blocks, and what makes llama-quantize choose the same types."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ...common.files import write_text
from ...common.packages import require
from ...errors import InvalidInput, unknown
from ...formats.blocks import GGML_FORMATS
from ...formats.gguf_names import tensor_names
from ...layers import Layer
from ..contract import Job, Stored
from ..gguf_blocks import FORMATS, HALVES, TYPES, WANT_IMPORTANCE, ggml_type
from ..naming import parameter_of
from ..readers.from_gguf import (
    EXTRA,
    MODEL,
    PLAIN,
    TYPES_FILE,
    GgufModel,
    as_blocks,
    block_format,
    open_file,
    read_types,
    stored_tensors,
    types_of,
    weight_of,
)
from .gguf_file import arrays_of, check_others, write_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ...formats.format import Format
    from ...policy.policy import Policy

_NAME_LIMIT = 63  # bytes of a tensor's name that ggml keeps
_EMBEDDING = "token_embd.weight"
_EXPERTS = re.compile(r"\.(\d+)\..*\bexperts\.(gate_up_proj|down_proj)$")


@dataclass(frozen=True)
class Gguf:
    """Writes ``tensor_types.txt``, ``llama-quantize.txt`` and, where its types can be written, ``model.gguf``.

    The model is a float GGUF file, as llama.cpp's converter makes it: its metadata are kept, so that llama.cpp runs the
    result. Formats with groups of 32 are blocks of ggml bit for bit. Types such as ``Q4_K`` can only be made by
    llama-quantize: then the files say how, and what it will take.

    Attributes
    ----------
    architecture
        llama.cpp's name for the kind of network, such as ``"llama"``, after which a network's tensors are named.
    tensors_only
        Whether a network is taken in the place of the file. Its tensors are written as they are, for programs of one's
        own: llama.cpp does not load the result, which has neither hyperparameters nor a tokenizer, and whose attention
        weights are not in the order that it wants.
    """

    architecture: str | None = None
    tensors_only: bool = False

    name: ClassVar[str] = "gguf"
    packages: ClassVar[tuple[str, ...]] = ("torch", "gguf")
    extra: ClassVar[str | None] = EXTRA
    container: ClassVar[str] = ""
    file: ClassVar[str] = MODEL

    @property
    def capability(self) -> str:
        """The row of `capabilities.TARGETS`."""
        return "gguf"

    def prepare(self, policy: Policy, model: Any, batches: Sequence[object]) -> Job:
        """The policy's layers in a network or in a float GGUF file; raises InvalidInput where one is not there.

        Formats that have ggml's names, as in tables of its tools, are what these types are.
        """
        formats = tuple(_meant(entry) for entry in policy.formats)
        policy = replace(policy, formats=formats)
        if isinstance(model, (str, Path)):
            job = _file_job(policy, Path(model), batches)
        elif not self.tensors_only:
            raise InvalidInput(
                f"gguf needs the float .gguf file of the network as model, which llama.cpp's convert_hf_to_gguf.py "
                f"makes, and not a {type(model).__name__}: a network has no hyperparameters, no tokenizer and other "
                "orders of attention weights, and llama.cpp would not load the result. Codes of a bank go into the "
                "file with bank= (of a finished network with bank=finished.bank). For a program of your own that reads "
                "tensors by name, export to 'gguf_tensors'"
            )
        else:
            from ..sources import module_job

            job = module_job(policy, model, batches)
        kinds = {layer.name: ggml_type(entry.name) for layer, entry in job.chosen}
        # One type that only llama-quantize makes is enough for it to round everything: no file is written here.
        own = kinds if _only_ggml_makes(kinds.values()) else [name for name in kinds if kinds[name] in HALVES]
        return replace(job, by_tool=tuple(own))

    def check(self, job: Job) -> None:
        """Refuse names that ggml cannot hold or that would fall together, and new biases; raises InvalidInput."""
        if self.architecture is not None and job.gained:
            raise InvalidInput(
                f"gguf: the finished network has {', '.join(job.gained)}, which llama.cpp's architecture "
                f"{self.architecture!r} need not load: export its codes alone, with "
                "bank=finished.bank and the float network"
            )
        places = self._places(job)
        for layer, place in ((layer, place) for layer, own in places.items() for place in own):
            if len(place.encode()) > _NAME_LIMIT:
                raise InvalidInput(
                    f"gguf: the tensor {place!r} of layer {layer!r} has a name of more than {_NAME_LIMIT} bytes, which "
                    "ggml cuts off: name an architecture, or rename the module"
                )
            if place != place.lower() or re.search(r"[\s=]", place):
                raise InvalidInput(
                    f"gguf: the tensor {place!r} of layer {layer!r} has capitals, spaces or '=' in its name, which "
                    "tensor-type files cannot say: rename the module"
                )

    def write(self, job: Job, folder: Path) -> tuple[str, ...]:
        """Write the tensor types, the arguments, and the file."""
        places = self._places(job)
        kinds = {place: ggml_type(entry.name) for layer, entry in job.chosen for place in places[layer.name]}
        lines = [f"^{re.escape(place)}$={kind.lower()}" for place, kind in {**self._plain(job), **kinds}.items()]
        write_text(folder / TYPES_FILE, "\n".join(lines) + "\n")
        source = job.model if isinstance(job.model, (str, Path)) else "float.gguf"
        imatrix = "--imatrix imatrix.gguf " if set(kinds.values()) & set(WANT_IMPORTANCE) else ""
        command = f"llama-quantize {imatrix}--tensor-type-file {TYPES_FILE} {Path(source).name} quantized.gguf q8_0"
        write_text(folder / "llama-quantize.txt", command + "\n")
        others = _only_ggml_makes(kinds.values())
        if others:
            return (f"{', '.join(others)} can only be made by llama-quantize, in its own way: no {MODEL} is written",)
        write_file(job, places, folder / MODEL, self.architecture, tensor_names(self.architecture))
        if job.rounder in ("", "nearest"):
            return ()
        return (
            f"{MODEL} holds the weights of {job.rounder}; llama-quantize with {TYPES_FILE} would round in its own way, "
            "and the prediction would not hold",
        )

    def read(self, folder: Path, job: Job) -> Mapping[str, Stored]:
        """Read the types again and, where there is one, the file; both must agree."""
        from ..experts import halves, joined

        places = self._places(job)
        types = types_of(read_types(folder / TYPES_FILE), [place for own in places.values() for place in own])
        if (folder / MODEL).exists():
            formats = {place: entry for layer, entry in job.chosen for place in places[layer.name]}
            exact = as_blocks(folder / MODEL, stored_tensors(folder / MODEL, halves=True), formats)
            check_others(job, places, folder / MODEL, tensor_names(self.architecture))
            # What nobody chose stays as it was, be that F32 or F16.
            asked = {layer.name for layer, _ in job.chosen}
            found = {}
            for layer in job.layers:
                own = {place: exact[place] for place in places[layer.name] if place in exact}
                agree = all(_agrees(types[name], each) for name, each in own.items())
                if agree and len(own) == len(places[layer.name]):
                    whole = joined(layer, halves(layer, tuple(own)), own) if len(own) > 1 else next(iter(own.values()))
                    found[layer.name] = whole if layer.name in asked else _as_float(whole)
            return found
        asked = {layer.name for layer, _ in job.chosen}
        sizes = {
            layer.name: block_format(types[places[layer.name][0]] or "F32", halves=layer.name in asked)
            for layer in job.layers
        }
        return {
            layer.name: Stored(sizes[layer.name], sizes[layer.name].storage_bytes(layer), places[layer.name][0])
            for layer in job.layers
        }

    def _plain(self, job: Job) -> dict[str, str]:
        """The types of all tensors that llama-quantize would otherwise quantise."""
        if isinstance(job.model, (str, Path)):
            tensors = open_file(Path(job.model)).tensors
            return {tensor.name: tensor.tensor_type.name for tensor in tensors if len(tensor.shape) > 1}
        arrays = arrays_of(job, tensor_names(self.architecture))
        return {name: "F32" for name, array in arrays.items() if array.ndim > 1}

    def _places(self, job: Job) -> dict[str, tuple[str, ...]]:
        """The tensors of the layers."""
        if isinstance(job.model, (str, Path)):
            return tensors_of(job.policy.layer_names, Path(job.model))
        names, parameters = tensor_names(self.architecture), list(job.model.state_dict())
        places: dict[str, tuple[str, ...]] = {}
        for layer in job.layers:  # a shared weight is written once, under the name that comes first
            own = [parameter_of(name, layer) for name in (layer.name, *layer.ties)]
            places[layer.name] = (names(next((name for name in parameters if name in own), own[0])),)
        return places


def _agrees(kind: str | None, stored: Stored) -> bool:
    own = {block_format(kind or "F32", halves=halves).name for halves in (True, False)}
    return stored.format.name in own or stored.format.name.upper() == kind


def _as_float(stored: Stored) -> Stored:
    return replace(stored, format=block_format("F32")) if stored.format.name in HALVES else stored


def _meant(entry: Format) -> Format:
    """The format that a name of ggml's means, with its rounding where that can be done here."""
    kind = entry.name.upper()
    if entry.built_in or (kind not in (*FORMATS, *HALVES, "F32") and kind.lower() not in GGML_FORMATS):
        return entry
    return block_format(kind, halves=True)


def _only_ggml_makes(kinds: Iterable[str]) -> list[str]:
    """The types that only llama-quantize makes."""
    own = (*TYPES.values(), *HALVES, *map(str.upper, GGML_FORMATS))
    return sorted({kind for kind in kinds if kind not in own})


def _architecture(reader: GgufModel) -> str | None:
    field = reader.fields.get("general.architecture")
    known = require("gguf", EXTRA).MODEL_ARCH_NAMES.values()
    return field.contents() if field is not None and field.contents() in known else None


def _tensor_names(
    layers: Sequence[str], tensors: Sequence[str], architecture: str | None
) -> dict[str, tuple[str, ...]]:
    """The tensors of every layer; layers may have the file's names or the network's."""
    mapped = tensor_names(architecture)
    found = {}
    for layer in layers:
        candidates = (layer, f"{layer}.weight", mapped(f"{layer}.weight"))
        place = next(((name,) for name in candidates if name in tensors), None) or _of_experts(layer, tensors)
        if place is None:
            raise unknown("layer", layer, [name.removesuffix(".weight") for name in tensors])
        found[layer] = place
    return found


def _of_experts(layer: str, tensors: Sequence[str]) -> tuple[str, ...] | None:
    """The tensors of the experts of a layer, as a network of transformers calls them; None where there are none."""
    block = _EXPERTS.search(layer)
    if block is None:
        return None
    kinds = ("gate", "up") if block[2] == "gate_up_proj" else ("down",)
    names = tuple(f"blk.{block[1]}.ffn_{kind}_exps.weight" for kind in kinds)
    return names if all(name in tensors for name in names) else None


def tensors_of(layers: Sequence[str], path: Path) -> dict[str, tuple[str, ...]]:
    """The tensors of a file for each layer; raises InvalidInput, with the nearest name, where there is none."""
    reader = open_file(path)
    return _tensor_names(layers, [tensor.name for tensor in reader.tensors], _architecture(reader))


def _file_job(policy: Policy, path: Path, batches: Sequence[object]) -> Job:
    reader = open_file(path)
    places = tensors_of(policy.layer_names, path)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    layers = []
    for name, own in places.items():
        for place in own:
            if tensors[place].tensor_type.name not in PLAIN:
                kind = tensors[place].tensor_type.name
                raise InvalidInput(f"{str(path)!r} has {place!r} in {kind}: give the float file")
        shape = tuple(int(size) for size in reversed(tensors[own[0]].shape.tolist()))
        if len(own) > 1:
            shape = (shape[0], len(own) * shape[1], *shape[2:])
        kind = "embedding" if own[0] == _EMBEDDING else "experts" if "_exps." in own[0] else "linear"
        channels = 1
        for size in shape[:-1]:
            channels *= size
        layers.append(Layer(name, kind, shape, channels, 0))

    def weight(name: str) -> Any:
        own = [weight_of(tensors[place]) for place in places[name]]
        return own[0] if len(own) == 1 else require("torch", EXTRA).cat(own, dim=1)

    from ...rounding.rounders.nearest import nearest_bank
    from ..readers.gguf_orders import order_of

    heads = _heads(reader)

    def order(name: str, digest: str) -> Any:
        return order_of(weight(name), digest, heads)

    codes = nearest_bank(layers, policy.formats, weight)
    return Job(policy, tuple(layers), path, weight, batches, codes, order=order)


def _heads(reader: GgufModel) -> list[int]:
    """How many heads the queries, and the keys, of a file may have."""
    found = []
    for name, field in reader.fields.items():
        if name.endswith((".attention.head_count", ".attention.head_count_kv")):
            counts = field.contents()
            found += counts if isinstance(counts, list) else [counts]
    return [int(each) for each in found]
