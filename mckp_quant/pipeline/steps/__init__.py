"""The steps of a run, one a file: each says what it depends on, makes its result, and reads it back.

A new step is a file here and a line in `STEPS`, at the place where it runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .allocating import Allocate
from .confirming import Confirm
from .exporting import Export
from .finishing import Finish
from .judging import Validate
from .measuring import Measure
from .refining import Refine
from .reporting import Report
from .rounding import Round

if TYPE_CHECKING:
    from ..work import Step

STEPS: tuple[Step, ...] = (
    *(Round(), Measure(), Allocate(), Confirm(), Refine(), Finish(), Validate(), Export(), Report()),
)
