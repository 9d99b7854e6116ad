"""Tables that were measured elsewhere: read, checked with one list of what is odd, and written in open formats."""

from __future__ import annotations

from .findings import Finding, Handling, Place
from .handling import Imported
from .readers.activation_files import read_activations
from .readers.cost_files import read_costs
from .readers.objects import table_from_arrays, table_from_records, table_to_frame
from .readers.published import Published, read_traces
from .reading import read_table, write_table
from .schemas import schema

__all__ = [
    "Finding",
    "Handling",
    "Imported",
    "Place",
    "Published",
    "read_activations",
    "read_costs",
    "read_table",
    "read_traces",
    "schema",
    "table_from_arrays",
    "table_from_records",
    "table_to_frame",
    "write_table",
]
