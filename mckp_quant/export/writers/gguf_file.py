"""Writes and checks the GGUF file itself: metadata, tensors as they were given, and the policy's as blocks."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...common.packages import require
from ...formats.blocks import GGML
from ..contract import ExportMismatch
from ..gguf_blocks import HALVES, ggml_type, to_blocks
from ..readers.from_gguf import EXTRA, open_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ...formats.format import Format
    from ...layers import Layer
    from ..contract import Job

FILE_TYPE = "general.file_type"
_MATRIX = 2  # dimensions from which on a tensor counts for what the file mostly is


def write_file(
    job: Job, places: Mapping[str, tuple[str, ...]], path: Path, architecture: str | None, name_of: Callable[[str], str]
) -> None:
    """Write the file of a job.

    Parameters
    ----------
    job
        What is exported.
    places
        From the layers' names to those of their tensors; the gates and ups of experts have one each.
    path
        The file.
    architecture
        What ``general.architecture`` says where a network is given; None for ``"unknown"``.
    name_of
        From the names of a network's parameters to those of tensors.
    """
    gguf = require("gguf", EXTRA)
    made = {}
    for layer, entry in job.chosen:
        for name, data in zip(places[layer.name], _blocks(job, layer, entry, len(places[layer.name])), strict=True):
            made[name] = data, ggml_type(entry.name)
    if isinstance(job.model, (str, Path)):
        reader = open_file(Path(job.model))
        writer = gguf.GGUFWriter(path, "")
        for field in reader.fields.values():
            if field.name != FILE_TYPE:
                element = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
                writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=element)
        plain = {tensor.name: (tensor.data, tensor.tensor_type) for tensor in reader.tensors}
        sizes = {tensor.name: (len(tensor.shape), int(tensor.n_elements)) for tensor in reader.tensors}
    else:
        writer = gguf.GGUFWriter(path, architecture or "unknown")
        arrays = arrays_of(job, name_of)
        plain = {name: (array, None) for name, array in arrays.items()}
        sizes = {name: (array.ndim, array.size) for name, array in arrays.items()}
    kinds = {name: made[name][1] if name in made else kind.name if kind else "F32" for name, (_, kind) in plain.items()}
    writer.add_file_type(_file_type(kinds, sizes))
    for name, (data, kind) in plain.items():
        if name in made:
            writer.add_tensor(name, made[name][0], raw_dtype=gguf.GGMLQuantizationType[made[name][1]])
        else:
            writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _file_type(kinds: Mapping[str, str], sizes: Mapping[str, tuple[int, int]]) -> int:
    """The number by which ``general.file_type`` says in which type most weights are."""
    known = require("gguf", EXTRA).LlamaFileType
    weights = Counter[str]()
    for name, kind in kinds.items():
        dimensions, elements = sizes[name]
        weights[kind] += elements if dimensions >= _MATRIX else 0
    most = max(weights, key=lambda kind: weights[kind])
    return int(getattr(known, f"MOSTLY_{most}", known.ALL_F32))


def check_others(job: Job, places: Mapping[str, tuple[str, ...]], path: Path, name_of: Callable[[str], str]) -> None:
    """Every tensor that is no weight of the policy's layers is as it was given; raises ExportMismatch."""
    import numpy as np

    if isinstance(job.model, (str, Path)):
        asked = {tensor.name: tensor.data for tensor in open_file(Path(job.model)).tensors}
    else:
        asked = arrays_of(job, name_of)
    found = {tensor.name: tensor.data for tensor in open_file(path).tensors}
    written = {name for layer, _ in job.chosen for name in places[layer.name]}
    for name, data in asked.items():
        if name not in written and not (
            name in found and np.array_equal(np.ravel(data), np.ravel(found[name]), equal_nan=True)
        ):
            raise ExportMismatch(
                f"gguf: the tensor {name!r}, which is no weight of the policy's, is not as it is in the network"
            )


def arrays_of(job: Job, name_of: Callable[[str], str]) -> dict[str, Any]:
    """The tensors of a network as float32, a shared one once; counters of batch norms are left out."""
    found: dict[str, Any] = {}
    seen: set[int] = set()
    for parameter, tensor in job.model.state_dict().items():
        if tensor.is_floating_point() and tensor.data_ptr() not in seen:
            seen.add(tensor.data_ptr())
            found[name_of(parameter)] = tensor.detach().float().contiguous().cpu().numpy()
    return found


def _blocks(job: Job, layer: Layer, entry: Format, count: int) -> list[Any]:
    """The data of a layer's tensors, ``(..., bytes)``; `count` is 2 where gates and ups of experts lie apart."""
    from ..codes import blocks_of, codes_of

    if entry.name in HALVES:
        gguf = require("gguf", EXTRA)
        array = job.weight(layer.name).float().cpu().numpy()
        data = gguf.quantize(array, gguf.GGMLQuantizationType[entry.name])
    elif entry.family == GGML:
        data = blocks_of(job.encoded(layer), entry, layer).data.cpu().numpy()
    else:
        codes = codes_of(job.encoded(layer), entry, layer)
        data = to_blocks(codes.integers.cpu().numpy(), codes.scales.cpu().numpy(), codes.bits)
    if count == 1:
        return [data.reshape(*layer.shape[:-1], -1)]
    apart = data.reshape(layer.shape[0], count, layer.shape[1] // count, -1)
    return [apart[:, at].copy() for at in range(count)]
