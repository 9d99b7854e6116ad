"""Transformations of the float network that make it easier to round, and leave what it computes as it was.

Each gives a new float network, whose weights have digests of their own: banks and tables are made from it, and belong
to it alone.
"""

from __future__ import annotations

from .folding import fold_batch_norms
from .input_scales import scale_inputs

__all__ = ["fold_batch_norms", "scale_inputs"]
