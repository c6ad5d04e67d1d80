"""Unit tests know no stack: what an integration test of the same run left in the environment is not theirs."""

import os

import pytest

# Where the launcher keeps things, which is true of any test.
KEPT = {"SLUICE_CACHE", "SLUICE_PYTHON", "SLUICE_IVY_SETTINGS"}


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only defaults, and what the test sets itself."""
    for name in [name for name in os.environ if name.startswith("SLUICE_") and name not in KEPT]:
        monkeypatch.delenv(name)
