"""Optional packages, imported where they are needed; the error says what to type and what works without them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..solvers.errors import WITHOUT, PackageMissing, import_package, missing

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["PackageMissing", "missing", "require"]


def require(package: str, extra: str | None, without: str = WITHOUT) -> ModuleType:
    """Import an optional package, or say how to get it.

    Parameters
    ----------
    package
        The module to import, such as ``"onnx"``.
    extra
        The extra of ``mckp-quant`` that brings it; None where it is one of the required dependencies.
    without
        What the reader can do without the package.

    Returns
    -------
    module
        The imported module.

    Raises
    ------
    PackageMissing
        When the package cannot be imported.
    """
    return import_package(package, extra, without, PackageMissing)
