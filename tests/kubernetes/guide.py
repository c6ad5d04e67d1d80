"""The commands of docs/operations.md, run as they stand there in a folder that looks like the checkout."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.stack import CHECKOUT

GUIDE = CHECKOUT / "docs" / "operations.md"
BLOCK = re.compile(r"^```sh cluster\n(.*?)^```", re.MULTILINE | re.DOTALL)
WAIT = "until (exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null; do sleep 0.2; done\n"
FORWARD = re.compile(r"^kubectl port-forward .* (\d+):\d+ &.*\n", re.MULTILINE)


def blocks(heading: str) -> list[str]:
    """The blocks for a cluster of a section, in their order."""
    (section,) = re.findall(rf"^#+ {re.escape(heading)}\n(.*?)(?=^##|\Z)", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    found = BLOCK.findall(section)
    assert found, heading
    return found


def run(block: str, folder: Path, instead: Mapping[str, str]) -> str:
    """What the commands print, with `bash -e`. A forward is waited for, as a person does, and ends with them.

    `instead` names what a test has in the place of what stands there; it must stand there.
    """
    for text, other in instead.items():
        assert text in block, f"{text!r} is not in {block}"
        block = block.replace(text, other)
    block = FORWARD.sub(lambda found: found[0] + WAIT.format(port=found[1]), block)
    script = f"trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{block}"
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=folder, text=True, capture_output=True, timeout=1500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{block}\nexit {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout
