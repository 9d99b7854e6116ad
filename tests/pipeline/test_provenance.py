from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import torch

import mckp_quant as mq
from mckp_quant.pipeline import Settings
from mckp_quant.pipeline.calibration import part_data
from mckp_quant.pipeline.provenance import (
    check_same_run,
    fingerprint_of,
    outputs_document,
    provenance_of,
    settings_document,
    with_steps,
    write_provenance,
)
from mckp_quant.rounding import Nearest
from mckp_quant.sensitivity import Hutchinson
from mckp_quant.tables import schema

from ..search import small
from ..tables.test_schemas import complaints

if TYPE_CHECKING:
    from pathlib import Path


def written(folder: Path, outputs: mq.Outputs = mq.Outputs(), seed: int = 0) -> Any:
    """The fingerprint of the small network, whose provenance is in the folder then."""
    model = small.network()
    data = part_data(small.data(), 0.25, model, Nearest(), seed=seed, max_batches=None)
    found = fingerprint_of(model, data, outputs)
    document = provenance_of(found, data, mq.Request({"bops": 5}), Settings(), seed, datetime.now(UTC))
    whole = with_steps(document, [])
    assert complaints(schema("provenance"), {"schema": "mckp-quant/provenance/1", **whole}) == []
    write_provenance(folder, whole)
    return found


def test_the_same_network_may_go_on_whatever_else_changed(tmp_path: Path) -> None:
    check_same_run(tmp_path, written(tmp_path))
    check_same_run(tmp_path, written(tmp_path, seed=4))


def test_a_network_that_computes_something_else_is_another_though_its_weights_are_not(tmp_path: Path) -> None:
    known = written(tmp_path)
    negative = mq.Outputs(take=lambda returned: -returned)
    model = small.network()
    data = part_data(small.data(), 0.25, model, Nearest(), seed=0, max_batches=None)
    with pytest.raises(mq.InvalidInput, match="another run: the outputs of the first batch differ"):
        check_same_run(tmp_path, fingerprint_of(model, data, negative))
    with pytest.raises(mq.InvalidInput, match="another run: likelihood was categorical, and is gaussian"):
        check_same_run(tmp_path, fingerprint_of(model, data, mq.Outputs(likelihood="gaussian")))
    changed = dataclasses.replace(known, tensors={**known.tensors, "0.weight": "x"})
    with pytest.raises(mq.InvalidInput, match=r"the network's '0\.weight' differs; name another folder, or delete"):
        check_same_run(tmp_path, changed)


def test_a_folder_without_provenance_is_free(tmp_path: Path) -> None:
    known = written(tmp_path / "one")
    check_same_run(tmp_path / "two", known)
    write_provenance(tmp_path / "one", {})
    with pytest.raises(mq.InvalidInput, match="it does not say of which network"):
        check_same_run(tmp_path / "one", known)


def test_options_are_plain_and_say_what_rounders_and_estimators_are() -> None:
    settings = Settings(
        formats=["w2", mq.Format.named("w4")], rounder=mq.Gptq(damping=0.5), method=Hutchinson(probes=3)
    )
    found = settings_document(settings)
    assert found["formats"] == ["w2", "w4"]
    assert found["rounder"].startswith("gptq(damping=0.5")
    assert "probes=3" in found["method"]
    outputs = mq.Outputs(take=torch.abs, class_dim=1)
    assert "take" not in outputs_document(outputs)
    assert outputs_document(outputs)["class_dim"] == 1
