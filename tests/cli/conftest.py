from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results are as wide as they like, so that tests find sentences in one line; those of widths set their own."""
    monkeypatch.setenv("COLUMNS", "1000")
