"""The one place that says whether the compiled kernels run, or NumPy."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

PURE = "MCKP_QUANT_PURE"  # the environment variable that forces NumPy


def _loaded() -> ModuleType | None:
    if os.environ.get(PURE, "0") not in ("", "0"):
        return None
    try:
        from . import _compiled
    except ImportError:  # there was no compiler, or it made nothing that this Python can load
        return None
    return _compiled


_COMPILED = _loaded()


def compiled() -> ModuleType | None:
    """The module of compiled kernels, or None where NumPy does the work: it is missing, or `PURE` is set."""
    return _COMPILED


def is_compiled() -> bool:
    """Whether compiled kernels do the inner loops of `Exact` and of certificates here, or NumPy, with the same results.

    NumPy does where the package was installed without a compiler, and where the environment variable
    ``MCKP_QUANT_PURE`` is 1.
    """
    return compiled() is not None


def plain(array: NDArray[np.signedinteger]) -> NDArray[np.int64]:
    """The array as kernels take them, C-contiguous and of int64; itself where it is."""
    return np.ascontiguousarray(array, dtype=np.int64)
