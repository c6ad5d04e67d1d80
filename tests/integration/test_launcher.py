"""The launcher on real processes. Servers alone suffice, and only those that a test needs."""

import contextlib
import hashlib
import json
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from infra.native import processes
from infra.native.cache import cache_folder
from infra.native.components import components
from tests.stack import CHECKOUT, PORTS_OF_A_STACK, Stack, eventually, free_port_base, patient

pytestmark = pytest.mark.stack

KEYS = ["name", "state", "pid", "port", "url", "rss", "restarts", "reason"]
QUICK = ("postgres", "minio")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A scratch folder that other users may enter, so that PostgreSQL can run as one of them."""
    made = Path(tempfile.mkdtemp(prefix="sluice-launcher-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def fresh(folder: Path) -> Iterator[Stack]:
    """A stack that was never started."""
    stack = Stack(folder / "state", free_port_base())
    yield stack
    stack.run("down", "--purge", "--yes")


@pytest.fixture(scope="module")
def servers() -> Iterator[Stack]:
    """PostgreSQL, MinIO and Kafka, shared by the tests that leave them running."""
    made = Path(tempfile.mkdtemp(prefix="sluice-launcher-"))
    made.chmod(0o755)
    stack = Stack(made / "state", free_port_base())
    stack.up("postgres", "minio", "kafka")
    yield stack
    stack.down()
    shutil.rmtree(made, ignore_errors=True)


def belonging_to(stack: Stack) -> list[psutil.Process]:
    """Every process that was started for a stack, the supervisor too."""
    found = {process.pid: process for process in processes.marked(identity(stack))}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any(str(stack.state) in argument for argument in process.cmdline()):
                found[process.pid] = process
    return [process for pid, process in found.items() if pid != os.getpid()]


def identity(stack: Stack) -> str:
    settings = stack.state / "stack.json"
    return str(json.loads(settings.read_text())["identity"]) if settings.exists() else "none"


def supervisor_pid(stack: Stack) -> int:
    return int(json.loads((stack.state / "run" / "parts.json").read_text())["supervisor"]["pid"])


# Start and status


def test_status_is_a_list_of_objects_with_exactly_these_keys(servers: Stack) -> None:
    listed = json.loads(servers.sluice("status", "--json"))
    assert [list(part) for part in listed] == [KEYS] * 10
    assert [part["name"] for part in listed] == [
        "postgres",
        "minio",
        "kafka",
        "trino",
        "gateway",
        "stream",
        "maintenance",
        "gold",
        "verify",
        "ui",
    ]
    for part in listed[:3]:
        assert part["state"] == "ready"
        assert psutil.pid_exists(part["pid"])
        assert part["rss"] > 10 << 20
        assert part["port"] in range(servers.port_base, servers.port_base + 10)
    assert [part["state"] for part in listed[3:]] == ["stopped"] * 7


def test_status_shows_a_table(servers: Stack) -> None:
    shown = servers.sluice("status")
    assert re.search(rf"kafka +ready +127\.0\.0\.1:{servers.port_base + 4} +\d+ +[\d,]+ MiB +0", shown)


def test_up_again_starts_nothing(servers: Stack) -> None:
    before = {name: part["pid"] for name, part in servers.status().items()}
    shown = servers.up("postgres", "minio", "kafka")
    assert "already up" in shown
    assert {name: part["pid"] for name, part in servers.status().items()} == before


def test_only_loopback_listens(servers: Stack) -> None:
    pids = {process.pid for process in belonging_to(servers)}
    listening = {
        connection.laddr.ip.removeprefix("::ffff:")
        for connection in psutil.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.pid in pids
    }
    assert listening <= {"127.0.0.1", "::1"}
    assert listening


def test_passwords_are_random_and_readable_by_the_owner_alone(servers: Stack) -> None:
    settings = servers.state / "stack.json"
    assert stat.S_IMODE(settings.stat().st_mode) == 0o600
    passwords = json.loads(settings.read_text())["passwords"]
    assert len(set(passwords.values())) == 3
    assert all(len(password) >= 32 for password in passwords.values())


def test_the_environment_reaches_the_servers(servers: Stack) -> None:
    import psycopg

    environment = servers.env()
    with psycopg.connect(environment["SLUICE_CATALOG_URI"]) as connection:
        assert connection.execute("select current_database()").fetchone() == ("lake",)
        assert connection.execute("select usesuper from pg_user where usename = current_user").fetchone() == (False,)
    assert environment["SLUICE_KAFKA_BOOTSTRAP"] == f"127.0.0.1:{servers.port_base + 4}"


def test_logs_show_the_last_lines_and_follow(servers: Stack) -> None:
    assert "ready to accept connections" in servers.sluice("logs", "postgres", "-n", "50")
    assert len(json.loads(servers.sluice("logs", "postgres", "-n", "1", "--json"))["lines"]) == 1
    with servers.popen("logs", "postgres", "-f", "-n", "1") as following:
        assert following.stdout is not None
        following.stdout.readline()
        with (servers.state / "log" / "postgres.log").open("a") as log:
            log.write("a line that comes later\n")
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.extend(iter(following.stdout.readline, "")))  # type: ignore[union-attr]
        reader.start()
        eventually(lambda: "a line that comes later\n" in lines, 20)
        following.send_signal(signal.SIGINT)
        reader.join()
        assert following.wait() == 130


def test_an_unknown_part_is_named_with_the_parts_that_are(servers: Stack) -> None:
    done = servers.run("logs", "kafak")
    assert done.returncode == 1
    assert "no part 'kafak'" in done.stderr
    assert "kafka" in done.stderr
    assert "Traceback" not in done.stderr


# Crashes and restarts


def test_a_crash_is_restarted_and_counted(servers: Stack) -> None:
    before = servers.status()["minio"]
    servers.kill("minio")
    after = servers.await_ready("minio", other_than=before["pid"])
    assert after["restarts"] == before["restarts"] + 1


def test_a_killed_kafka_returns_with_its_records(servers: Stack) -> None:
    script = (
        "import asyncio, sys\n"
        "from aiokafka import AIOKafkaConsumer, AIOKafkaProducer\n"
        "from aiokafka.admin import AIOKafkaAdminClient, NewTopic\n"
        "async def main(do, server):\n"
        "    if do == 'write':\n"
        "        admin = AIOKafkaAdminClient(bootstrap_servers=server)\n"
        "        await admin.start()\n"
        "        await admin.create_topics([NewTopic('kept', 1, 1)])\n"
        "        await admin.close()\n"
        "        async with AIOKafkaProducer(bootstrap_servers=server, acks='all') as producer:\n"
        "            for n in range(100): await producer.send_and_wait('kept', b'%d' % n)\n"
        "    else:\n"
        "        async with AIOKafkaConsumer('kept', bootstrap_servers=server, auto_offset_reset='earliest') as consumer:\n"
        "            print([int((await consumer.getone()).value) for _ in range(100)] == list(range(100)))\n"
        "asyncio.run(main(*sys.argv[1:]))\n"
    )
    server = servers.env()["SLUICE_KAFKA_BOOTSTRAP"]
    subprocess.run([sys.executable, "-c", script, "write", server], check=True, timeout=patient(60))
    pid = servers.pid("kafka")
    servers.kill("kafka")
    servers.await_ready("kafka", other_than=pid)
    read = subprocess.run(
        [sys.executable, "-c", script, "read", server], check=True, timeout=patient(60), capture_output=True, text=True
    )
    assert read.stdout.strip() == "True"


def test_restart_gives_a_new_process_and_counts_no_crash(servers: Stack) -> None:
    before = servers.status()["minio"]
    after = json.loads(servers.sluice("restart", "minio", "--json"))
    assert after["pid"] != before["pid"]
    assert (after["state"], after["restarts"]) == ("ready", before["restarts"])


# Refusals


def test_a_taken_port_is_named_with_its_owner_and_the_setting(fresh: Stack) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", fresh.port_base + 3))
        other.listen()
        done = fresh.run("up", "--only", "minio", "--port-base", str(fresh.port_base))
    assert done.returncode == 1
    assert f"Port {fresh.port_base + 3} for minio is taken by pid {os.getpid()} (" in done.stderr
    assert "SLUICE_PORT_MINIO" in done.stderr
    assert belonging_to(fresh) == []


def test_one_port_can_be_chosen_and_is_kept(fresh: Stack) -> None:
    chosen = fresh.port_base + PORTS_OF_A_STACK - 1
    fresh.sluice("up", "--only", "minio", "--port-base", str(fresh.port_base), "--port", f"minio={chosen}")
    fresh.sluice("down")
    fresh.sluice("up", "--only", "minio")
    assert fresh.status()["minio"]["port"] == chosen
    refused = fresh.run("up", "--only", "minio", "--port", f"minio={chosen - 1}")
    assert refused.returncode == 1
    assert "`sluice down` first" in refused.stderr


def test_a_part_that_cannot_start_shows_its_log_and_leaves_nothing(fresh: Stack) -> None:
    fresh.up("minio")
    fresh.sluice("down")
    shutil.rmtree(fresh.state / "data" / "minio")
    (fresh.state / "data" / "minio").mkdir()
    (fresh.state / "data" / "minio" / ".minio.sys").write_text("not a folder")
    done = fresh.run("up", "--only", "minio")
    assert done.returncode == 1
    assert "minio did not start" in done.stderr
    assert "sluice logs minio" in done.stderr
    assert "Traceback" not in done.stderr
    eventually(lambda: belonging_to(fresh) == [], 30, "nothing left")


@pytest.mark.parametrize(
    ("setting", "value"),
    [("SLUICE_PORT_MINIO", "ninety"), ("SLUICE_MEMORY_MINIO", "much"), ("SLUICE_PORT_MINIO", "70000")],
)
def test_a_setting_that_cannot_work_is_named(fresh: Stack, setting: str, value: str) -> None:
    stack = Stack(fresh.state, fresh.port_base, {setting: value})
    done = stack.run("up", "--only", "minio")
    assert done.returncode == 1
    assert setting in done.stderr
    assert value in done.stderr


# Ends


def test_down_ends_everything_of_its_own_and_nothing_else(folder: Path) -> None:
    one, other = (Stack(folder / name, free_port_base()) for name in ("one", "other"))
    one.up(*QUICK)
    other.port_base = free_port_base()
    other.up(*QUICK)
    kept = {name: other.pid(name) for name in QUICK}
    assert one.env()["SLUICE_S3_SECRET_KEY"] != other.env()["SLUICE_S3_SECRET_KEY"]
    one.sluice("down")
    assert belonging_to(one) == []
    assert {name: other.pid(name) for name in QUICK} == kept
    assert all(part["state"] == "ready" for name, part in other.status().items() if name in QUICK)
    other.down()
    assert belonging_to(other) == []
    one.down()


def test_a_ctrl_c_during_up_leaves_nothing(fresh: Stack) -> None:
    with fresh.popen(
        "up", "--only", "postgres,minio,kafka", "--port-base", str(fresh.port_base), start_new_session=True
    ) as up:
        eventually(lambda: len(belonging_to(fresh)) >= 3, 60, "some parts started")
        os.killpg(up.pid, signal.SIGINT)
        assert up.wait(patient(60)) == 130
    assert belonging_to(fresh) == []


def test_down_ends_the_parts_of_a_supervisor_that_was_killed(fresh: Stack) -> None:
    fresh.up(*QUICK)
    os.kill(supervisor_pid(fresh), signal.SIGKILL)
    shown = eventually(lambda: (text := fresh.sluice("status")) and "supervisor is gone" in text and text, 10)
    assert "unsupervised" in shown
    fresh.sluice("down")
    assert belonging_to(fresh) == []


def test_up_takes_over_the_parts_of_a_supervisor_that_was_killed(fresh: Stack) -> None:
    fresh.up(*QUICK)
    before = {name: fresh.pid(name) for name in QUICK}
    os.kill(supervisor_pid(fresh), signal.SIGKILL)
    fresh.up(*QUICK)
    assert {name: fresh.pid(name) for name in QUICK} == before
    fresh.kill("minio")
    assert fresh.await_ready("minio", other_than=before["minio"])["restarts"] == 1


def test_a_deleted_checkout_takes_its_processes_with_it(fresh: Stack) -> None:
    fresh.up("minio")
    left = belonging_to(fresh)
    assert len(left) == 2

    def deleted() -> bool:
        shutil.rmtree(fresh.state, ignore_errors=True)  # a process may write into it meanwhile
        return not fresh.state.exists()

    eventually(deleted, 20, "the folder is gone")
    eventually(lambda: not any(process.is_running() for process in left), 60, "all ended")


def test_purge_asks_first(fresh: Stack) -> None:
    fresh.up("minio")
    done = fresh.run("down", "--purge")
    assert done.returncode == 1
    assert "--yes" in done.stderr
    assert fresh.status()["minio"]["state"] == "ready"
    fresh.sluice("down", "--purge", "--yes")
    assert not fresh.state.exists()


def test_a_repeated_down_is_harmless(fresh: Stack) -> None:
    assert "no stack" in fresh.sluice("down")


# Users


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
