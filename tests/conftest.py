"""Fixtures that need servers. They are the real ones, started once for a test run."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from catalog.settings import BUNDLED_CONTRACTS, LakeSettings, read_settings
from tests.stack import Stack, running_stack

# A busy machine is no failure. The same examples each time, so that a change is judged by what it changes; new ones are
# looked for on purpose: HYPOTHESIS_PROFILE=search.
settings.register_profile("sluice", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "sluice"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What shares the stack comes last: it takes its part of the processors while it runs, and is started when it is needed."""

    def shares(item: pytest.Item) -> bool:
        # A module may have a stack of its own by that name.
        return "stack" in getattr(item, "fixturenames", ()) and not hasattr(getattr(item, "module", None), "stack")

    items.sort(key=shares)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole stack on free ports; tests share it, so each uses records and ids of its own.

    Its contracts are a copy, to which a test may add a stream. Its stream job can be killed at named points.
    SLUICE_KEEP=1 leaves the stack running, SLUICE_TEST_STATE=FOLDER runs the tests on one that was left.
    """
    if kept := os.environ.get("SLUICE_TEST_STATE"):
        yield Stack(Path(kept), 0)
        return
    contracts = tmp_path_factory.mktemp("contracts", numbered=False)
    shutil.copytree(BUNDLED_CONTRACTS, contracts, dirs_exist_ok=True)
    with running_stack(
        settings={"SLUICE_CONTRACTS": str(contracts), "SLUICE_STREAM_FAULTS": "1", "SLUICE_STREAM_LEASE_PATIENCE": "5"}
    ) as running:
        yield running


@pytest.fixture(scope="session")
def contracts(stack: Stack) -> Path:
    """The folder of the stack's contracts."""
    return Path(stack.env()["SLUICE_CONTRACTS"])


@pytest.fixture(scope="session")
def lake(stack: Stack) -> Iterator[LakeSettings]:
    """The stack's addresses, in this process's environment too."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stack.env().items():
            patch.setenv(name, value)
        yield read_settings(LakeSettings)
