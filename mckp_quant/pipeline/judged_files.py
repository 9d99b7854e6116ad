"""Keeps validations in files, with the figures of every sample, so that they need not be measured again."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from ..common.documents import field
from ..common.files import readable
from ..common.npz import read_arrays, write_arrays
from ..evaluation.figures import Evaluation
from ..evaluation.validation import Row, Validation
from ..policy.document import policy_arguments
from ..policy.policy import Policy

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

KIND, VERSION = "judged", 1
_ARRAYS = ("totals", "counts")
_INNER = ("policy", "measured")
_OUTER = ("rows", "carriers")


def save_validation(validation: Validation, path: str | os.PathLike[str]) -> None:
    """Write a validation; what was measured of layers by themselves is left out."""
    rows, arrays = [], {}
    for at, row in enumerate(validation.rows):
        measured = row.measured
        arrays.update({f"{name}_{at}": getattr(measured, name) for name in _ARRAYS})
        rows.append(
            {
                **_fields(row, _INNER),
                "policy": None if row.policy is None else row.policy.document(),
                "measured": _fields(measured, _ARRAYS),
            }
        )
    write_arrays(path, KIND, VERSION, {**_fields(validation, _OUTER), "rows": rows}, arrays)


def load_validation(path: str | os.PathLike[str]) -> Validation:
    """Read what `save_validation` wrote; raises InvalidInput where that cannot be done."""
    document, arrays = read_arrays(path, KIND, VERSION)
    source = f"the validation {str(path)!r}"
    with readable(source):
        rows = [_row(entry, at, arrays, source) for at, entry in enumerate(field(document, "rows", source))]
        return Validation(rows=tuple(rows), **_arguments(Validation, document, _OUTER))


def _row(entry: dict[str, Any], at: int, arrays: dict[str, NDArray[Any]], source: str) -> Row:
    policy = None if entry["policy"] is None else Policy(**policy_arguments(entry["policy"], source))
    totals, counts = (arrays[f"{name}_{at}"] for name in _ARRAYS)
    measured = Evaluation(totals=totals, counts=counts, **_arguments(Evaluation, entry["measured"], _ARRAYS))
    return Row(policy=policy, measured=measured, **_arguments(Row, entry, _INNER))


def _fields(each: Any, without: tuple[str, ...]) -> dict[str, Any]:
    return {known.name: getattr(each, known.name) for known in dataclasses.fields(each) if known.name not in without}


def _arguments(cls: type[Any], document: dict[str, Any], without: tuple[str, ...]) -> dict[str, Any]:
    """The arguments of a dataclass from JSON, which has no nan."""
    return {
        known.name: math.nan if document[known.name] is None and known.type == "float" else document[known.name]
        for known in dataclasses.fields(cls)
        if known.name not in without and known.name in document
    }
