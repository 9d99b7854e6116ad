"""Reads policies from artefacts that exist already: which format each layer of a file has."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common.documents import PREFIX
from ..common.files import read_json, read_text, readable
from ..costs.costs import FILE_BYTES
from ..errors import InvalidInput
from ..formats.format import FLOAT
from ..policy.policy import KIND as POLICY_KIND
from ..policy.policy import Policy
from ..tables.sizes import read_sizes
from .configurations import CONFIGURATIONS, configuration_of
from .readers import from_compressed_tensors, from_gguf, from_onnx, from_torchao
from .records import REPORT
from .writers.to_json import DOCUMENT, KIND, formats_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..formats.format import Format

_WEIGHT = ".weight"
_PACKED = ("qweight", "scales", "weight_scale", "SCB", "absmax", "weight_packed")  # beside or in place of a weight


def read_policy(path: str | os.PathLike[str], *, layers: Iterable[str] = ()) -> Policy:
    """Read the formats of an artefact, whoever made it.

    Parameters
    ----------
    path
        An ONNX graph with QDQ or MatMulNBits, a GGUF file, a policy, a ``quantization.json``, or a configuration of
        GPTQModel, AutoRound, ModelOpt, MLX, llm-compressor, NNCF, AIMET, coremltools, bitsandbytes or llama.cpp's
        tensor types; or a folder with one of these, or with a checkpoint of torchao (``torchao_config.json`` or a
        Hugging Face ``config.json``, and ``model.safetensors``) or compressed-tensors.
    layers
        The names of the network's layers, which the rules of a configuration are held against; those of a folder with
        safetensors are found there.

    Returns
    -------
    policy
        A format for every weight of two or more dimensions, without predictions; its one cost, ``"file_bytes"``, is the
        size of the files that hold the network. Of a folder that `export` made, with what its weights were rounded by.

    Raises
    ------
    InvalidInput
        When there is nothing of these kinds, it is damaged, or a layer has a format that is not built in.
    PackageMissing
        When a package is missing that reads the artefact.
    """
    with readable(repr(os.fspath(path))):
        found = _read(Path(path), tuple(layers))
    size = _size(Path(path))
    return replace(found, costs={**found.costs, FILE_BYTES: size}) if size else found


def _size(place: Path) -> int:
    """Bytes of the files that hold the network; 0 where it is only described."""
    first = from_gguf.first_part(place)
    files = [place] if place.is_file() else [*place.glob("*.onnx"), *place.glob("*.gguf"), *place.glob("*.safetensors")]
    if first.suffix == ".gguf" and "-00001-of-" in first.name:
        files = list(first.parent.glob(first.name.replace("-00001-of-", "-*-of-")))
    return sum(file.stat().st_size for file in files if file.suffix in (".onnx", ".gguf", ".safetensors"))


def _read(place: Path, names: tuple[str, ...]) -> Policy:
    if not place.exists():
        raise InvalidInput(f"{str(place)!r} does not exist: name an artefact, a file or a folder")
    if place.is_dir():
        return replace(_policy(_in_folder(place, names), place), rounder=_rounder(place))
    if place.suffix == ".onnx":
        return _policy(_formats(from_onnx.stored_layers(from_onnx.load(place))), place)
    if place.suffix == ".gguf":
        tensors = from_gguf.stored_tensors(place, weights=False)
        return _policy({name.removesuffix(".weight"): each.format for name, each in tensors.items()}, place)
    if place.suffix == ".json":
        document = _json(place)
        schema = str(document.get("schema"))
        if schema.startswith(f"{PREFIX}/{POLICY_KIND}/"):
            return Policy.load(place)
        if schema.startswith(f"{PREFIX}/{KIND}/"):
            return _policy(formats_in(place), place)
        found = _configured(document, names)
        if found is not None:
            return _policy(found, place)
    if place.suffix == ".txt":
        lines = [line for line in read_text(place, "tensor types").split() if line]
        found = _configured(lines, names)
        if found is not None:
            return _policy(found, place)
    raise InvalidInput(
        f"{str(place)!r} is no artefact that can be read: expected .onnx, .gguf, a policy, a {DOCUMENT}, a "
        f"configuration of {', '.join(each.name for each in CONFIGURATIONS)}, or a folder of torchao or "
        "compressed-tensors"
    )


def _configured(document: Any, names: tuple[str, ...]) -> Mapping[str, Format] | None:
    """What another tool's configuration says, which a Hugging Face ``config.json`` may hold within; None for none."""
    held = document
    if isinstance(document, dict) and "quant_method" not in document:
        within = (document.get(key) for key in ("quantization_config", "quantization"))
        held = next((each for each in within if isinstance(each, dict)), document)
    found = configuration_of(held)
    return None if found is None else found.read(held, names)


def _in_folder(folder: Path, names: tuple[str, ...]) -> Mapping[str, Format]:
    models = dict.fromkeys(from_gguf.first_part(path) for path in sorted(folder.glob("*.gguf")))
    found = [*sorted(folder.glob("*.onnx")), *models]
    if len(found) == 1:
        read = _read(found[0], names)
        return dict(zip(read.layer_names, read.formats, strict=True))
    if (folder / DOCUMENT).exists():
        return formats_in(folder / DOCUMENT)
    if (folder / from_torchao.CONFIG).exists():
        return _torchao(folder, from_torchao.read_config(folder / from_torchao.CONFIG))
    if (folder / "config.json").exists():
        found_formats = _checkpoint(folder, _json(folder / "config.json"), names)
        if found_formats is not None:
            return found_formats
    for each in CONFIGURATIONS:
        if each.write is not None and (folder / each.file).exists():
            read = _read(folder / each.file, names)
            return dict(zip(read.layer_names, read.formats, strict=True))
    raise InvalidInput(
        f"the folder {str(folder)!r} holds no artefact that can be read: one .onnx, one .gguf, {DOCUMENT}, "
        f"{from_torchao.CONFIG}, or a config.json with a quantization_config of torchao or compressed-tensors"
    )


def _checkpoint(folder: Path, document: Mapping[str, Any], names: tuple[str, ...]) -> Mapping[str, Format] | None:
    with readable(f"the configuration {str(folder / 'config.json')!r}"):
        said = document.get("quantization_config") or {}
        method = said.get("quant_method")
        config = said["quant_type"]["default"] if method == "torchao" else said
    if method == "torchao":
        return _torchao(folder, config)
    if method == "compressed-tensors":
        state: dict[str, Any] = {}
        for file in sorted(folder.glob("*.safetensors")):
            state |= from_compressed_tensors.read_state(file)
        return _formats(from_compressed_tensors.stored_layers(state, config))
    packed, plain = _names_in(folder)
    detailed = folder / "hf_quant_config.json"  # of ModelOpt, which says more
    told = _json(detailed) if detailed.exists() else document
    found = _configured(told, names or (*packed, *plain))
    # A weight that lies there as it was is float, whatever the rules of the configuration would make of it.
    return None if found is None else {name: FLOAT if name in plain else entry for name, entry in found.items()}


def _names_in(folder: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The modules of a checkpoint whose weights are quantised, and those whose weights are not, by its headers."""
    shapes: dict[str, tuple[int, ...]] = {}
    for file in sorted(folder.glob("*.safetensors")):
        shapes |= {name: layer.shape for name, layer in read_sizes(file).models[""].items()}
    beside = (name.rpartition(".")[0] for name in shapes if name.rpartition(".")[2] in _PACKED)
    packed = dict.fromkeys(name.removesuffix(_WEIGHT) for name in beside)  # bitsandbytes has q.weight.absmax
    held = (name.removesuffix(_WEIGHT) for name, shape in shapes.items() if name.endswith(_WEIGHT) and len(shape) > 1)
    return tuple(packed), tuple(name for name in held if name not in packed)


def _rounder(folder: Path) -> str:
    """What the weights of an artefact of `export` were rounded by; empty where nothing says it."""
    report = _json(folder / REPORT) if (folder / REPORT).is_file() else {}
    return str(report.get("rounder", ""))


def _torchao(folder: Path, config: Mapping[str, Any]) -> Mapping[str, Format]:
    return _formats(from_torchao.stored_layers(from_torchao.read_state(folder / from_torchao.STATE), config))


def _formats(stored: Mapping[str, Any]) -> Mapping[str, Format]:
    return {name: each.format for name, each in stored.items()}


def _policy(formats: Mapping[str, Format], place: Path) -> Policy:
    if not formats:
        raise InvalidInput(f"{str(place)!r} holds no weight of two or more dimensions")
    return Policy(tuple(formats), tuple(formats.values()), status=f"read from {place.name}")


def _json(path: Path) -> dict[str, Any]:
    document = read_json(path, "document")
    if not isinstance(document, dict):
        raise InvalidInput(f"{str(path)!r} holds no JSON object")
    return document
