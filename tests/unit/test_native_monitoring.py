"""Prometheus and Alertmanager as native parts: what is written for them, and what is said where they are not installed."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from catalog.errors import SluiceError
from infra.native import checkup, config, monitoring, parts

JOBS = {"gateway", "stream", "maintenance", "verify", "gold", "ui", "prometheus"}


def test_nothing_of_it_starts_unless_it_is_asked_for() -> None:
    assert not set(monitoring.PARTS) & set(parts.selection(None))
    assert parts.selection(None, ["monitoring"]) == [*parts.SERVICES, "alertmanager", "prometheus"]
    assert parts.selection("kafka", ["monitoring"]) == ["kafka", "alertmanager", "prometheus"]
    with pytest.raises(SluiceError, match="--with tracing: there is nothing of that name; it may be monitoring"):
        parts.selection(None, ["tracing"])


def test_every_part_with_metrics_is_scraped_at_its_own_port(tmp_path: Path) -> None:
    stack = config.choose(tmp_path, {}, base=21000)
    written = yaml.safe_load(monitoring.configuration(stack))
    targets = {job["job_name"]: job["static_configs"][0]["targets"] for job in written["scrape_configs"]}
    own = {"gateway": "gateway_metrics"}  # where it asks nobody for a key
    assert targets == {name: [f"127.0.0.1:{stack.ports[own.get(name, name)]}"] for name in JOBS}
    told = parts.build(stack, "gateway").environment
    assert (told["SLUICE_GATEWAY_METRICS_HOST"], told["SLUICE_GATEWAY_METRICS_PORT"]) == (
        "127.0.0.1",
        str(stack.ports["gateway_metrics"]),
    )
    (alertmanagers,) = written["alerting"]["alertmanagers"]
    assert alertmanagers["static_configs"] == [{"targets": [f"127.0.0.1:{stack.ports['alertmanager']}"]}]


def test_prometheus_takes_what_is_written_with_all_rules(tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("no promtool here (Debian: package prometheus): what is written was not checked by it")
    (tmp_path / "prometheus.yaml").write_text(monitoring.configuration(config.choose(tmp_path / "state", {})))
    done = subprocess.run(
        ["promtool", "check", "config", "prometheus.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rules = sorted((monitoring.FOLDER / "prometheus" / "rules").glob("*.yaml"))
    assert rules
    assert all(str(file) in done.stdout for file in rules)


def test_both_listen_on_loopback_wherever_the_others_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(tmp_path, monkeypatch, "prometheus", "alertmanager")
    stack = config.choose(tmp_path / "state", {"SLUICE_BIND": "0.0.0.0"})
    for name in monitoring.PARTS:
        part = parts.build(stack, name)
        assert f"--web.listen-address=127.0.0.1:{stack.ports[name]}" in part.command
    assert "--cluster.listen-address=" in parts.build(stack, "alertmanager").command


def test_one_line_says_what_is_not_installed_and_how_to_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, monkeypatch)
    with pytest.raises(SluiceError) as refused:
        monitoring.require_installed(parts.selection(None, ["monitoring"]))
    assert str(refused.value) == (
        "alertmanager and prometheus are not installed (not in PATH): "
        "apt-get install --no-install-recommends prometheus-alertmanager prometheus"
    )
    installed(tmp_path, monkeypatch, "prometheus")
    with pytest.raises(SluiceError, match=r"^alertmanager is not installed .* prometheus-alertmanager$"):
        monitoring.require_installed(monitoring.PARTS)
    monitoring.require_installed(parts.SERVICES)


def test_doctor_notes_it_as_nothing_that_stops_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(tmp_path, monkeypatch, "prometheus")
    found = {finding.subject: finding for finding in checkup.findings(tmp_path / "state", os.environ)}
    assert found["prometheus"].verdict == "ok"
    assert found["alertmanager"].verdict == "note"
    assert found["alertmanager"].remedy.endswith("prometheus-alertmanager")


def test_a_configuration_of_alertmanager_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, monkeypatch, "alertmanager")
    monkeypatch.setenv("SLUICE_ALERTMANAGER_CONFIG", str(tmp_path / "none.yaml"))
    part = parts.build(config.choose(tmp_path / "state", {}), "alertmanager")
    assert f"--config.file={tmp_path / 'none.yaml'}" in part.command
    with pytest.raises(SluiceError, match=r"SLUICE_ALERTMANAGER_CONFIG=.*none\.yaml' is no file"):
        part.prepare()


def installed(folder: Path, monkeypatch: pytest.MonkeyPatch, *programs: str) -> None:
    """Make a PATH that has these programs and nothing else."""
    path = folder / "bin"
    path.mkdir(exist_ok=True)
    for name in programs:
        (path / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(path))
