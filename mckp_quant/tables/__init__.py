"""Sensitivity tables and cost tables: what they are, and how those of others are read, checked and written.

What is odd about a table is listed and handled as the user says, never mended in silence. Torch may not come in.
"""

from __future__ import annotations

from .cost_table import CostTable
from .findings import Finding, Handling, Place
from .handling import Imported
from .readers.activation_files import read_activations
from .readers.cost_files import read_costs
from .readers.objects import table_from_arrays, table_from_records, table_to_frame
from .readers.published import Published, read_traces
from .reading import read_table, write_table
from .repair import cap_losses
from .schemas import schema
from .table import SensitivityTable

__all__ = [
    "CostTable",
    "Finding",
    "Handling",
    "Imported",
    "Place",
    "Published",
    "SensitivityTable",
    "cap_losses",
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
