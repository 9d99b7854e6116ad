from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from mckp_quant.network.checkpoints import mapped
from mckp_quant.network.checkpoints.mapped import in_files

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.skipif(not mapped._MAPS.exists(), reason="only Linux says what is mapped")
def test_tensors_of_a_mapped_file_are_told_from_others(tmp_path: Path) -> None:
    (tmp_path / "numbers").write_bytes(bytes(4 * 5000))
    whole = torch.from_file(str(tmp_path / "numbers"), shared=False, size=5000, dtype=torch.float32)
    tensors = [whole, whole[4000:], torch.zeros(5000), torch.zeros(0), torch.zeros(3, device="meta")]
    assert in_files(tensors) == [True, True, False, False, True]


def test_nothing_is_mapped_where_the_system_does_not_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped, "_MAPS", tmp_path / "none")
    assert in_files([torch.zeros(3)]) == [False]
