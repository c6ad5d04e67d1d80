"""Root and ordinary users run a stack."""

import hashlib
import os
import pwd
import re
import secrets
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from infra.native.cache import cache_folder
from infra.native.components import components
from tests.launcher import QUICK
from tests.stack import CHECKOUT, Stack, free_port_base

pytestmark = pytest.mark.stack


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user runs all other tests of this file as one")
@pytest.mark.parametrize("mode", [0o755, 0o700])
def test_root_runs_postgresql_without_its_rights_and_opens_no_folder(fresh: Stack, folder: Path, mode: int) -> None:
    folder.chmod(mode)
    fresh.up("postgres")
    facts = Path(f"/proc/{fresh.pid('postgres')}/status").read_text()
    assert re.search(r"^CapEff:\s+0+$", facts, re.MULTILINE)
    assert stat.S_IMODE(folder.stat().st_mode) == mode
    pid = fresh.pid("postgres")
    fresh.kill("postgres")
    fresh.await_ready("postgres", other_than=pid)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_ordinary_user_runs_a_stack(folder: Path) -> None:
    """The user has a checkout of its own and finds a filled cache that it may only read."""
    user = f"sluice-{secrets.token_hex(4)}"  # another run may be under way, or have been killed
    subprocess.run(
        ["useradd", "--create-home", "--home-dir", str(folder / "home"), user], check=True, capture_output=True
    )
    try:
        account = pwd.getpwnam(user)
        as_user = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
        # Through a shell: setpriv itself still has root's rights when it starts a program.
        may_run = [*as_user, "/bin/sh", "-c", '"$1" -c ""', "sh"]
        usable = [
            path
            for path in pythons()
            if not subprocess.run([*may_run, path], capture_output=True, check=False).returncode
        ]
        python = next(iter(usable), None)
        if python is None:
            pytest.skip("no Python of this version that another user may run")
        checkout = folder / "home" / "sluice"
        checkout.mkdir()
        for name in ("sluice", "requirements.lock", "infra", "catalog"):
            subprocess.run(["cp", "-r", str(CHECKOUT / name), str(checkout / name)], check=True)
        subprocess.run(["chown", "-R", f"{user}:", str(checkout)], check=True)
        link_cache(folder / "cache", python)
        as_user += ["env", f"HOME={folder / 'home'}", f"SLUICE_CACHE={folder / 'cache'}", str(checkout / "sluice")]
        stack = Stack(checkout / ".sluice", free_port_base(), launcher=as_user)
        stack.up(*QUICK)
        assert {psutil.Process(stack.pid(part)).username() for part in QUICK} == {user}
        stack.down()
        assert not stack.state.exists()
    finally:
        subprocess.run(["userdel", user], check=True, capture_output=True)


def pythons() -> list[str]:
    """Pythons of the version that the environment was made with."""
    return [sys._base_executable, f"/usr/bin/python3.{sys.version_info.minor}"]  # type: ignore[attr-defined]


def link_cache(target: Path, python: str) -> None:
    """What two servers and the launcher need of this user's cache, as links to the same files."""
    key = hashlib.sha256((CHECKOUT / "requirements.lock").read_bytes()).hexdigest()[:16]
    environment = target / "env" / f"py3.{sys.version_info.minor}-{key}"
    links = {Path(sys.prefix): environment}
    for name in QUICK:
        source = components()[name].folder(cache_folder())
        links[source] = target / name / source.name
    for source, link in links.items():
        link.parent.mkdir(parents=True, exist_ok=True)
        if subprocess.run(["cp", "-al", str(source), str(link)], check=False, capture_output=True).returncode:
            shutil.rmtree(link, ignore_errors=True)
            shutil.copytree(source, link, symlinks=True)
    (environment / ".complete").touch()
    for name in ("python", "python3", f"python3.{sys.version_info.minor}"):
        (environment / "bin" / name).unlink(missing_ok=True)
    (environment / "bin" / "python").symlink_to(python)
    (environment / "pyvenv.cfg").unlink()  # a link: the original must stay as it is
    (environment / "pyvenv.cfg").write_text(f"home = {Path(python).parent}\ninclude-system-site-packages = false\n")
