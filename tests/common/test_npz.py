from __future__ import annotations

import io
import struct
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from mckp_quant import InvalidInput
from mckp_quant.common import npz
from mckp_quant.common.npz import npz_names, read_npy_array, read_npz_arrays, write_npz_arrays

if TYPE_CHECKING:
    from pathlib import Path

TYPES = st.sampled_from([np.dtype(name) for name in ("?", "<i8", ">i4", "<u2", "<f8", ">f4", "<f2", "<U3")])


def npy(descr: str, shape: str, content: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY" + version + struct.pack("<H", len(header)) + header + content


def archive(path: Path, members: dict[str, bytes], way: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", way) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


@given(npst.arrays(TYPES, npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)), st.booleans())
def test_plain_arrays_come_back_as_they_were(tmp_path_factory: Any, array: np.ndarray[Any, Any], turned: bool) -> None:
    path = tmp_path_factory.mktemp("npz") / "a.npz"
    array = np.asfortranarray(array) if turned else array
    write_npz_arrays(path, {"a": array})
    found = read_npz_arrays(path, "table")["a"]
    np.testing.assert_array_equal(found, array)
    assert found.shape == array.shape
    assert found.dtype == array.dtype.newbyteorder("=")
    assert found.flags.writeable


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (npy("'<f8'", "(1000000000000,)"), r"its shape is \(1000000000000,\) and its type float64, .* cut off"),
        (npy("'<f8'", "(2,)", b"12345678"), "not what 8 bytes hold"),
        (npy("'<f8'", "(-1,)"), r"it says that its shape is \(-1,\)"),
        (npy("'<f8'", "(0, 10000000000000)"), "it says that its shape is"),
        (npy("'<U0'", "(5,)"), "its type <U0"),
        (npy("'|O'", "(1,)", b"cos"), "it holds object, give numbers or text; nothing is unpickled"),
        (npy("[('a', '<f8')]", "(1,)", b"12345678"), "give numbers or text"),
        (npy("'<U1'", "(1,)", struct.pack("<I", 0x110000)), "its text holds what is no character"),
        (npy("'<U1'", "(1,)", struct.pack("<I", 0xD800)), "its text holds what is no character"),
        (npy("'<f8'", "(1,", b"12345678"), "cannot be read"),
        (npy("'<f8'", "()", b"", b"\x03\x00"), r"its form is \(3, 0\)"),
        (b"hello", "cannot be read"),
        (b"", "cannot be read"),
    ],
)
def test_members_that_are_no_plain_array_are_named(tmp_path: Path, content: bytes, words: str) -> None:
    path = archive(tmp_path / "t.npz", {"loss.npy": content, "other.npy": b""})
    with pytest.raises(InvalidInput, match=f"the table '.*t.npz', array 'loss'.*{words}"):
        read_npz_arrays(path, "table", ("loss",))
    (tmp_path / "t.npy").write_bytes(content)
    with pytest.raises(InvalidInput, match=f"the table '.*t.npy'.*{words}"):
        read_npy_array(tmp_path / "t.npy", "table")


def test_nothing_is_unpacked_that_does_not_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.npz"
    np.savez_compressed(path, loss=np.zeros(100_000))
    monkeypatch.setattr(npz, "_UNPACKED", 1000)
    with pytest.raises(InvalidInput, match=r"its arrays take 800,128 bytes unpacked, .* with np.savez, which"):
        read_npz_arrays(path, "table")
    np.savez(path, loss=np.zeros(100_000))
    assert len(read_npz_arrays(path, "table")["loss"]) == 100_000


def test_archives_of_other_kinds_are_refused(tmp_path: Path) -> None:
    file = io.BytesIO()
    np.save(file, np.arange(3.0))
    path = archive(tmp_path / "t.npz", {"loss.npy": file.getvalue()}, zipfile.ZIP_BZIP2)
    with pytest.raises(InvalidInput, match=r"array 'loss': it is compressed in way 12; write it again with np.savez"):
        read_npz_arrays(path, "table")
    content = bytearray(archive(path, {"loss.npy": file.getvalue()}).read_bytes())
    entry = content.find(b"PK\x01\x02")
    content[6] |= 1
    content[entry + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match="array 'loss': it is encrypted; write it again"):
        read_npz_arrays(path, "table")
    archive(path, {"loss.npy": file.getvalue(), "loss": file.getvalue()})
    with pytest.raises(InvalidInput, match="it holds the array 'loss' twice"):
        read_npz_arrays(path, "table")
    content = bytearray(archive(path, {"loss.npy": file.getvalue()}, zipfile.ZIP_STORED).read_bytes())
    at = content.find(struct.pack("<d", 2.0))
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"t.npz', array 'loss' cannot be read .BadZipFile: Bad CRC-32"):
        read_npz_arrays(path, "table")
    path.write_bytes(b"PK")
    with pytest.raises(InvalidInput, match=r"t.npz' cannot be read .BadZipFile: File is not a zip file"):
        npz_names(path, "table")
