from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from mckp_quant.export import available

if TYPE_CHECKING:
    from collections.abc import Callable

REQUIRE = "MCKP_QUANT_REQUIRE_EXPORTS"  # set where every target's packages are installed: then a skip is a failure


@pytest.fixture(scope="session")
def needs() -> Callable[[str], None]:
    """Skips a test of a target whose packages are missing, and says how to install them."""

    def check(target: str) -> None:
        reason = available()[target]
        if reason is None:
            return
        if os.environ.get(REQUIRE):
            pytest.fail(f"{target}: {reason}")
        pytest.skip(f"{target}: {reason}")

    return check
