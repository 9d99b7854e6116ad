"""Whatever is done to a file, its reader takes it or refuses it with an error that names it: nothing else gets out."""

from __future__ import annotations

import io
import json
import logging
import random
import struct
import tomllib
import zipfile
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mckp_quant import Activation, ActivationRanges, InvalidInput, Layer, Policy, Request, SensitivityTable
from mckp_quant.export import read_policy
from mckp_quant.formats.format import as_formats
from mckp_quant.interactions.form import Interactions
from mckp_quant.solvers import Pairs, Problem, Rows, read_problem, write_problem
from mckp_quant.tables import read_activations, read_costs, read_table, read_traces, write_table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# What a program may write where something else was meant; text stands for itself in the file.
ODD = (
    *("null", "true", "false", "0", "-1", "1.5", "1e308", "1e999", "NaN", "-Infinity", '""', '"w4"', '"x"', "[]", "{}"),
    *("[[]]", "[null]", '{"x": 1}', "9" * 30, "9" * 400, "9" * 5000, "[" * 100 + "]" * 100, "[" * 3000 + "]" * 3000),
    *(r'"\ud800"', r'"\u0000"', r'"\u2028\n"', '"1/0"', '"1e99999999"', "1e-400", "1e99999999", str(2**63)),
)
BYTES = (b"\x00", b"\xff", b"\n", b",", b'"', b"{", b"[", b"9", b"-", b"\xed\xa0\x80", b"\xff\xfe", b"\x01\x00\x00\x80")
ARRAYS: tuple[Any, ...] = (
    *(np.array(1), np.zeros(0), np.zeros((2, 2), "U3"), np.array([None], object), np.zeros((3, 0)), np.ones(2, "c16")),
    *(np.zeros(2, "i8,f4"), np.array(["a", "a"]), np.array("[" * 2000), np.full((2, 2), -1), np.full((2, 2), np.inf)),
    *(np.zeros(2, "M8[s]"), np.zeros((2, 2, 2), bool), np.full(2, 2**63, np.uint64), np.array(b"bytes")),
)


@dataclass(frozen=True)
class Kind:
    """A file that a reader takes: its name, its content, and the reader."""

    name: str
    content: bytes
    read: Callable[[Path], object]


def kinds(folder: Path) -> list[Kind]:
    """One valid file of each kind that needs no optional package."""
    layers = (Layer("a", "linear", (4, 4), 4, 1, ("c",)), Layer("b", "linear", (4, 4), 4, 1))
    formats = as_formats("w2,w4")
    table = SensitivityTable(
        layers,
        formats,
        np.array([[2.0, 1.0], [2.0, 1.0]]),
        np.full((2, 2), 0.1),
        contributions=np.array([[[2.0, 1.0], [2.0, 1.0]]]),
        batch_sizes=np.array([4.0]),
        activations=(Activation(4, 0, 1, ("a",)),),
        ranges=ActivationRanges("minmax", 4, {("a", "a8"): (-1.0, 1.0)}),
    )
    table.save(folder / "table.json")
    assert table.ranges is not None
    table.ranges.save(folder / "ranges.json")
    write_table(table, folder / "table.csv")
    write_table(table, folder / "long.csv", long=True)
    write_table(table, folder / "table.npz")
    Policy.uniform(table, "w4").save(folder / "policy.json")
    Request({"weight_bytes": 20}, pinned={"a": "w4"}, choices={"b": ("w2", "w4")}).save(folder / "request.json")
    Interactions(("a", "b"), ("w4",), np.ones((1, 2, 2)), np.array([2.0])).save(folder / "terms.npz")
    problem = Problem(
        np.array([2.0, 1.0, 2.0, 1.0]),
        np.array([[1, 2, 1, 2]]),
        np.array([3]),
        np.array([0, 2, 4]),
        np.array([0, 1, 0, 1]),
        rows=Rows(np.array([0, 2]), np.array([0, 2]), np.array([1, 1]), np.array([0]), np.array([1]), 0),
        pairs=Pairs(np.array([0]), np.array([2]), np.array([0.5])),
    )
    write_problem(problem, folder / "problem.json")
    texts = {
        "costs.json": '{"layers": ["a"], "formats": ["w2", "w4"], "cost": [[1, 2]], "name": "t", "unit": "ns"}',
        "costs.csv": "layer,w2,w4\na,1,2\nb,3,4\n",
        "activations.json": '[{"elements": 4, "first": 0, "last": 1, "readers": ["a"]}]',
        "traces.json": json.dumps(
            {
                "layers": ["a", "b"],
                "ties": [["a", "b"]],
                "Hutchinson_trace": [1.5, 2],
                "delta_weights_4bit_square": [0.5, 1e-3],
                "delta_weights_8bit_square": [0.25, 1e-4],
                "parameters": [4, 4],
                "bops": [1, 2],
                "latency_int4": [0.5, 1],
                "latency_int8": [0.75, 2],
            }
        ),
        "request.toml": 'target = "onnxruntime"\ntied = [["a", "b"]]\n[budgets]\nweight_bytes = "20B"\n[constraints]\n'
        "max_formats = 2\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    readers: dict[str, Callable[[Path], object]] = {
        "table.json": read_table,
        "table.csv": read_table,
        "long.csv": read_table,
        "table.npz": read_table,
        "ranges.json": ActivationRanges.load,
        "policy.json": Policy.load,
        "request.json": Request.load,
        "request.toml": Request.from_toml,
        "terms.npz": Interactions.load,
        "problem.json": read_problem,
        "costs.json": read_costs,
        "costs.csv": read_costs,
        "activations.json": read_activations,
        "traces.json": read_traces,
    }
    return [Kind(name, (folder / name).read_bytes(), read) for name, read in readers.items()]


def artefacts(folder: Path) -> list[Kind]:
    """One valid file of each toolchain whose package is installed."""
    found = []
    onnx, gguf = pytest.importorskip("onnx"), pytest.importorskip("gguf")
    safetensors = pytest.importorskip("safetensors.numpy")
    weight = np.ones((32, 32), np.float32)
    node = onnx.helper.make_node("MatMul", ["x", "a.weight"], ["y"])
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 32]) for name in "xy"]
    graph = onnx.helper.make_graph([node], "g", ends[:1], ends[1:], [onnx.numpy_helper.from_array(weight, "a.weight")])
    onnx.save(onnx.helper.make_model(graph), folder / "model.onnx")
    writer = gguf.GGUFWriter(folder / "model.gguf", "llama")
    writer.add_tensor("a.weight", weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found += [Kind(name, (folder / name).read_bytes(), read_policy) for name in ("model.onnx", "model.gguf")]
    said = {
        "quant_method": "compressed-tensors",
        "config_groups": {"g": {"targets": ["Linear"], "weights": {"num_bits": 4, "type": "int", "symmetric": True}}},
        "ignore": ["b"],
    }
    checkpoint = folder / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "config.json").write_text(json.dumps({"quantization_config": said}))
    safetensors.save_file({"a.weight": weight, "b.weight": weight}, checkpoint / "model.safetensors")
    found += [
        Kind(f"checkpoint/{name}", (checkpoint / name).read_bytes(), lambda path: read_policy(path.parent))
        for name in ("config.json", "model.safetensors")
    ]
    return found


def damaged(kind: Kind, draw: random.Random) -> bytes:
    """The content after one to three changes: of bytes, or of what the bytes say."""
    if draw.random() < 0.6:
        if kind.name.endswith(".json"):
            return _odd_json(kind.content, draw)
        if kind.name.endswith(".npz"):
            return _odd_npz(kind.content, draw)
        if kind.name.endswith((".csv", ".toml")):
            return _odd_cell(kind.content, draw)
    content = bytearray(kind.content)
    for _ in range(draw.randint(1, 3)):
        content = _odd_bytes(content, draw)
    return bytes(content)


def _odd_bytes(content: bytearray, draw: random.Random) -> bytearray:
    at = draw.randrange(len(content) + 1)
    end = min(len(content), at + draw.choice((1, 2, 4, 8, 64)))
    way = draw.randrange(5)
    if way == 0:
        return content[:at]
    if way == 1:
        return content[:at] + content[end:]
    if way == 2:
        return content[:at] + draw.choice(BYTES) + content[at:]
    if way == 3:
        return content[:end] + content[at:]
    return content[:at] + bytes(draw.randrange(256) for _ in range(end - at)) + content[end:]


def _odd_json(content: bytes, draw: random.Random) -> bytes:
    document = json.loads(content)
    for _ in range(draw.randint(1, 2)):
        node: Any = document
        while True:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not keys:
                break
            key = draw.choice(keys)
            if isinstance(node[key], (dict, list)) and draw.random() < 0.75:
                node = node[key]
                continue
            if draw.random() < 0.2:
                del node[key]
            else:
                node[key] = f"@@{draw.randrange(len(ODD))}@@"
            break
    text = json.dumps(document)
    for at, odd in enumerate(ODD):
        text = text.replace(f'"@@{at}@@"', odd)
    return text.encode()


def _odd_cell(content: bytes, draw: random.Random) -> bytes:
    parts = content.decode().replace("=", ",").split(",") if draw.random() < 0.1 else content.decode().split(",")
    parts[draw.randrange(len(parts))] = draw.choice(ODD)
    return ",".join(parts).encode("utf-8", "replace")


def _odd_npz(content: bytes, draw: random.Random) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = draw.choice(list(members))
    way = draw.randrange(5)
    if way == 0:
        del members[name]
    elif way == 1:
        members[name] = bytes(_odd_bytes(bytearray(members[name]), draw))
    elif way == 2:
        file = io.BytesIO()
        np.save(file, draw.choice(ARRAYS), allow_pickle=True)
        members[name] = file.getvalue()
    elif way == 3:
        shape = draw.choice(("(1000000000000,)", "(2, -1)", "(2,", "(True,)", "()", "(0, 10000000000000)", "((((", "2"))
        kind = draw.choice(("<f8", "<U0", "<U1000000000", "|O", ">f8", "<U4", "V8", "nonsense", "|b1"))
        header = f"{{'descr': '{kind}', 'fortran_order': {draw.choice(('False', 'True', '1'))}, 'shape': {shape}, }}"
        members[name] = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()
    else:
        members[name] = members[draw.choice(list(members))]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", draw.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_BZIP2))) as out:
        for each, member in members.items():
            out.writestr(each, member)
    return file.getvalue()


def foreign(found: list[Kind], folder: Path, count: int, seed: int) -> tuple[Counter[str], int]:
    """What other errors get out of the readers of so many damaged files, and how many files were taken as they are."""
    draw = random.Random(seed)
    others: Counter[str] = Counter()
    taken = 0
    logging.disable()
    try:
        for number in range(count):
            kind = found[number % len(found)]
            path = folder / kind.name
            content = damaged(kind, draw)
            path.write_bytes(content)
            try:
                kind.read(path)
                taken += 1
            except InvalidInput as error:
                if path.name not in str(error) and path.parent.name not in str(error):
                    others[f"{kind.name}: no name in {str(error)[:200]}"] += 1
            except Exception as error:  # noqa: BLE001 - what is counted
                others[f"{kind.name}: {type(error).__name__}: {str(error)[:90]}"] += 1
            finally:
                path.write_bytes(kind.content)
    finally:
        logging.disable(logging.NOTSET)
    return others, taken


def test_valid_files_are_taken(tmp_path: Path) -> None:
    for kind in kinds(tmp_path):
        kind.read(tmp_path / kind.name)
    assert tomllib.loads((tmp_path / "request.toml").read_text())


def test_damaged_files_are_refused_by_name(tmp_path: Path) -> None:
    others, taken = foreign(kinds(tmp_path), tmp_path, 1_400, 0)
    assert others == Counter()
    assert 0 < taken < 700


def test_damaged_artefacts_are_refused_by_name(tmp_path: Path) -> None:
    found = artefacts(tmp_path)
    for kind in found:
        kind.read(tmp_path / kind.name)
    others, _ = foreign(found, tmp_path, 200, 0)
    assert others == Counter()


@pytest.mark.fuzz
def test_many_damaged_files_are_refused_by_name(tmp_path: Path) -> None:
    found = [*kinds(tmp_path), *artefacts(tmp_path)]
    others, _ = foreign(found, tmp_path, 20_000, 1)
    assert others == Counter()
