"""What is said while parts start, and what is not changed under them."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from catalog.errors import SluiceError
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


def test_a_running_explorer_is_not_opened_by_a_setting_that_only_the_next_start_can_follow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control.View, "running", lambda _: ["ui"])
    for bind, refused in (("0.0.0.0", True), ("127.0.0.1", False)):
        closed = {"SLUICE_BIND": bind}
        config.save(config.choose(tmp_path, closed))
        launch._refuse_moving(config.choose(tmp_path, closed), control.View(True, {}))
        opened = config.choose(tmp_path, {**closed, "SLUICE_UI_ALLOW_UNAUTHENTICATED": "true"})
        if refused:
            with pytest.raises(SluiceError, match=r"SLUICE_UI_ALLOW_UNAUTHENTICATED.*`sluice down` first"):
                launch._refuse_moving(opened, control.View(True, {}))
        else:
            launch._refuse_moving(opened, control.View(True, {}))
