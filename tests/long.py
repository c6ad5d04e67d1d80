"""Which cases of a test belong to `sluice test --long` alone."""

from collections.abc import Sequence
from typing import Any

import pytest


def chosen(cases: Sequence[str], *each_time: str) -> list[Any]:
    """Parameters for all cases; those that are not named are marked `long`."""
    return [case if case in each_time else pytest.param(case, marks=pytest.mark.long) for case in cases]
