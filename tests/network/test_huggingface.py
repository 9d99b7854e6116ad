from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from mckp_quant import InvalidInput
from mckp_quant.network.huggingface import load_model, load_tokenizer, text_batches

from ..checkpoints import TEXT, checkpoint

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("hf"))


class Letters:
    """A token for each character, after a mark of the beginning."""

    def encode(self, text: str, *, add_special_tokens: bool) -> Sequence[int]:
        return [0] * add_special_tokens + [ord(letter) for letter in text]


def test_a_checkpoint_comes_back_in_its_own_type_or_another_or_without_weights(folder: Path) -> None:
    model = load_model(folder)
    assert not model.training
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert {parameter.dtype for parameter in load_model(folder, dtype=torch.float32).parameters()} == {torch.float32}
    empty = load_model(folder, weights=False)
    shapes = {name: each.shape for name, each in model.named_parameters()}
    assert {name: each.shape for name, each in empty.named_parameters()} == shapes
    assert all(parameter.is_meta for parameter in empty.parameters())


def test_windows_follow_each_other_and_begin_with_what_the_tokenizer_begins_with(tmp_path: Path) -> None:
    text = "".join(f"{n % 10}" + "\n" * (n % 7 == 0) for n in range(100))
    (tmp_path / "text").write_text(text)
    batches = list(text_batches(Letters(), tmp_path / "text", tokens=8, batch_size=3))
    windows = torch.cat([batch["input_ids"] for batch in batches])
    assert windows.shape == (len(text) // 7, 8)
    assert not windows[:, 0].any()
    assert "".join(map(chr, windows[:, 1:].flatten().tolist())) == text[: len(text) // 7 * 7]
    assert {len(batch["input_ids"]) for batch in batches[:-1]} == {3}
    assert all(batch["labels"].equal(batch["input_ids"]) for batch in batches)


def test_a_text_is_read_only_as_far_as_batches_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mckp_quant.network.huggingface._CHARACTERS", 10)
    (tmp_path / "text").write_text("abcdefg\n" * 50)
    read: list[str] = []

    class Noting(Letters):
        def encode(self, text: str, *, add_special_tokens: bool) -> Sequence[int]:
            read.append(text)
            return super().encode(text, add_special_tokens=add_special_tokens)

    next(text_batches(Noting(), tmp_path / "text", tokens=8, batch_size=1))
    assert len("".join(read)) <= 16


def test_the_tokenizer_of_a_checkpoint_puts_its_mark_before_every_window(folder: Path) -> None:
    batch = next(text_batches(load_tokenizer(folder), folder / TEXT, tokens=6, batch_size=2))
    assert batch["input_ids"].shape == (2, 6)
    assert batch["input_ids"][:, 0].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("tokens", "size", "text", "message"),
    [
        (8, 0, "abc", "batch_size is 0: it must be a whole number, at least 1"),
        (2, 1, "abc", "tokens is 2: it must be a whole number, at least 3"),
        (8, 1, "abc", "has 3 tokens, fewer than one window of 8"),
        (8, 1, None, "cannot read the text .*No such file"),
    ],
)
def test_a_text_that_gives_no_window_is_refused(
    tokens: int, size: int, text: str | None, message: str, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / "text").write_text(text)
    with pytest.raises(InvalidInput, match=message):
        list(text_batches(Letters(), tmp_path / "text", tokens=tokens, batch_size=size))


def test_what_is_no_checkpoint_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"is no checkpoint, since it holds no config\.json"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickled")
    with pytest.raises(InvalidInput, match=r"has no \*.safetensors: weights in other files, which would be unpickled"):
        load_model(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"cut off")
    with pytest.raises(InvalidInput, match="cannot be read: "):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InvalidInput, match="cannot be read: "):
        load_model(tmp_path, weights=False)
