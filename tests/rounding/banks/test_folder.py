"""Banks on disk: what is read is what was written, nothing is rounded twice, and nothing of another is taken."""

from __future__ import annotations

import errno
import json
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

import mckp_quant as mq
from mckp_quant import Format, InvalidInput, WeightBank
from mckp_quant.common.files import writing
from mckp_quant.rounding import Gptq, Nearest, banking, statistics
from mckp_quant.rounding.banks import folder as folders
from mckp_quant.rounding.encoded import EncodedWeight, OpaqueWeight
from mckp_quant.tables import schema

from ...tables.test_schemas import complaints
from ..networks import draw

if TYPE_CHECKING:
    from pathlib import Path

    from mckp_quant.rounding.encoded import StoredWeight

OWN = Format(
    "halved", 8, quantize=lambda weight: (weight * 2).round() / 2, stored_bits=lambda layer: 8 * layer.elements
)
FORMATS = (*(Format.named(name) for name in ("w1", "w3", "w4g16z", "w8t", "fp8_e4m3", "mxfp4", "nvfp4", "w4a8")), OWN)


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36, 5)).eval()


BATCHES = [draw(2, 16, 2, 5, 5), draw(3, 16, 2, 5, 5)]


def same(first: StoredWeight, second: StoredWeight) -> bool:
    if isinstance(first, OpaqueWeight):
        return isinstance(second, OpaqueWeight) and torch.equal(first.values, second.values)
    assert isinstance(first, EncodedWeight)
    assert isinstance(second, EncodedWeight)
    zeros = first.zero_points is second.zero_points is None or (
        first.zero_points is not None
        and second.zero_points is not None
        and torch.equal(first.zero_points, second.zero_points)
    )
    return (
        zeros
        and torch.equal(first.elements, second.elements)
        and first.elements.dtype == second.elements.dtype
        and torch.equal(first.scales, second.scales)
        and first.tensor_scale == second.tensor_scale
    )


def test_what_is_read_is_what_was_written_lazily_and_bit_for_bit(tmp_path: Path) -> None:
    model = network()
    memory = mq.round_weights(model, BATCHES, FORMATS)
    written = mq.round_weights(model, BATCHES, FORMATS, output=tmp_path / "bank")
    saved = memory.save(tmp_path / "saved")
    loaded = WeightBank.load(tmp_path / "bank")
    for bank in (written, loaded, saved, WeightBank.load(tmp_path / "saved")):
        assert bank.digest == memory.digest
        assert bank.ranges == memory.ranges
        assert (bank.samples, bank.as_nearest, bank.layers) == (32, (), memory.layers)
        for layer in memory.layers:
            for entry in FORMATS:
                assert same(bank.encoded(layer.name, entry), memory.encoded(layer.name, entry))
        bank.check(model)
    files = sorted(path.name for path in (tmp_path / "bank").iterdir())
    assert files[2:] == ["bank.json"]
    assert [name.partition("-")[0] for name in files[:2]] == ["0", "3"]
    document = json.loads((tmp_path / "bank" / "bank.json").read_text())
    assert complaints(schema("bank"), document) == []


def test_layers_that_are_there_are_not_rounded_again_nor_their_inputs_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, rounded = network(), []
    whole = mq.round_weights(model, BATCHES, "w3,w4a8", output=tmp_path)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("everything was there already")

    with monkeypatch.context() as patched:
        patched.setattr(statistics, "gather_statistics", refuse)
        patched.setattr(banking, "calibrate_ranges", refuse)
        again = mq.round_weights(model, BATCHES, "w3,w4a8", output=tmp_path)
    assert again.digest == whole.digest
    held = whole.store
    assert isinstance(held, folders.Folder)
    held.file(whole.layers[1]).unlink()
    begun = banking.encode_layer

    def listed(*given: Any) -> Any:
        rounded.append(given[2].name)
        return begun(*given)

    monkeypatch.setattr(banking, "encode_layer", listed)
    mq.round_weights(model, BATCHES, "w3,w4a8", output=tmp_path)
    assert rounded == ["3"]
    assert held.file(whole.layers[0]).stat().st_mtime_ns == kept[held.file(whole.layers[0])]


def test_a_run_that_was_cut_short_goes_on_and_is_no_bank_until_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = network()
    write = folders.Folder.write

    def full(self: folders.Folder, layer: mq.Layer, codes: object, *, seen: bool) -> None:
        if layer.name == "3":
            monkeypatch.setattr(folders, "write_bytes", no_space)
        write(self, layer, codes, seen=seen)  # type: ignore[arg-type]

    def no_space(path: Path, content: bytes) -> None:
        with writing(path) as file:
            file.write(content[:10])
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(folders.Folder, "write", full)
        with pytest.raises(OSError, match=r"cannot write '.*3-.*codes.safetensors': No space left"):
            mq.round_weights(model, BATCHES, "w3", output=tmp_path)
    monkeypatch.undo()
    assert len(list(tmp_path.iterdir())) == 2  # the document and one layer: nothing half-written
    with pytest.raises(InvalidInput, match="is not whole: the codes of layer '3' are missing; call round_weights once"):
        WeightBank.load(tmp_path)
    mq.round_weights(model, BATCHES, "w3", output=tmp_path)
    document = json.loads((tmp_path / "bank.json").read_text())
    (tmp_path / "bank.json").write_text(json.dumps({**document, "finished": False}))
    with pytest.raises(InvalidInput, match="is not whole: it was not finished"):
        WeightBank.load(tmp_path)


def test_a_folder_with_another_bank_is_refused_in_words(tmp_path: Path) -> None:
    model = network()
    mq.round_weights(model, BATCHES, "w3,w4a8", output=tmp_path, rounder=Gptq(sweeps=0))

    def refused(words: str, **changed: object) -> None:
        given = {"model": model, "batches": BATCHES, "formats": "w3,w4a8", "rounder": Gptq(sweeps=0), **changed}
        with pytest.raises(InvalidInput, match=f"holds another bank: {words}.*; name another folder, or delete"):
            mq.round_weights(**given, output=tmp_path)  # type: ignore[arg-type]

    refused(r"its rounder was 'gptq\(damping=0.01, .*sweeps=0.*and is '.*sweeps=1", rounder=Gptq(sweeps=1))
    refused(r"its rounder was .* and is 'nearest'", rounder=Nearest())
    refused("its calibration data was", batches=BATCHES[:1])
    refused("its formats are w3, w4a8, and should be w3", formats="w3")
    refused("its layers are 0, 3, and should be 3", layers=["3"])
    refused("its activation ranges differ", activation_range="minmax")
    other = network()
    with torch.no_grad():
        other.get_parameter("3.weight")[0, 0] += 1
    refused("it was rounded from other weights, those of layer '3' differ", model=other)
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match=r"output '.*file' is a file: name a folder for the bank"):
        mq.round_weights(model, BATCHES, "w3", output=tmp_path / "file")


def test_damaged_cut_and_foreign_files_are_named_with_their_cure(tmp_path: Path) -> None:
    model = network()
    bank = mq.round_weights(model, BATCHES, "w3,w4", output=tmp_path / "bank", rounder="nearest")
    other = mq.round_weights(model, BATCHES, "w3,w4", output=tmp_path / "other")
    held, foreign = bank.store, other.store
    assert isinstance(held, folders.Folder)
    assert isinstance(foreign, folders.Folder)
    first, second = (held.file(layer) for layer in bank.layers)
    entry, whole = bank.formats[0], first.read_bytes()

    def refused(content: bytes, words: str) -> None:
        first.write_bytes(content)
        with pytest.raises(InvalidInput, match=words) as got:
            bank.encoded("0", entry)
        assert str(first) in str(got.value)

    for length in (0, 5, len(whole) // 2, len(whole) - 1):
        refused(whole[:length], "the codes '.*' cannot be read")
    flipped = bytearray(whole)
    flipped[-1] ^= 1
    flipped[-110] ^= 1
    first.write_bytes(bytes(flipped))
    assert any_refused(bank)
    refused(second.read_bytes(), "are not of layer '0' of this bank: the file is another's, delete it and round the")
    refused(foreign.file(bank.layers[0]).read_bytes(), "are not of layer '0' of this bank")
    first.unlink()
    with pytest.raises(InvalidInput, match=r"the codes of layer '0' are missing, '.*': round the network again with"):
        bank.encoded("0", entry)
    assert same(bank.encoded("3", entry), other_nearest(model).encoded("3", entry))
    first.write_bytes(whole[:-1])  # what is damaged is made again
    mq.round_weights(model, BATCHES, "w3,w4", output=tmp_path / "bank", rounder="nearest")
    assert first.read_bytes() == whole


def any_refused(bank: WeightBank) -> bool:
    refusals = 0
    for entry in bank.formats:
        try:
            bank.encoded("0", entry)
        except InvalidInput as error:
            refusals += "are not those that were written: the file was changed, delete it" in str(error)
    return refusals > 0


def other_nearest(model: nn.Module) -> WeightBank:
    return mq.round_weights(model, BATCHES, "w3,w4", rounder="nearest")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"formats": "w3"}, "has formats = 'w3': it must be a list"),
        ({"formats": [{"name": "w99"}]}, "unknown format 'w99'"),
        ({"layers": [{"layer": "0"}]}, "cannot be read"),
        ({"samples": 1.5}, "samples = 1.5: it must be a whole number"),
        ({"schema": "mckp-quant/policy/1"}, "expected a bank"),
        ({"schema": "mckp-quant/bank/2"}, "newer than this version"),
    ],
)
def test_a_damaged_document_is_named(tmp_path: Path, change: dict[str, object], words: str) -> None:
    mq.round_weights(network(), BATCHES, "w3", output=tmp_path, rounder="nearest")
    path = tmp_path / "bank.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InvalidInput, match=words):
        WeightBank.load(tmp_path)
    with pytest.raises(InvalidInput, match=r"bank\.json"):
        mq.round_weights(network(), BATCHES, "w3", output=tmp_path, rounder="nearest")


def test_no_name_of_a_layer_leads_out_of_the_folder_or_to_the_file_of_another(tmp_path: Path) -> None:
    held = folders.Folder(tmp_path, "", {})
    names = ["a", "A", "a/b", "a.b", "../a", "..", "x" * 300, "ä", "a b", "con"]
    files = [held.file(mq.Layer(name, "linear", (2, 2), 2, 1)) for name in names]
    assert all(file.parent == tmp_path for file in files)
    assert len({file.name.lower() for file in files}) == len(names)
    assert max(len(file.name) for file in files) < 120


def test_clearing_a_folder_leaves_what_is_no_part_of_the_bank(tmp_path: Path) -> None:
    mq.round_weights(network(), BATCHES, "w3", output=tmp_path, rounder="nearest")
    (tmp_path / "notes.txt").write_text("mine")
    folders.clear_folder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
