"""A recipe: all that a run from a network to a checked result is asked, in one file that a person can write."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...common.documents import PREFIX, check_schema
from ...common.files import read_toml, readable, write_text
from ...errors import InvalidInput
from ...formats.format import as_formats
from ..settings import Settings
from .document import HELD_OUT, read_sections, rooted_data, rooted_spec
from .text import recipe_text

if TYPE_CHECKING:
    from ...allocation.request import Request

KIND, VERSION = "recipe", 1
FILE = "recipe.toml"  # in the folder of a run
_ONNX = "onnx:"


@dataclass(frozen=True)
class DataEntry:
    """Where the batches of one data set come from.

    Attributes
    ----------
    batches
        ``package.module:function``, ``path/to/file.py:function`` or an ``.npz``; None where there is a text.
    text
        A text file, for a language model.
    batch_size, context
        Samples in a batch of a file, and tokens in a window of a text; None for the usual.
    weight
        How much its losses count.
    """

    batches: str | None = None
    text: str | None = None
    batch_size: int | None = None
    context: int | None = None
    weight: float = 1.0


@dataclass(frozen=True)
class Recipe:
    """All that a run is asked.

    Attributes
    ----------
    model
        ``package.module:function``, ``path/to/file.py:function`` or ``hf:FOLDER``.
    data
        The calibration data, by name.
    request
        Budgets and whatever else is asked of the policy.
    held_out
        The share of every data set that only judges, or data of its own.
    settings
        How the steps go.
    device, dtype
        Where and in what the network runs; None for as it was made.
    likelihood, class_dim
        What its outputs are, see `Outputs`.
    heads
        Several heads in place of these two, each ``name=likelihood``, with ``,weight=0.5`` or ``,class_dim=1`` behind.
    outputs
        In place of all these: ``path/to/file.py:function``, which returns an `Outputs`.
    seed, max_batches, memory_limit
        As in `RunOptions`.

    Raises
    ------
    InvalidInput
        When there are no data; when the network is an ONNX file.
    """

    model: str
    data: Mapping[str, DataEntry]
    request: Request
    held_out: float | DataEntry = HELD_OUT
    settings: Settings = field(default_factory=Settings)
    device: str | None = None
    dtype: str | None = None
    likelihood: str = "categorical"
    class_dim: int | None = None
    heads: tuple[str, ...] = ()
    outputs: str | None = None
    seed: int = 0
    max_batches: int | None = None
    memory_limit: int | str | None = None

    def __post_init__(self) -> None:
        """Copy, and refuse a recipe without data, and a network whose insides no step can see."""
        if self.model.startswith(_ONNX):
            raise InvalidInput(
                f"model {self.model!r} is computed by ONNX Runtime, and a recipe's steps look into layers and "
                f"differentiate: go step by step, with mckp-quant measure {self.model} --data ... -o table.json, "
                "mckp-quant solve table.json --budget ... --target onnxruntime -o policy.json, and "
                f"mckp-quant export policy.json --to onnxruntime --model {self.model} -o FOLDER"
            )
        object.__setattr__(self, "data", dict(self.data))
        object.__setattr__(self, "heads", tuple(self.heads))
        if not self.data:
            raise InvalidInput("the recipe names no data: write a section such as [data.calibration], with batches")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Recipe:
        """Read a recipe that a person or `save` wrote.

        Parameters
        ----------
        path
            The TOML file. Files that it names are sought from its folder on.

        Returns
        -------
        recipe
            The recipe, with these files as they are named from where the program runs.

        Raises
        ------
        InvalidInput
            When the file cannot be read; when a key is unknown, with the nearest one, or missing; when a value cannot
            be used, with the key and what is allowed.
        """
        source = f"the recipe {os.fspath(path)!r}"
        document = read_toml(path, "recipe")
        if "schema" in document:
            document = check_schema(document, os.fspath(path), KIND, VERSION)
        with readable(source):
            return cls.from_document(document, source=source, folder=Path(path).parent)

    @classmethod
    def from_document(
        cls, document: Mapping[str, Any], *, source: str = "the recipe", folder: str | os.PathLike[str] = "."
    ) -> Recipe:
        """Read a recipe from plain types.

        Parameters
        ----------
        document
            What `document` gave, or what a TOML file holds.
        source
            What it is from, for errors.
        folder
            From which the files that it names are sought.

        Returns
        -------
        recipe
            The recipe.

        Raises
        ------
        InvalidInput
            As `load` does.
        """
        entries = {name: each for name, each in document.items() if name != "schema"}
        said = read_sections(entries, source, Path(folder))
        data = {name: DataEntry(**entry) for name, entry in said.pop("data").items()}
        held_out = said.pop("held_out")
        judging = DataEntry(**held_out) if isinstance(held_out, Mapping) else held_out
        return cls(data=data, held_out=judging, settings=Settings(**said.pop("settings")), **said)

    def rooted(self, folder: str | os.PathLike[str]) -> Recipe:
        """The same recipe with its files as they are named from a folder; what was absolute stays so."""
        held_out = self.held_out
        if isinstance(held_out, DataEntry):
            held_out = DataEntry(**rooted_data(dataclasses.asdict(held_out), folder))
        data = {name: DataEntry(**rooted_data(dataclasses.asdict(each), folder)) for name, each in self.data.items()}
        return dataclasses.replace(
            self,
            model=rooted_spec(self.model, folder),
            outputs=None if self.outputs is None else rooted_spec(self.outputs, folder),
            data=data,
            held_out=held_out,
        )

    def document(self) -> dict[str, Any]:
        """The recipe in plain types, by section and key, as its file has it; what is left out is not there."""
        settings = self.settings
        formats = settings.formats
        listed = formats if isinstance(formats, str) else ",".join(entry.name for entry in as_formats(formats))
        data = {name: dataclasses.asdict(each) for name, each in self.data.items()}
        share = isinstance(self.held_out, (int, float))
        sections: dict[str, Any] = {
            "schema": f"{PREFIX}/{KIND}/{VERSION}",
            "seed": self.seed,
            "max_batches": self.max_batches,
            "memory_limit": self.memory_limit,
            "network": {"model": self.model, "device": self.device, "dtype": self.dtype},
            "data": data,
            "held_out": {"share": self.held_out} if share else _without_weight(self.held_out),
            "outputs": {
                "likelihood": self.likelihood,
                "class_dim": self.class_dim,
                "heads": list(self.heads),
                "function": self.outputs,
            },
            "request": self.request.document(),
            "round": {
                "formats": listed,
                "rounder": settings.rounder,
                "activation_range": settings.activation_range,
            },
            "measure": {"method": settings.method, "precision": settings.precision},
            "allocate": {"solver": settings.solver, "seconds": settings.seconds},
            "confirm": {"evaluations": settings.confirm_evaluations},
            "refine": {"evaluations": settings.evaluations, "held_back": settings.refine_held_back},
            "finish": {"held_back": settings.finish_held_back, "steps": settings.finish_steps},
            "export": {"to": list(settings.exports)},
        }
        found: dict[str, Any] = _given(sections)
        return found

    def text(self) -> str:
        """The recipe as TOML, with a comment for every key, those that are left out too."""
        return recipe_text(self.document())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the recipe, whole or not at all, with its files as they are named from the folder of `path`.

        A request with costs that were not measured everywhere, which TOML cannot say, goes into a file beside it.
        """
        file = Path(path)
        document = self.rooted(file.parent).document()
        if _has_none(document["request"]):
            beside = file.with_name(f"{file.stem}-request.json")
            self.request.save(beside)
            document["request"] = {"file": beside.name}
        write_text(file, recipe_text(document))


def _without_weight(entry: object) -> dict[str, Any]:
    assert isinstance(entry, DataEntry)
    found = dataclasses.asdict(entry)
    del found["weight"]
    return found


def _given(entries: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that say something; those of a request stay as they are, for there None is a cost."""
    return {
        name: _given(each) if isinstance(each, Mapping) and name != "request" else each
        for name, each in entries.items()
        if each is not None
    }


def _has_none(entry: Any) -> bool:
    if isinstance(entry, Mapping):
        return any(map(_has_none, entry.values()))
    return entry is None or (isinstance(entry, list) and any(map(_has_none, entry)))
