"""Damages files as disks, editors and other programs do: in their bytes, and in what the bytes say."""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from .kind import Kind

# What a program may write where something else was meant; text stands for itself in the file.
ODD = (
    *("null", "true", "false", "0", "-1", "1.5", "1e308", "1e999", "NaN", "-Infinity", '""', '"w4"', '"x"', "[]", "{}"),
    *("[[]]", "[null]", '{"x": 1}', "9" * 30, "9" * 400, "9" * 5000, "[" * 100 + "]" * 100, "[" * 3000 + "]" * 3000),
    *(r'"\ud800"', r'"\u0000"', r'"\u2028\n"', '"1/0"', '"1e99999999"', "1e-400", "1e99999999", str(2**63)),
    *("1000000000", "[1000000000, 1000000000]", '"w99999999999"', '"../../x"', '["a", "a"]', "[[[1]]]", "-0.0"),
)
BYTES = (b"\x00", b"\xff", b"\n", b",", b'"', b"{", b"[", b"9", b"-", b"\xed\xa0\x80", b"\xff\xfe", b"\x01\x00\x00\x80")
NUMBERS = (0, 1, -1, 2**7, 2**8 - 1, 2**15, 2**16, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**63)
ARRAYS: tuple[Any, ...] = (
    *(np.array(1), np.zeros(0), np.zeros((2, 2), "U3"), np.array([None], object), np.zeros((3, 0)), np.ones(2, "c16")),
    *(np.zeros(2, "i8,f4"), np.array(["a", "a"]), np.array("[" * 2000), np.full((2, 2), -1), np.full((2, 2), np.inf)),
    *(np.zeros(2, "M8[s]"), np.zeros((2, 2, 2), bool), np.full(2, 2**63, np.uint64), np.array(b"bytes")),
)
_SHAPES = ("(1000000000000,)", "(2, -1)", "(2,", "(True,)", "()", "(0, 10000000000000)", "((((", "2")
_TYPES = ("<f8", "<U0", "<U1000000000", "|O", ">f8", "<U4", "V8", "nonsense", "|b1")
_PIECES = re.compile(r"([\s,=:()]+)")


def damaged(kind: Kind, draw: random.Random) -> bytes:
    """Change a file.

    Parameters
    ----------
    kind
        The file.
    draw
        Where the changes are drawn from.

    Returns
    -------
    content
        What it holds after one to three changes: of bytes, or of what the bytes say.
    """
    change = _CHANGES.get(kind.name.rpartition(".")[2])
    if change is not None and draw.random() < 0.6:
        return change(kind.content, draw)
    content = bytearray(kind.content)
    for _ in range(draw.randint(1, 3)):
        content = _odd_bytes(content, draw)
    return bytes(content)


def _odd_bytes(content: bytearray, draw: random.Random) -> bytearray:
    at = draw.randrange(len(content) + 1)
    end = min(len(content), at + draw.choice((1, 2, 4, 8, 64)))
    way = draw.randrange(6)
    if way == 0:
        return content[:at]
    if way == 1:
        return content[:at] + content[end:]
    if way == 2:
        return content[:at] + draw.choice(BYTES) + content[at:]
    if way == 3:
        return content[:end] + content[at:]
    if way == 4:  # a number as headers hold them
        size = draw.choice((1, 2, 4, 8))
        number: bytes = (draw.choice(NUMBERS) % 2 ** (8 * size)).to_bytes(size, "little")
        return content[:at] + number + content[at + size :]
    return content[:at] + bytes(draw.randrange(256) for _ in range(end - at)) + content[end:]


def _odd_json(content: bytes, draw: random.Random) -> bytes:
    document = json.loads(content)
    for _ in range(draw.randint(1, 2)):
        _change_one(document, draw)
    text = json.dumps(document)
    for at, odd in enumerate(ODD):
        text = text.replace(f'"@@{at}@@"', odd)
    return text.encode()


def _change_one(document: Any, draw: random.Random) -> None:
    """Change an entry: gone, something odd, twice, under another name, or that of another place."""
    node, key = _entry(document, draw, 0.75)
    if key is None:
        return
    way = draw.random()
    if way < 0.2:
        del node[key]
    elif way < 0.3:
        other, place = _entry(document, draw, 0.5)
        node[key] = json.loads(json.dumps(other[place])) if place is not None else None
    elif way < 0.4 and isinstance(node, dict):
        node[draw.choice(("", "x", f"{key}2"))] = node.pop(key)
    elif way < 0.4:
        node.insert(draw.randrange(len(node) + 1), json.loads(json.dumps(node[key])))
    else:
        node[key] = f"@@{draw.randrange(len(ODD))}@@"


def _entry(document: Any, draw: random.Random, deeper: float) -> tuple[Any, Any]:
    """A list or an object within a document, and a key of it; None where it is empty."""
    node: Any = document
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            return node, None
        key = draw.choice(keys)
        if not isinstance(node[key], (dict, list)) or draw.random() >= deeper:
            return node, key
        node = node[key]


def _odd_piece(content: bytes, draw: random.Random) -> bytes:
    parts = _PIECES.split(content.decode())
    parts[draw.randrange(len(parts))] = draw.choice(ODD)
    return "".join(parts).encode("utf-8", "replace")


def _odd_npz(content: bytes, draw: random.Random) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = draw.choice(list(members))
    way = draw.randrange(6)
    if way == 0:
        del members[name]
    elif way == 1:
        members[name] = bytes(_odd_bytes(bytearray(members[name]), draw))
    elif way == 2:
        file = io.BytesIO()
        np.save(file, draw.choice(ARRAYS), allow_pickle=True)
        members[name] = file.getvalue()
    elif way == 3:
        order = draw.choice(("False", "True", "1"))
        header = f"{{'descr': '{draw.choice(_TYPES)}', 'fortran_order': {order}, 'shape': {draw.choice(_SHAPES)}, }}"
        members[name] = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()
    elif way == 4 and "document.npy" in members:  # what is no array, as JSON in an array
        text = str(np.load(io.BytesIO(members["document.npy"])))
        file = io.BytesIO()
        np.save(file, np.array(_odd_json(text.encode(), draw).decode()))
        members["document.npy"] = file.getvalue()
    else:
        members[name] = members[draw.choice(list(members))]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", draw.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_BZIP2))) as out:
        for each, member in members.items():
            out.writestr(each, member)
    return file.getvalue()


def _odd_safetensors(content: bytes, draw: random.Random) -> bytes:
    size = int.from_bytes(content[:8], "little")
    header = _odd_json(content[8 : 8 + size], draw)
    return len(header).to_bytes(8, "little") + header + content[8 + size :]


def _odd_onnx(content: bytes, draw: random.Random) -> bytes:
    import onnx

    model = onnx.ModelProto.FromString(content)
    for _ in range(draw.randint(1, 2)):
        message: Any = model
        while True:
            field, entry = draw.choice(message.ListFields() or [(None, None)])
            if field is None:
                break
            if field.type == field.TYPE_MESSAGE and draw.random() < 0.9:
                message = entry if not hasattr(entry, "append") else entry[draw.randrange(len(entry))]
                continue
            _change_field(message, field, entry, draw)
            break
    return bytes(model.SerializeToString())


def _change_field(message: Any, field: Any, entry: Any, draw: random.Random) -> None:
    way = draw.random()
    if way < 0.2 or field.type == field.TYPE_MESSAGE:
        message.ClearField(field.name)
        return
    kinds: dict[Any, Any] = {
        field.TYPE_STRING: draw.choice(("", "x", "../../x", "MatMul", "a.weight", "q")),
        field.TYPE_BYTES: draw.choice((b"", b"\xff", b"x" * 33)),
        field.TYPE_FLOAT: draw.choice((0.0, -1.0, float("nan"), float("inf"))),
    }
    number = draw.choice((0, 1, -1, 2, 3, 16, 21, 22, 23, 99, 2**31 - 1))
    new = kinds.get(field.type, number)
    try:
        if hasattr(entry, "append"):
            entry[draw.randrange(len(entry))] = new
        else:
            setattr(message, field.name, new)
    except (ValueError, TypeError):  # an enumeration that is closed, or a number that its field cannot hold
        message.ClearField(field.name)


_CHANGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "json": _odd_json,
    "npz": _odd_npz,
    "csv": _odd_piece,
    "toml": _odd_piece,
    "txt": _odd_piece,
    "map": _odd_piece,
    "safetensors": _odd_safetensors,
    "onnx": _odd_onnx,
}
