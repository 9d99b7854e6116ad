"""Bytes of blocks against the Python package of GGUF, which reads them as runtimes do."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from mckp_quant.errors import InvalidInput
from mckp_quant.formats.blocks import GGML_FORMATS
from mckp_quant.rounding.ggml.kinds import KINDS, kind_of
from mckp_quant.rounding.ggml.layout import from_bytes, to_bytes

gguf = pytest.importorskip("gguf")


@pytest.mark.parametrize("name", GGML_FORMATS)
def test_any_bytes_are_read_to_the_last_bit_and_written_again(name: str) -> None:
    kind = kind_of(name)
    data = np.random.default_rng(len(name)).integers(0, 256, (300, kind.nbytes), dtype=np.uint8)
    blocks = from_bytes(torch.from_numpy(data), kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some scales are infinite
        wanted = gguf.dequantize(data, gguf.GGMLQuantizationType[name.upper()])
    found = blocks.values(kind).numpy()
    assert ((wanted.view(np.uint32) == found.view(np.uint32)) | (np.isnan(wanted) & np.isnan(found))).all()
    assert (to_bytes(blocks, kind).numpy() == data).all()


def test_every_format_is_a_type_and_another_is_refused() -> None:
    assert set(KINDS) == set(GGML_FORMATS)
    assert all(kind.bits == GGML_FORMATS[name] and kind.block % kind.sub == 0 for name, kind in KINDS.items())
    with pytest.raises(InvalidInput, match="unknown type of ggml 'q4_l': did you mean '"):
        kind_of("q4_l")
