"""A file that a reader takes, which is what a hunt begins from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


@dataclass(frozen=True)
class Kind:
    """A valid file, and the reader that takes it.

    Attributes
    ----------
    name
        Where it lies within a folder, such as ``"bank/bank.json"``.
    content
        What it holds.
    read
        The reader, of the path of the file.
    """

    name: str
    content: bytes
    read: Callable[[Path], object]


def written(folder: Path, readers: Mapping[str, Callable[[Path], object]]) -> list[Kind]:
    """The files of a folder that these readers take, by their names within it."""
    return [Kind(name, (folder / name).read_bytes(), read) for name, read in readers.items()]
