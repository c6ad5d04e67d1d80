"""What is said while parts start."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from infra.native import config, control, launch
from infra.native.runner import Status


def test_a_part_that_takes_long_is_named_also_where_no_terminal_shows_a_spinner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = config.choose(tmp_path, {})
    out = io.StringIO()

    def view(_: Path) -> control.View:
        state = "ready" if "waiting for trino" in out.getvalue() else "starting"
        return control.View(True, {"trino": Status("trino", state)})

    monkeypatch.setattr(control, "view", view)
    monkeypatch.setattr(launch, "WORD_EVERY", 0.0)
    launch._await_ready(stack, ["trino"], Console(file=out, width=200))
    assert "trino        ready" in out.getvalue()
