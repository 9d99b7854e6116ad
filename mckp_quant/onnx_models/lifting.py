"""ONNX graphs in one form, whoever wrote them: every constant is an initializer of the outermost graph.

Exporters keep weights as initializers, as nodes ``Constant``, or inside the bodies of ``If`` and ``Loop``. A body may
read what the outer graph holds, so all of them can lie there, and the graph computes the same.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from ..common.packages import require

if TYPE_CHECKING:
    from collections.abc import Iterator

EXTRA = "onnx"
_OVERRIDABLE = 4  # the first IR version in which initializers need not be inputs


def bodies(node: Any) -> Iterator[Any]:
    """The graphs inside a node, such as the branches of an If."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def graphs_in(graph: Any) -> Iterator[Any]:
    """A graph and all those inside its nodes, outer ones first."""
    yield graph
    for node in graph.node:
        for body in bodies(node):
            yield from graphs_in(body)


def nodes_in(graph: Any) -> Iterator[Any]:
    """The nodes of a graph and of all graphs inside, a node before those inside it."""
    for node in graph.node:
        yield node
        for body in bodies(node):
            yield from nodes_in(body)


def lifted(proto: Any) -> Any:
    """A copy of a model whose constants all are initializers of its outermost graph.

    Parameters
    ----------
    proto
        An ``onnx.ModelProto``, with its weights inside.

    Returns
    -------
    proto
        Functions of the model's own are written out where they are called. A constant of a body keeps its name where
        no other body uses it, and is numbered otherwise. Initializers are no inputs of the graph any more, so that
        nobody can override them.
    """
    onnx = require("onnx", EXTRA)
    if proto.functions:
        made = onnx.inliner.inline_local_functions(proto)
    else:
        made = onnx.ModelProto()
        made.CopyFrom(proto)
    defined = Counter(name for graph in graphs_in(made.graph) for name in _defined(graph))
    _lift(made.graph, made.graph, set(defined), {name for name, count in defined.items() if count > 1})
    known = {each.name for each in made.graph.initializer}
    inputs = [each for each in made.graph.input if each.name not in known]
    del made.graph.input[:]
    made.graph.input.extend(inputs)
    made.ir_version = max(made.ir_version, _OVERRIDABLE)
    return made


def rename(graph: Any, names: dict[str, str]) -> None:
    """Give tensors other names wherever a graph and those inside it read them."""
    if not names:
        return
    for node in nodes_in(graph):
        if not names.keys().isdisjoint(node.input):
            node.input[:] = [names.get(each, each) for each in node.input]


def _defined(graph: Any) -> Iterator[str]:
    held = {each.name for each in graph.initializer}
    yield from held
    yield from (each.name for each in graph.input if each.name not in held)
    for node in graph.node:
        yield from (name for name in node.output if name)


def _lift(graph: Any, top: Any, taken: set[str], twice: set[str]) -> None:
    """Move the constants of a graph, and of those inside it, to the initializers of the outermost one."""
    inner = graph is not top
    for node in graph.node:
        for body in bodies(node):
            _lift(body, top, taken, twice)
    given = {each.name for each in graph.output} if inner else set()  # a body has to make what it gives
    kept, found, names = [], [], {}
    for node in graph.node:
        value = next((each for each in node.attribute if each.name == "value" and each.HasField("t")), None)
        if node.op_type != "Constant" or node.domain or value is None or node.output[0] in given:
            kept.append(node)
            continue
        found.append((value.t, node.output[0]))
    if inner:
        found += [(each, each.name) for each in graph.initializer if each.name not in given]
        left = [each for each in graph.initializer if each.name in given]
    for tensor, name in found:
        names[name] = _free(name, taken) if inner and name in twice else name
        made = top.initializer.add()
        made.CopyFrom(tensor)
        made.name = names[name]
    nodes = [_copy(node) for node in kept]
    del graph.node[:]
    graph.node.extend(nodes)
    if inner:
        _keep(graph.initializer, left)
    rename(graph, {name: new for name, new in names.items() if name != new})


def _copy(node: Any) -> Any:
    made = type(node)()
    made.CopyFrom(node)
    return made


def _keep(held: Any, left: list[Any]) -> None:
    kept = [_copy(each) for each in left]
    del held[:]
    held.extend(kept)


def _free(name: str, taken: set[str]) -> str:
    """The name with the first number that nothing has yet."""
    count = 2
    while f"{name}_{count}" in taken:
        count += 1
    taken.add(f"{name}_{count}")
    return f"{name}_{count}"
