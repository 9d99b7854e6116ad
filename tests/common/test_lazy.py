from __future__ import annotations

import pytest

import mckp_quant
from mckp_quant import Policy
from mckp_quant.common.lazy import lazy_names


def test_lazy_names_are_found_renamed_or_refused() -> None:
    load = lazy_names("mckp_quant", {"Policy": ".policy", "export": ".export"}, {"Plcy": "mckp_quant.Policy"})
    assert load("Policy") is Policy
    assert load("export").__name__ == "mckp_quant.export"
    with pytest.raises(AttributeError, match=r"^mckp_quant\.Plcy is now mckp_quant\.Policy$"):
        load("Plcy")
    with pytest.raises(AttributeError, match=r"^module 'mckp_quant' has no attribute 'Polcy'$"):
        load("Polcy")


def test_every_public_name_of_the_package_is_found_and_listed() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    for name in mckp_quant.__all__:
        assert getattr(mckp_quant, name) is not None
    assert set(mckp_quant.__all__) <= set(dir(mckp_quant))
    assert len(set(mckp_quant.__all__)) == len(mckp_quant.__all__)
