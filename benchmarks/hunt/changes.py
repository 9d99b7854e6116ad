"""Small changes of source code, each of which some test should notice."""

from __future__ import annotations

import ast
import copy
import random
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

_COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Add,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
_CALLED = {"min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum", "any": "all", "all": "any"}


class Change(NamedTuple):
    """One change of a file; lines are from 1, columns in bytes."""

    file: str
    line: int
    column: int
    kind: str
    before: str
    after: str

    def carried_out(self, source: bytes) -> bytes:
        """The source with the change; raises ValueError where the source is another one."""
        lines = source.splitlines(keepends=True)
        at = sum(map(len, lines[: self.line - 1])) + self.column
        old = self.before.encode()
        if source[at : at + len(old)] != old:
            raise ValueError(f"{self.file}, line {self.line}: {self.before!r} does not stand there any more")
        return source[:at] + self.after.encode() + source[at + len(old) :]


def changes_of(root: Path, file: Path) -> list[Change]:
    """Every change of a file.

    Parameters
    ----------
    root
        The folder that the names of files begin from.
    file
        A file below it.

    Returns
    -------
    changes
        In the order of the file: comparisons, arithmetic, conditions, numbers, truth values, extremes and jumps. Types,
        texts and the words of errors are left alone.
    """
    source = file.read_bytes()
    lines = source.splitlines(keepends=True)
    found = []
    for node, kind, make in _places(ast.parse(source)):
        changed = copy.deepcopy(node)
        make(changed)
        after = ast.unparse(changed) if isinstance(node, ast.stmt) else f"({ast.unparse(changed)})"
        before = _text(lines, node)
        found.append(Change(file.relative_to(root).as_posix(), node.lineno, node.col_offset, kind, before, after))
    return sorted(found)


def _text(lines: list[bytes], node: ast.expr | ast.stmt) -> str:
    """The source of a node, which `ast.get_source_segment` would split into lines anew for each."""
    first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
    text = b"".join(lines[first : last + 1])
    behind = len(lines[last]) - (node.end_col_offset or 0)
    return text[node.col_offset : len(text) - behind].decode()


def in_order(changes: Iterable[Change], seed: int) -> list[Change]:
    """All changes in a random order whose every beginning takes of each file in proportion to what it has.

    Parameters
    ----------
    changes
        Of several files.
    seed
        Of the order.

    Returns
    -------
    changes
        The same.
    """
    by_file: dict[str, list[Change]] = {}
    for change in sorted(changes):
        by_file.setdefault(change.file, []).append(change)
    keyed = []
    for name, own in by_file.items():
        draw = random.Random(f"{seed}/{name}")
        draw.shuffle(own)
        first = draw.random()
        keyed += [((rank + first) / len(own), change) for rank, change in enumerate(own)]
    return [change for _, change in sorted(keyed)]


_Place = tuple[ast.expr | ast.stmt, str, "Callable[[ast.AST], None]"]


def _places(node: ast.AST) -> Iterator[_Place]:
    yield from _of(node)
    for field, entry in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "type_params") or isinstance(node, ast.Raise):
            continue
        for child in entry if isinstance(entry, list) else [entry]:
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            if isinstance(child, ast.AST) and not isinstance(child, ast.JoinedStr):
                yield from _places(child)


def _of(node: ast.AST) -> Iterator[_Place]:
    if isinstance(node, ast.Compare):
        for at, each in enumerate(node.ops):
            if type(each) in _COMPARED:
                yield node, "comparison", _set_list("ops", at, _COMPARED[type(each)]())
    elif isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in _COMPUTED:
        yield node, "arithmetic", _set("op", _COMPUTED[type(node.op)]())
    elif isinstance(node, ast.BoolOp):
        yield node, "condition", _set("op", ast.Or() if isinstance(node.op, ast.And) else ast.And())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and not isinstance(node.operand, ast.Constant):
        yield node, "sign", _set("op", ast.UAdd())
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        test = node.test
        yield test, "condition", _negated(test)
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float, bool):
        yield node, "constant", _set("value", _other(node.value))
    elif isinstance(node, ast.Call) and (name := _name(node.func)) in _CALLED:
        yield node.func, "extreme", _renamed(_CALLED[name])
    elif isinstance(node, ast.Break | ast.Continue):
        yield node, "jump", _nothing


def _set(field: str, value: object) -> Callable[[ast.AST], None]:
    return lambda node: setattr(node, field, value)


def _set_list(field: str, at: int, value: object) -> Callable[[ast.AST], None]:
    return lambda node: getattr(node, field).__setitem__(at, value)


def _nothing(node: ast.AST) -> None:
    node.__class__ = ast.Pass


def _negated(test: ast.expr) -> Callable[[ast.AST], None]:
    inner = copy.deepcopy(test)

    def make(node: ast.AST) -> None:
        node.__class__ = ast.UnaryOp
        node.__dict__.update(op=ast.Not(), operand=inner)

    return make


def _other(value: object) -> object:
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else 2 * value + 1 if isinstance(value, float) else value


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Name):
        return function.id
    return function.attr if isinstance(function, ast.Attribute) else ""


def _renamed(name: str) -> Callable[[ast.AST], None]:
    return lambda node: setattr(node, "id" if isinstance(node, ast.Name) else "attr", name)
