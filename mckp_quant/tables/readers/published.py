"""Tables in the shape in which papers publish them: Hessian traces beside squared weight errors."""

from __future__ import annotations

import dataclasses
import os
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from ...common.files import read_json, readable
from ...errors import InvalidInput
from ...formats.format import Format, RecordedBits
from ...layers import Layer
from ..cost_table import CostTable
from ..findings import Place
from ..table import SensitivityTable

if TYPE_CHECKING:
    from collections.abc import Mapping

_SQUARES = re.compile(r"delta_weights_(\d+)bit_square")
_FINEST = 18  # decimals that a latency may have
_WIDEST = 300  # powers of ten, either way


@dataclasses.dataclass(frozen=True, eq=False)
class Published:
    """A published table and what came with it.

    Attributes
    ----------
    table
        The table.
    costs
        Measured costs by name, such as ``"latency"``.
    tied
        The sets of layers that must share one format.
    """

    table: SensitivityTable
    costs: Mapping[str, CostTable]
    tied: tuple[tuple[str, ...], ...]


def read_traces(path: str | os.PathLike[str]) -> Published:
    """Read traces and squared errors as HAWQ-V3 published them.

    The loss of a layer in ``b`` bits is ``Hutchinson_trace * delta_weights_{b}bit_square``, the trace being the mean
    eigenvalue (Yao et al. 2021, *HAWQ-V3: Dyadic neural network quantization*). Weights and activations have the same
    bits, and weights are stored without scales, as the paper counts them.

    Parameters
    ----------
    path
        JSON with ``layers`` (names), ``ties`` (lists of names, optional) and, either at the top or under ``raw``, one
        list each with an entry per layer: ``Hutchinson_trace``, ``delta_weights_{b}bit_square``, ``parameters``,
        ``bops`` (multiply-accumulates) and, optionally, ``latency_int{b}``.

    Returns
    -------
    published
        The table with the formats ``int{b}``; latencies as whole multiples of the last decimal that any of them has.

    Raises
    ------
    InvalidInput
        When the file cannot be read; with file, row (the layer, counted from 0) and column.
    """
    source = os.fspath(path)
    document = read_json(path, "table", Decimal)
    with readable(source):
        return _published(source, document)


def _published(source: str, document: object) -> Published:
    if not isinstance(document, dict) or not isinstance(document.get("layers"), list):
        raise InvalidInput(f"{source} lacks the list 'layers': this is no table of traces")
    names = [str(name) for name in document["layers"]]
    raw = document.get("raw", document)
    if not isinstance(raw, dict):
        raise InvalidInput(f"{source} has raw = {raw!r}: it must hold lists by name")
    bits = sorted(int(match[1]) for key in raw if (match := _SQUARES.fullmatch(str(key))) is not None)
    if not bits:
        raise InvalidInput(f"{source} lacks a list 'delta_weights_4bit_square', or one for other bits")
    trace = _column(source, raw, "Hutchinson_trace", len(names))
    counts = _whole(source, raw, "parameters", len(names), least=1)
    macs: list[int] | list[None] = (
        _whole(source, raw, "bops", len(names), least=0) if "bops" in raw else [None] * len(names)
    )
    squares = [_column(source, raw, f"delta_weights_{each}bit_square", len(names)) for each in bits]
    layers = tuple(Layer(name, "", (count,), None, each) for name, count, each in zip(names, counts, macs, strict=True))
    formats = tuple(
        Format(
            f"int{each}",
            each,
            each,
            stored_bits=RecordedBits(tuple((n, c * each) for n, c in zip(names, counts, strict=True))),
        )
        for each in bits
    )
    loss = np.array([[float(t * column[row]) for column in squares] for row, t in enumerate(trace)])
    table = SensitivityTable(
        layers, formats, loss, np.full(loss.shape, np.nan), unit="loss per sample", method="trace times squared error"
    )
    return Published(table, _latency(source, raw, names, bits), _ties(source, document, names))


def _column(source: str, raw: Mapping[str, Any], name: str, count: int) -> list[Decimal]:
    entries = raw.get(name)
    if not isinstance(entries, list) or len(entries) != count:
        found = "nothing" if entries is None else f"{len(entries)} entries" if isinstance(entries, list) else entries
        raise InvalidInput(f"{source}, row 0, column {name!r}: {found}, but there are {count} layers")
    for row, entry in enumerate(entries):
        if isinstance(entry, bool) or not isinstance(entry, (int, Decimal)) or not Decimal(entry).is_finite():
            raise InvalidInput(f"{Place(source, row, name)}: {entry!r} is no number")
        if entry and abs(Decimal(entry).adjusted()) > _WIDEST:
            raise InvalidInput(f"{Place(source, row, name)}: {entry} is beyond what a number in 64 bits can say")
    return [Decimal(entry) for entry in entries]


def _whole(source: str, raw: Mapping[str, Any], name: str, count: int, *, least: int) -> list[int]:
    entries = _column(source, raw, name, count)
    for row, entry in enumerate(entries):
        if entry != int(entry) or not least <= entry < 2**63:
            raise InvalidInput(f"{Place(source, row, name)}: {entry} is no whole number that is at least {least}")
    return [int(entry) for entry in entries]


def _latency(source: str, raw: Mapping[str, Any], names: list[str], bits: list[int]) -> dict[str, CostTable]:
    if not all(f"latency_int{each}" in raw for each in bits):
        return {}
    columns = [_column(source, raw, f"latency_int{each}", len(names)) for each in bits]
    decimals = max(max(-int(entry.as_tuple().exponent), 0) for column in columns for entry in column)
    if decimals > _FINEST:
        raise InvalidInput(f"{source}, row 0, column 'latency_int{bits[0]}': more than {_FINEST} decimals: round them")
    cost = [[int(column[row].scaleb(decimals)) for column in columns] for row in range(len(names))]
    unit = f"1e-{decimals} of the file's unit"
    formats = tuple(f"int{each}" for each in bits)
    return {"latency": CostTable("latency", unit, tuple(names), formats, np.array(cost))}


def _ties(source: str, document: Mapping[str, Any], names: list[str]) -> tuple[tuple[str, ...], ...]:
    found = []
    known, ties = set(names), document.get("ties", ())
    if not isinstance(ties, (list, tuple)):
        raise InvalidInput(f"{source} has ties = {ties!r}: it must be a list of lists of layers")
    for row, tie in enumerate(ties):
        if not isinstance(tie, list) or not all(isinstance(name, str) and name in known for name in tie):
            raise InvalidInput(f"{Place(source, row, 'ties')}: {tie!r} must name layers of the table")
        found.append(tuple(tie))
    return tuple(found)
