"""Reads the sections of a recipe: refuses unknown keys and wrong values, and finds the files that it names."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...allocation.request import Request
from ...errors import InvalidInput, unknown
from .keys import KEYS, REQUEST, SECTIONS, TOP, keys_of

HELD_OUT = 0.25
_DATA = "data"
_HF = "hf:"
# From the sections and keys of a recipe to the fields of `Settings`.
_SETTINGS = {
    ("round", "formats"): "formats",
    ("round", "rounder"): "rounder",
    ("round", "activation_range"): "activation_range",
    ("measure", "method"): "method",
    ("measure", "precision"): "precision",
    ("allocate", "solver"): "solver",
    ("allocate", "seconds"): "seconds",
    ("confirm", "evaluations"): "confirm_evaluations",
    ("refine", "evaluations"): "evaluations",
    ("refine", "held_back"): "refine_held_back",
    ("finish", "held_back"): "finish_held_back",
    ("finish", "steps"): "finish_steps",
    ("export", "to"): "exports",
}


def read_sections(document: Mapping[str, Any], source: str, folder: Path) -> dict[str, Any]:
    """Read the content of a recipe.

    Parameters
    ----------
    document
        What the TOML file holds, without its schema.
    source
        Which file it is, for errors.
    folder
        The file's folder, from which the files that it names are sought.

    Returns
    -------
    arguments
        Those of `Recipe` by name, with data sets and settings as mappings.

    Raises
    ------
    InvalidInput
        When a section or a key is unknown or missing, or a value cannot be used.
    """
    top = keys_of(TOP)
    sections = [each for each in SECTIONS if each not in (TOP, f"{_DATA}.NAME")] + [_DATA, REQUEST]
    for name in document:
        if name not in top and name not in sections:
            raise _unknown_key(name, [*top, *sections], source)
    said = {name: _section(document, name, source) for name in sections if name not in (_DATA, REQUEST)}
    values = _checked({name: each for name, each in document.items() if name in top}, TOP, TOP, source)
    data = {
        name: _data(entry, f"{_DATA}.{name}", source, folder)
        for name, entry in _table(document.get(_DATA, {}), _DATA, source).items()
    }
    network, outputs = said["network"], said["outputs"]
    if "function" in outputs:
        outputs["outputs"] = rooted_spec(outputs.pop("function"), folder, inward=True)
    settings = {
        field: said[section][key] for (section, key), field in _SETTINGS.items() if key in said.get(section, {})
    }
    if "exports" in settings:
        settings["exports"] = tuple(settings["exports"])
    return {
        "model": rooted_spec(network.pop("model"), folder, inward=True),
        **network,
        **outputs,
        "data": data,
        "held_out": _held_out(said["held_out"], source, folder),
        "request": _request(document, source, folder),
        "settings": settings,
        **values,
    }


def rooted_spec(spec: str, folder: str | os.PathLike[str], *, inward: bool = False) -> str:
    """A network or data set with its file as it is named from elsewhere.

    Parameters
    ----------
    spec
        ``package.module:function``, which names no file, ``file.py:function``, ``file.npz``, or ``hf:FOLDER``.
    folder
        A folder.
    inward
        Whether the file is named from that folder, and is to be named from here; else the other way round.

    Returns
    -------
    spec
        The same; what is absolute stays as it is.
    """
    if spec.startswith(_HF):
        return f"{_HF}{_rooted(spec.removeprefix(_HF), folder, inward)}"
    where, colon, name = spec.rpartition(":")
    if colon and where.endswith(".py"):
        return f"{_rooted(where, folder, inward)}:{name}"
    return _rooted(spec, folder, inward) if spec.endswith(".npz") else spec


def rooted_data(entry: Mapping[str, Any], folder: str | os.PathLike[str], *, inward: bool = False) -> dict[str, Any]:
    """A data set with its files as they are named from elsewhere, see `rooted_spec`."""
    found = dict(entry)
    if found.get("batches") is not None:
        found["batches"] = rooted_spec(found["batches"], folder, inward=inward)
    if found.get("text") is not None:
        found["text"] = _rooted(found["text"], folder, inward)
    return found


def _unknown_key(name: str, known: list[str], source: str) -> InvalidInput:
    """The error for a key that does not stand before the sections; one that is a section's own is told so."""
    inside = {key.name: key.section for key in KEYS if key.section}
    near = difflib.get_close_matches(name, inside, n=1, cutoff=0.75)
    if not near or difflib.get_close_matches(name, known, n=1, cutoff=0.75):
        return unknown(f"key of {source}", name, known)
    section = inside[near[0]]
    return InvalidInput(f"unknown key of {source} {name!r}: write {near[0]!r} below [{section}], where it belongs")


def _rooted(path: str, folder: str | os.PathLike[str], inward: bool) -> str:
    if os.path.isabs(path):
        return path
    return os.path.relpath(Path(folder) / path) if inward else os.path.relpath(path, folder)


def _section(document: Mapping[str, Any], name: str, source: str) -> dict[str, Any]:
    return _checked(_table(document.get(name, {}), name, source), name, name, source)


def _checked(entries: Mapping[str, Any], section: str, shown: str, source: str) -> dict[str, Any]:
    """The entries of a section, each of a known key and with a value that can be used."""
    known = keys_of(section)
    for name, value in entries.items():
        if name not in known:
            raise unknown(f"key in [{shown}] of {source}", name, known)
        known[name].check(f"{source}: {shown}.{name}" if shown else f"{source}: {name}", value)
    for name, key in known.items():
        if key.needed and name not in entries:
            raise InvalidInput(f"{source} lacks {shown}.{name}: write it, {key.says[0].lower()}{key.says[1:]}")
    return dict(entries)


def _data(entry: Any, shown: str, source: str, folder: Path) -> dict[str, Any]:
    checked = _checked(_table(entry, shown, source), "data.NAME", shown, source)
    return rooted_data(_one_source(checked, shown, source), folder, inward=True)


def _one_source(entry: dict[str, Any], shown: str, source: str) -> dict[str, Any]:
    if ("batches" in entry) == ("text" in entry):
        count = "both batches and text" if "batches" in entry else "neither batches nor text"
        raise InvalidInput(f"{source}: [{shown}] has {count}: give one of them")
    return entry


def _held_out(entry: dict[str, Any], source: str, folder: Path) -> float | dict[str, Any]:
    if not set(entry) - {"share"}:
        share: float = entry.get("share", HELD_OUT)
        return share
    if "share" in entry:
        raise InvalidInput(f"{source}: [held_out] has a share and data of its own: give one of them")
    return rooted_data(_one_source(entry, "held_out", source), folder, inward=True)


def _request(document: Mapping[str, Any], source: str, folder: Path) -> Request:
    if REQUEST not in document:
        raise InvalidInput(f"{source} lacks [request]: write what is asked, as budgets = {{weight_bytes = '90kB'}}")
    entry = _table(document[REQUEST], REQUEST, source)
    if "file" not in entry:
        return Request.from_document(entry, source=f"{source}, [request],", folder=folder)
    if len(entry) > 1:
        other = next(name for name in entry if name != "file")
        raise InvalidInput(f"{source}: [request] has a file and {other!r}: a file says all of the request, give one")
    file = entry["file"]
    if not isinstance(file, str) or Path(file).suffix not in (".toml", ".json"):
        raise InvalidInput(f"{source}: request.file is {file!r}: it must name a .toml or a .json")
    return (Request.load if file.endswith(".json") else Request.from_toml)(folder / file)


def _table(entry: Any, name: str, source: str) -> Mapping[str, Any]:
    if not isinstance(entry, Mapping):
        raise InvalidInput(f"{source} has {name} = {entry!r}: it must be a section, [{name}]")
    return entry
