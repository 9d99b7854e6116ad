from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import mckp_quant as mq
from mckp_quant.pipeline.judged_files import load_validation, save_validation

from ..search import small

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("targets", [True, False])
def test_a_validation_is_read_as_it_was_written_sample_by_sample(targets: bool, tmp_path: Path) -> None:
    data = small.data(seed=4)
    policy = mq.allocate(small.table(), {"weight_bytes": "45%"}).policy
    found = mq.validate(small.network(), policy, data if targets else [inputs for inputs, _ in data])
    save_validation(found, tmp_path / "validation.npz")
    again = load_validation(tmp_path / "validation.npz")
    assert again.document() == found.document()
    for old, new in zip(found.rows, again.rows, strict=True):
        assert old.policy == new.policy
        assert np.array_equal(old.measured.totals, new.measured.totals, equal_nan=True)
        assert np.isnan(new.measured.loss) == (not targets)
    assert again.rows[0].measured.kl_difference(again.policy.measured) == found.rows[0].measured.kl_difference(
        found.policy.measured
    )


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", inputs=np.zeros(3))
    with pytest.raises(mq.InvalidInput, match=r"other\.npz"):
        load_validation(tmp_path / "other.npz")
