from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mckp_quant import Format, InvalidInput, Policy
from mckp_quant.export import export
from mckp_quant.export.writers import to_huggingface

from ..networks import llama

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_networks_whose_weights_are_unpacked_have_one_format(
    tmp_path: Path, needs: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """transformers 5.23 unpacks all layers by the first config group that it finds."""
    needs("hf")
    monkeypatch.setattr(to_huggingface, "_reads_weights", lambda *_: True)
    network = llama()
    names = [layer.name for layer in network.layers if layer.kind == "linear"][:2]
    policy = Policy(tuple(names), tuple(map(Format.named, ("w4g32", "w8"))))
    with pytest.raises(InvalidInput, match=r"LlamaForCausalLM reads .* by one format: these are in w4g32, w8"):
        export(policy, "hf", model=network.model, output=tmp_path / "made")
    assert not list(tmp_path.iterdir())
