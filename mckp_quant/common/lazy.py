"""Public names that are loaded when they are first asked for, so that importing a package stays cheap."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def lazy_names(package: str, homes: Mapping[str, str], renamed: Mapping[str, str]) -> Callable[[str], Any]:
    """Make the ``__getattr__`` of a package.

    Parameters
    ----------
    package
        The package's ``__name__``.
    homes
        From public names to the modules that define them, relative to the package, such as ``".policy.policy"``; a name
        that is a package itself stands for its own module.
    renamed
        From names that went away to what to write instead.

    Returns
    -------
    load
        Gives the object of a name. It raises AttributeError for a name that does not exist, and says the new name of
        one that went away.
    """

    def load(name: str) -> Any:
        if name in renamed:
            raise AttributeError(f"{package}.{name} is now {renamed[name]}")
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = importlib.import_module(homes[name], package)
        return module if homes[name] == f".{name}" else getattr(module, name)

    return load
