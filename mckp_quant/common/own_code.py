"""Finds what a user's own code defines, named as ``package.module:name`` or ``path/to/file.py:name``."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import sys
import traceback
from contextlib import contextmanager
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInput, unknown
from .packages import PackageMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LISTED = 3  # names that an error lists
_WEIGHTS = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")
_HOUSE = Path(__file__).parents[1]


def named(kind: str, spec: str, what: str = "function") -> Callable[..., Any]:
    """Find a function or class.

    Parameters
    ----------
    kind
        What it is for, such as ``"model"``, for errors.
    spec
        ``package.module:name``, where the folder in which the process runs is looked at first, or
        ``path/to/file.py:name``.
    what
        What it should be, for errors.

    Returns
    -------
    found
        What can be called.

    Raises
    ------
    InvalidInput
        When there is no such module, file or name, when the module fails, or when it is nothing that can be called.
    """
    where, colon, name = spec.rpartition(":")
    if not colon or not where or not name:
        raise InvalidInput(f"{kind} {spec!r} {_without_name(spec, what)}")
    with blaming(kind, spec):
        module = _from_file(kind, Path(where), what) if where.endswith(".py") else _from_name(kind, where, what)
    found: Callable[..., Any] | None = getattr(module, name, None)
    if found is None:
        raise unknown(f"{what} in {where!r}", name, _callables(module))
    if not callable(found):
        raise InvalidInput(f"{kind} {spec!r} is a {type(found).__name__}, not a {what}: {_forms(what)}")
    return found


def check_named(kind: str, spec: str, what: str = "function") -> None:
    """Refuse what `named` would not find, as far as that can be said without running the user's code.

    Parameters
    ----------
    kind, spec, what
        As for `named`.

    Raises
    ------
    InvalidInput
        When there is no such module or file, or the file binds no such name at its top.
    """
    where, colon, name = spec.rpartition(":")
    if not colon or not where or not name:
        raise InvalidInput(f"{kind} {spec!r} {_without_name(spec, what)}")
    path = Path(where) if where.endswith(".py") else _file_of(kind, where, what)
    if path is None:
        return
    if not path.is_file():
        raise InvalidInput(f"{kind} file {str(path)!r} does not exist: {_forms(what)}")
    bound = _bound_in(path)
    if bound and name not in bound and not {"*", "__getattr__"} & bound:
        raise unknown(f"{what} in {where!r}", name, _defined_in(path))


def _file_of(kind: str, name: str, what: str) -> Path | None:
    """The source of a module; None where it has none, as compiled ones."""
    with _importable(Path.cwd()):
        try:
            found = importlib.util.find_spec(name)
        except (ModuleNotFoundError, ValueError):
            found = None
    if found is None:
        raise InvalidInput(f"{kind} module {name!r} cannot be found: {_forms(what)}")
    return Path(found.origin) if found.origin is not None and found.origin.endswith(".py") else None


def _bound_in(path: Path) -> set[str]:
    """Every name that a file may bind, wherever it does, and ``*`` where it imports names that nobody can list."""
    found: set[str] = set()
    for statement in _statements(path):
        for each in ast.walk(statement):
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add(each.name)
            elif isinstance(each, ast.alias):
                found.add(each.asname or each.name.partition(".")[0])
            elif isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
                found.add(each.id)
    return found


@contextmanager
def blaming(kind: str, spec: str) -> Iterator[None]:
    """Whatever the user's own code raises is about that code: say what and where, in a sentence."""
    try:
        yield
    except (InvalidInput, PackageMissing, KeyboardInterrupt):
        raise
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if not _foreign(frame.filename)]
        where = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
        raise InvalidInput(f"{kind} {spec!r} failed: {type(error).__name__}: {error}{where}") from error


def _forms(what: str) -> str:
    return f"write package.module:{what} or path/to/file.py:{what}"


def _without_name(spec: str, what: str) -> str:
    """Why a name that has no colon is none, and what to write in its place."""
    path = Path(spec)
    if path.suffix in _WEIGHTS:
        return (
            f"is a file of weights: write a {what} in a file of your own that makes the network, loads them with "
            f"load_state_dict and returns it, and name that, as in net.py:{what}"
        )
    if path.is_dir():
        return f"is a folder: write a {what} that reads it, and name that, as in net.py:{what}"
    if path.suffix == ".py" and path.is_file():
        found = [f"{spec}:{name}" for name in _defined_in(path)]
        return f"names no {what}: write {' or '.join(found[:_LISTED]) or f'{spec}:{what}'}"
    return f"names no {what}: {_forms(what)}"


def _defined_in(path: Path) -> list[str]:
    """The functions and classes of a file, without running it."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    return [each.name for each in _statements(path) if isinstance(each, kinds) and not each.name.startswith("_")]


def _statements(path: Path) -> list[ast.stmt]:
    try:
        return ast.parse(path.read_text(encoding="utf-8")).body
    except (OSError, ValueError, SyntaxError):
        return []


def _foreign(filename: str) -> bool:
    path = Path(filename)
    return filename.startswith("<") or "site-packages" in path.parts or path.is_relative_to(_HOUSE)


def _callables(module: ModuleType) -> list[str]:
    """What in a module may be called, its imports from elsewhere left out."""
    home = module.__name__.partition(".")[0]
    return [
        name
        for name, each in vars(module).items()
        if not name.startswith("_")
        and callable(each)
        and str(getattr(each, "__module__", "")).partition(".")[0] == home
    ]


def _from_file(kind: str, path: Path, what: str) -> ModuleType:
    if not path.is_file():
        raise InvalidInput(f"{kind} file {str(path)!r} does not exist: {_forms(what)}")
    # A name of its own, so that the user's file can neither hide another module nor be taken for one.
    name = f"_mckp_quant_user_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    loader = SourceFileLoader(name, str(path))
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module
    try:
        with _importable(path.resolve().parent):
            loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _from_name(kind: str, name: str, what: str) -> ModuleType:
    with _importable(Path.cwd()):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
                raise
            raise InvalidInput(f"{kind} module {name!r} cannot be found ({error}): {_forms(what)}") from error


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
