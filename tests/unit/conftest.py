"""Unit tests know no stack: what an integration test of the same run left in the environment is not theirs."""

import os
import shutil
from pathlib import Path

import pytest

from catalog.contract import SUFFIX
from catalog.settings import BUNDLED_CONTRACTS

# Where the launcher keeps things, which is true of any test.
KEPT = {"SLUICE_CACHE", "SLUICE_PYTHON", "SLUICE_IVY_SETTINGS"}


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only defaults, and what the test sets itself."""
    for name in [name for name in os.environ if name.startswith("SLUICE_") and name not in KEPT]:
        monkeypatch.delenv(name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of contracts that holds one: orders."""
    shutil.copy(BUNDLED_CONTRACTS / f"orders{SUFFIX}", tmp_path)
    return tmp_path
