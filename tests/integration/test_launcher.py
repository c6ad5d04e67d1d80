"""The launcher on real processes: what it starts, shows and starts again. A test starts only the servers that it needs."""

import asyncio
import json
import re
import signal
import stat
import threading
from collections.abc import Iterator

import psutil
import pytest
from aiokafka.admin import NewTopic

from catalog import kafka_client
from tests.launcher import belonging_to
from tests.stack import Stack, eventually, patient, running_stack

pytestmark = pytest.mark.stack
KEYS = ["name", "state", "pid", "port", "url", "rss", "restarts", "reason"]


@pytest.fixture(scope="module")
def servers() -> Iterator[Stack]:
    """PostgreSQL, MinIO and Kafka, shared by the tests that leave them running."""
    with running_stack("postgres", "minio", "kafka") as running:
        yield running


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
        assert part["port"] in range(servers.port_base, servers.port_base + 16)
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


def test_a_crash_is_restarted_and_counted(servers: Stack) -> None:
    before = servers.status()["minio"]
    servers.kill("minio")
    after = servers.await_ready("minio", other_than=before["pid"])
    assert after["restarts"] == before["restarts"] + 1


def test_a_killed_kafka_returns_with_its_records(servers: Stack) -> None:
    lake = servers.lake()

    async def write() -> None:
        async with kafka_client.admin(lake) as admin:
            await admin.create_topics([NewTopic("kept", 1, 1)])
        async with kafka_client.producer(lake, acks="all") as producer:
            for n in range(100):
                await producer.send_and_wait("kept", b"%d" % n)

    async def read() -> list[int]:
        async with kafka_client.consumer(lake, "kept", auto_offset_reset="earliest") as consumer:
            return [int((await consumer.getone()).value) for _ in range(100)]

    asyncio.run(write())
    pid = servers.pid("kafka")
    servers.kill("kafka")
    servers.await_ready("kafka", other_than=pid)
    assert asyncio.run(asyncio.wait_for(read(), patient(60))) == list(range(100))


def test_restart_gives_a_new_process_and_counts_no_crash(servers: Stack) -> None:
    before = servers.status()["minio"]
    after = json.loads(servers.sluice("restart", "minio", "--json"))
    assert after["pid"] != before["pid"]
    assert (after["state"], after["restarts"]) == ("ready", before["restarts"])
