"""The API reference: one page a room, made from the ``__all__`` of every package that has one.

A name that several rooms export is documented once, in its home: the room it is defined in, or else the first one that
exports it. The other rooms list it with a link, and the inventory knows it by each of its public paths.
"""

from __future__ import annotations

import ast
import enum
import functools
import importlib
import inspect
import pkgutil
import re
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx import addnodes
from sphinx.domains.python import ObjectEntry
from sphinx.util.nodes import make_refnode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

TOP = "mckp_quant"
FOLDER = "reference/api"
# In the order in which data flows; a room that is not named here comes after those that are.
ORDER = (
    *("errors", "layers", "common", "formats", "tables", "network", "rounding", "sensitivity", "costs", "timing"),
    *("policy", "allocation", "evaluation", "stability", "interactions", "refinement", "tuning", "search"),
    *("pipeline", "export", "solvers", "report", "cli", "demo"),
)
MODULES = ("mckp_quant.solvers.instances",)  # public, though no package
# Their names are ordinary words (`model`), which docstrings use for what they are.
NOT_BY_SHORT_NAME = ("mckp_quant.cli", "mckp_quant.demo", "mckp_quant.solvers.instances")
INTRODUCTION = """
Every public name, by the room it lives in. Those of ``mckp_quant`` itself, written ``mq.`` in the examples, are what
most programs need; rooms hold what goes further. Names that stand on no page here are private and may change.

``import mckp_quant`` loads neither PyTorch nor any optional package: a name that needs one loads it when asked for.
"""
LONGEST_VALUE = 300  # characters of a constant that are shown


@dataclass(frozen=True)
class PublicName:
    """One name that a room exports."""

    room: str
    name: str
    home: str
    value: Any

    @property
    def path(self) -> str:
        """Where it is imported from here."""
        return f"{self.room}.{self.name}"

    @property
    def home_path(self) -> str:
        """Where it is described."""
        return f"{self.home}.{self.name}"


def rooms() -> list[str]:
    """Every package under `mckp_quant` that says with ``__all__`` what is public, the top first."""
    top = importlib.import_module(TOP)
    packages = [module.name for module in pkgutil.walk_packages(top.__path__, f"{TOP}.") if module.ispkg]
    found = [name for name in (*packages, *MODULES) if getattr(importlib.import_module(name), "__all__", ())]
    return [TOP, *sorted(found, key=_place)]


def _place(room: str) -> tuple[int, str]:
    first = room.split(".")[1]
    return (ORDER.index(first) if first in ORDER else len(ORDER), room)


@functools.cache
def public_names() -> dict[str, list[PublicName]]:
    """What each room exports, in the order of its ``__all__``, which ruff keeps sorted."""
    exported = {room: {name: _value(room, name) for name in importlib.import_module(room).__all__} for room in rooms()}
    return {
        room: [PublicName(room, name, _home(name, value, exported, room), value) for name, value in names.items()]
        for room, names in exported.items()
    }


def _value(room: str, name: str) -> Any:
    return getattr(importlib.import_module(room), name)


def _home(name: str, value: Any, exported: dict[str, dict[str, Any]], room: str) -> str:
    """The room that documents a name: that of its module, however deep, before all others that export it."""
    same = [each for each, names in exported.items() if each != TOP and name in names and names[name] is value]
    module = getattr(value, "__module__", "") or ""
    own = [each for each in same if f"{module}.".startswith(f"{each}.")]
    return (sorted(own, key=len) or same or [room])[0]


def write_pages(app: Sphinx) -> None:
    """Write a page for every room; a page that would not change is left, so that it is not read again."""
    folder = Path(app.srcdir, FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    names = public_names()
    pages = {f"{room}.rst": _page(room, own) for room, own in names.items()} | {"index.rst": _index(list(names))}
    for old in folder.glob("*.rst"):
        if old.name not in pages:
            old.unlink()
    for file, text in pages.items():
        path = folder / file
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _index(every: list[str]) -> str:
    lines = ["API", "===", "", INTRODUCTION, ".. list-table::", "   :widths: auto", "   :class: public-names", ""]
    for room in every:
        lines += [f"   * - :doc:`{room} <{room}>`", f"     - {_summary(importlib.import_module(room))}"]
    return "\n".join([*lines, "", ".. toctree::", "   :hidden:", "", *(f"   {room}" for room in every), ""])


def _page(room: str, names: list[PublicName]) -> str:
    lines = [room, "=" * len(room), "", f".. automodule:: {room}", "   :no-members:", ""]
    lines += [".. list-table::", "   :widths: auto", "   :class: public-names", ""]
    for each in names:
        lines += [f"   * - :py:obj:`{each.name} <{each.home_path}>`", f"     - {_summary(each.value)}"]
    for each in names:
        if each.home == room:
            lines += ["", *_directive(each)]
    return "\n".join(lines) + "\n"


def _summary(value: Any) -> str:
    """The first sentence of a docstring; a constant has none."""
    if not (inspect.isclass(value) or inspect.isroutine(value) or isinstance(value, ModuleType)):
        return ""
    first = " ".join((inspect.getdoc(value) or "").partition("\n\n")[0].split())
    return re.split(r"(?<=\.)\s+(?=[A-Z`])", first)[0]


def _directive(each: PublicName) -> list[str]:
    value, path = each.value, each.path
    if isinstance(value, ModuleType):
        return [f".. automodule:: {path}"]
    if inspect.isclass(value):
        kind = "autoexception" if issubclass(value, BaseException) else "autoclass"
        every = ["   :undoc-members:"] if issubclass(value, enum.Enum) else []
        return [f".. {kind}:: {path}", "   :members:", "   :special-members: __call__, __getitem__", *every]
    if inspect.isroutine(value):
        return [f".. autofunction:: {path}"]
    shown = " ".join(repr(list(value) if isinstance(value, dict) else value).split())
    shown = shown if len(shown) <= LONGEST_VALUE else f"{shown[:LONGEST_VALUE]}…"
    return [
        f".. py:data:: {each.name}",
        f"   :module: {each.room}",
        f"   :type: {type(value).__name__}",
        f"   :value: {shown}",
    ]


def add_aliases(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Let the inventory know every name by each public path, and short names by which docstrings call them."""
    objects = env.domains.python_domain.objects
    short: dict[str, set[str]] = {}
    for room, names in public_names().items():
        for each in names:
            if (home := objects.get(each.home_path)) is not None and each.path not in objects:
                objects[each.path] = ObjectEntry(home.docname, home.node_id, home.objtype, True)
            if room not in NOT_BY_SHORT_NAME:
                short.setdefault(each.name, set()).add(each.home_path)
    env.public_short_names = {name: paths.pop() for name, paths in short.items() if len(paths) == 1}
    return []


def name_types(app: Sphinx, doctree: nodes.document) -> None:
    """Give types in signatures their full names: two rooms may each have a `Front`, and a signature means one.

    A type of ours that is not public has no entry, and must not be linked to another one of its name.
    """
    homes = {f"{getattr(each.value, '__module__', '')}.{each.name}": each.home_path for each in _all_names()}
    homes |= {each.path: each.home_path for each in _all_names()}
    for signature in doctree.findall(addnodes.desc_signature):
        if not (owner := _owner(signature.get("module", ""), signature.get("fullname", ""))):
            continue
        meant = _imported(owner)
        for link in list(signature.findall(addnodes.pending_xref)):
            name = link["reftarget"]
            if home := homes.get(meant.get(name, f"{owner}.{name}")):
                link["reftarget"] = home
            elif name in meant:
                link.replace_self(nodes.Text(name))


def _all_names() -> list[PublicName]:
    return [each for names in public_names().values() for each in names]


def _owner(room: str, name: str) -> str:
    """The module that a public name of a room is written in."""
    found = getattr(importlib.import_module(room), name.partition(".")[0], None) if room else None
    return getattr(found, "__module__", "") or ""


@functools.cache
def _imported(module: str) -> dict[str, str]:
    """What a module imports from others of ours, type-only imports too: from its name there to its full name."""
    found, source = {}, inspect.getsource(importlib.import_module(module))
    package = module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = ".".join([*package[: len(package) - node.level + 1], *([node.module] if node.module else [])])
            found |= {each.asname or each.name: f"{base}.{each.name}" for each in node.names}
    return found


def resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, inner: nodes.Node) -> nodes.Node | None:
    """Resolve what a docstring calls by its short name: `Format`, `Format.named`, `Policy.predicted`."""
    return _link(app, env, node.get("refdoc", ""), node["reftarget"], inner) if node["refdomain"] == "py" else None


def _link(
    app: Sphinx, env: BuildEnvironment, page: str, target: str, inner: nodes.Node, *, short: bool = True
) -> nodes.Node | None:
    objects = env.domains.python_domain.objects
    head, _, rest = target.partition(".")
    full = target
    if short and head in env.public_short_names:
        full = f"{env.public_short_names[head]}.{rest}" if rest else env.public_short_names[head]
    # An attribute that has no entry of its own is described in its class.
    entry = objects.get(full) or objects.get(full.rpartition(".")[0])
    if entry is None or entry.objtype == "module":
        return None
    return make_refnode(app.builder, page, entry.docname, entry.node_id, inner, target)


CODE = re.compile(r"(?:mq|mckp_quant)\.([\w.]+?)(?:\(.*\))?")


def link_code(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Link what a page says in code, such as `mq.allocate(table, ...)`, to its entry in the reference."""
    for literal in list(_literals(doctree)):
        found = CODE.fullmatch(literal.astext())
        link = found and _link(app, app.env, page, f"{TOP}.{found[1]}", literal.deepcopy(), short=False)
        if link:
            literal.replace_self(link)


def _literals(doctree: nodes.document) -> Iterator[nodes.literal]:
    for literal in doctree.findall(nodes.literal):
        parent: nodes.Node | None = literal.parent
        while parent is not None and not isinstance(parent, (nodes.reference, nodes.title)):
            parent = parent.parent
        if parent is None:
            yield literal


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect the above to the build."""
    app.connect("builder-inited", write_pages)
    app.connect("doctree-read", name_types)
    app.connect("env-updated", add_aliases)
    app.connect("missing-reference", resolve)
    app.connect("doctree-resolved", link_code)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
