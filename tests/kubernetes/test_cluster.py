"""`kubectl apply -k`: events in over HTTP come out of Trino, and pods may end in the middle of it."""

import json
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import httpx
import pytest
from playwright.sync_api import expect
from pyarrow.fs import S3FileSystem

from catalog import query
from catalog.settings import LakeSettings
from infra.demo.generate import users
from tests.browser.conftest import PATIENCE, chromium
from tests.kubernetes.conftest import READY, Cluster, load
from tests.stack import eventually, free_port_base

COUNT = 6_000
SECRETS_OF_TLS = ("servers", "gateway", "metrics")
WRITES = """
import asyncio
from catalog import kafka_client
from catalog.settings import lake_settings
async def write():
    async with kafka_client.producer(lake_settings()) as producer:
        await producer.send_and_wait("users", b"{}")
asyncio.run(write())
"""

TOUCHES = """
import psycopg
from catalog.lake import file_system
from catalog.settings import lake_settings
lake = lake_settings()
with psycopg.connect(lake.catalog_uri) as connection:
    of_silver = "from iceberg_tables where table_namespace = 'silver'"
    seen = connection.execute(f"select count(*) {of_silver}").fetchone()[0]
    try:
        deleted = connection.execute(f"delete {of_silver}").rowcount
    except psycopg.errors.InsufficientPrivilege:
        deleted = 0
    connection.rollback()
    print("the catalog refuses" if seen and not deleted else f"{deleted} of {seen} were deleted")
try:
    with file_system(lake).open_output_stream(f"{lake.warehouse.removeprefix('s3://')}/silver/x") as file:
        file.write(b"x")
except OSError as failure:
    print("the store refuses" if "ACCESS_DENIED" in str(failure) else failure)
"""

# The first test waits for the whole stack.
pytestmark = pytest.mark.timeout(2400)


def rows(
    cluster: Cluster, sql: str, user: str = "sluice", key: str = "TRINO_OPERATOR_PASSWORD"
) -> list[dict[str, Any]]:
    """What Trino answers to an account of the stack, over a forwarded port."""
    with cluster.forwarded("service/trino", 8443) as port, NamedTemporaryFile("w", suffix=".pem") as certificate:
        certificate.write(cluster.secret("trino-tls", "tls.crt"))
        certificate.flush()
        lake = LakeSettings.model_construct(
            trino_url=f"https://127.0.0.1:{port}", catalog_name="lake", trino_user=user,
            trino_password=cluster.secret("sluice-secrets", key), trino_ca=Path(certificate.name),
        )  # fmt: skip
        return query.rows(lake, sql)


def test_event_goes_in_at_the_gateway_and_comes_out_of_trino(cluster: Cluster) -> None:
    with cluster.forwarded("service/gateway", 8000) as port:
        address = f"http://127.0.0.1:{port}/v1/streams/users/events"
        assert httpx.post(address, json=next(iter(users(1))), timeout=30).status_code == 401, "a key is required"
        bearer = {"Authorization": f"Bearer {cluster.key}"}
        answer = httpx.post(address, json=next(iter(users(1))), headers=bearer, timeout=30)
    assert answer.status_code == 202, answer.text
    eventually(lambda: rows(cluster, "select 1 from silver.users"), 180, "the row in Trino")


def test_metrics_of_the_gateway_need_no_key_where_prometheus_asks(cluster: Cluster) -> None:
    for port, status in ((8000, 401), (8094, 200)):
        with cluster.forwarded("service/gateway", port) as local:
            assert httpx.get(f"http://127.0.0.1:{local}/metrics", timeout=30).status_code == status


def test_newcomer_gets_from_the_guide_to_an_answer(cluster: Cluster) -> None:
    """Up to where the cluster is Ready the fixture has followed it."""
    base = free_port_base()
    own = {f"1700{place}": str(base + place) for place in range(3)}
    own |= {"SLUICE_API_KEY=…": f"SLUICE_API_KEY={cluster.key}", "./sluice sql": "./sluice sql --json"}
    printed = cluster.guide("From nothing to an answer", 1, own)
    ((count,),) = (row.values() for row in json.loads(printed[printed.rindex("[") :]))
    assert count > 0


def test_event_is_seen_in_the_explorer(cluster: Cluster) -> None:
    known = rows(cluster, "select _event_id from silver.users limit 1")[0]["_event_id"]
    with cluster.forwarded("service/ui", 8501) as port, chromium() as browser:
        page = browser.new_page()
        page.set_default_timeout(PATIENCE)  # gold is being built and tested on the same two cores
        page.goto(f"http://127.0.0.1:{port}")
        expect(page.get_by_role("heading", name="Streams")).to_be_visible()
        expect(page.get_by_text("earthquakes").first).to_be_attached()  # drawn on a canvas
        page.goto(f"http://127.0.0.1:{port}/sql")
        editor = page.get_by_role("textbox", name="Statement")
        editor.fill(f"select _event_id from silver.users where _event_id = '{known}'")
        editor.press("Control+Enter")
        expect(page.get_by_text(re.compile(r"^1 rows?\."))).to_be_visible()


def test_rolling_restart_and_a_lost_stream_job_under_load_lose_and_double_nothing(cluster: Cluster) -> None:
    with load(cluster, "load.py", COUNT=str(COUNT)) as pod:
        cluster.kubectl("delete", "pod", "--selector=app.kubernetes.io/name=stream", "--grace-period=0", "--force")
        cluster.kubectl("rollout", "restart", "statefulset/gateway")
        cluster.kubectl("rollout", "status", "statefulset/gateway", "--timeout=300s")
        eventually(lambda: cluster.run("logs", pod).stdout.rstrip().endswith("}"), 400, "the end of the load")
        acknowledged = json.loads(cluster.kubectl("logs", pod).splitlines()[-1])["acknowledged"]
    assert acknowledged == COUNT
    cluster.kubectl("rollout", "status", "deployment/stream", "--timeout=300s")
    ledger = (
        "select count(*) as n, count(distinct _event_id) as ids from (select _event_id from silver.orders union all "
        "select _event_id from quarantine.orders) where _event_id like 'load-%'"
    )
    eventually(lambda: rows(cluster, ledger)[0]["ids"] == COUNT, 300, f"{COUNT} ids in silver and quarantine")
    assert rows(cluster, ledger) == [{"n": COUNT, "ids": COUNT}]


def test_gateway_gets_more_replicas_under_load(cluster: Cluster) -> None:
    def wanted() -> int:
        return int(cluster.kubectl("get", "hpa", "gateway", "-o", "jsonpath={.status.desiredReplicas}") or 0)

    eventually(lambda: wanted() == 2, 120, "the autoscaler's first decision")
    with load(cluster, "flood.py"):
        eventually(lambda: wanted() > 2, 300, "a third replica, wanted")
        cluster.kubectl("wait", "--for=condition=ready", "pod/gateway-2", "--timeout=300s")


def test_tables_are_proven_exact_by_the_job_that_runs_each_hour(cluster: Cluster) -> None:
    cluster.kubectl("create", "job", "verify-now", "--from=cronjob/verify")
    cluster.kubectl("wait", "--for=condition=complete", "job/verify-now", "--timeout=400s")
    reports = json.loads(cluster.kubectl("logs", "job/verify-now"))
    assert not [report for report in reports if report["deviations"]]


def test_quality_rules_are_judged_by_the_job_of_each_night(cluster: Cluster) -> None:
    cluster.kubectl("create", "job", "check-now", "--from=cronjob/check")
    cluster.kubectl("wait", "--for=condition=complete", "job/check-now", "--timeout=400s")
    judged = json.loads(cluster.kubectl("logs", "job/check-now"))
    assert judged
    assert all(one["ok"] for one in judged)
    kept = rows(cluster, "select count(*) as n from ops.checks")
    assert kept == [{"n": len(judged)}]


def test_history_is_loaded_by_a_job_made_of_the_template(cluster: Cluster) -> None:
    with cluster.forwarded("service/minio", 9000) as port:
        store = S3FileSystem(
            access_key="sluice", secret_key=cluster.secret("sluice-secrets", "LAKE_PASSWORD"), scheme="http",
            region="us-east-1", endpoint_override=f"127.0.0.1:{port}",
        )  # fmt: skip
        for number in range(2):
            with store.open_output_stream(f"lake/history/strikes/{number}.ndjson") as file:
                file.write(b"".join(json.dumps(user).encode() + b"\n" for user in users(100, seed=number, updates=0)))
    cluster.kubectl("create", "secret", "generic", "backfill", f"--from-literal=SLUICE_API_KEY={cluster.key}")
    # As docs/operations.md has it.
    job = cluster.kubectl("create", "job", "history", "--from=cronjob/backfill", "--dry-run=client", "-o", "yaml")
    settings = ("STREAM=users", "SOURCE=s3://lake/history", "RATE=500")
    job = cluster.kubectl("set", "env", "--local", "-f", "-", "-o", "yaml", *settings, stdin=job)
    cluster.kubectl("create", "-f", "-", stdin=job)
    cluster.kubectl("wait", "--for=condition=complete", "job/history", "--timeout=400s")
    told = json.loads(cluster.kubectl("logs", "job/history"))
    assert [(file["outcome"], file["taken"]) for file in told["files"]] == [("done", 100)] * 2
    log = rows(cluster, "select outcome, count(*) as n from ops.backfills group by 1 order by 1")
    assert log == [{"outcome": "begun", "n": 2}, {"outcome": "done", "n": 2}]


def test_store_and_catalog_let_in_who_has_a_password_and_bound_what_they_do(cluster: Cluster) -> None:
    pod = ("exec", "deployment/verify-watch", "--")
    wrong = cluster.run(
        *pod, "env", "SLUICE_CATALOG_URI=postgresql://verify:not-it@postgres:5432/lake", "sluice", "verify"
    )
    assert wrong.returncode != 0
    assert "refuses 'verify'" in wrong.stderr
    wrong = cluster.run(*pod, "env", "SLUICE_S3_SECRET_KEY=not-it", "sluice", "verify")
    assert wrong.returncode != 0
    assert "refuses 'verify'" in wrong.stderr
    touched = cluster.run(*pod, "python", "-c", TOUCHES)
    assert touched.stdout.splitlines() == ["the catalog refuses", "the store refuses"], touched.stderr


def test_broker_lets_in_who_has_a_password_and_bounds_what_they_do(cluster: Cluster) -> None:
    pod = ("exec", "deployment/verify-watch", "--")
    wrong = cluster.run(*pod, "env", "SLUICE_KAFKA_PASSWORD=not-it", "sluice", "verify")
    assert wrong.returncode != 0
    assert "refuses 'verify': wrong password" in wrong.stderr
    denied = cluster.run(*pod, "python", "-c", WRITES)
    assert "TopicAuthorizationFailedError" in denied.stderr, denied.stdout + denied.stderr


def test_trino_lets_in_who_has_a_password_and_bounds_what_they_do(cluster: Cluster) -> None:
    with pytest.raises(query.QueryFailedError, match="refuses 'sluice'"):
        rows(cluster, "select 1", key="TRINO_GOLD_PASSWORD")
    with pytest.raises(query.QueryFailedError, match="Access Denied"):
        rows(cluster, "delete from silver.users", "explorer", "TRINO_EXPLORER_PASSWORD")
    with pytest.raises(query.QueryFailedError, match="Access Denied"):
        rows(cluster, "delete from silver.users", "gold", "TRINO_GOLD_PASSWORD")


def test_database_that_is_lost_comes_back_from_the_bucket(cluster: Cluster) -> None:
    """Its volume, roles and all; by the guide."""
    before = rows(cluster, "select count(*) as n from silver.users")
    open_shell(cluster)
    refused = cluster.run("exec", "deployment/cli", "--", "sluice", "restore", "--from-bucket")
    assert refused.returncode == 1
    assert "A stream job is at work" in refused.stderr
    cluster.guide("Backup and restore", 0)
    cluster.kubectl("delete", "pod", "postgres-0", "--wait=false")
    cluster.kubectl("delete", "pvc", "data-postgres-0", "--wait=false")
    cluster.kubectl("wait", "--for=delete", "pvc/data-postgres-0", "--timeout=120s")
    cluster.run("delete", "pod", "postgres-0")  # one that was made before the volume had gone would wait for it
    cluster.kubectl("rollout", "status", "statefulset/postgres", "--timeout=180s")
    lost = cluster.run("exec", "deployment/verify-watch", "--", "sluice", "verify")
    assert "'verify'" in lost.stderr, "the roles are gone"
    cluster.guide("Backup and restore", 1)
    # Trino's connections of the time before fail with the first query each.
    after = eventually(lambda: unless_away(cluster, "select count(*) as n from silver.users"), 60, "an answer")
    assert after == before
    reports = json.loads(cluster.kubectl("logs", "job/verify-restored"))
    assert not [report for report in reports if report["deviations"]]


def unless_away(cluster: Cluster, sql: str) -> list[dict[str, Any]] | None:
    try:
        return rows(cluster, sql)
    except query.TrinoAwayError:
        return None


def open_shell(cluster: Cluster) -> None:
    """Where a person on call types commands, which is there on request."""
    cluster.kubectl("scale", "deployment/cli", "--replicas=1")
    cluster.kubectl("rollout", "status", "deployment/cli", "--timeout=120s")


def test_pod_that_may_become_root_is_refused(cluster: Cluster) -> None:
    done = cluster.run("run", "intruder", "--image=sluice/cli:0.1.0", "--privileged", "--restart=Never")
    assert done.returncode != 0
    assert "violates PodSecurity" in done.stderr


def test_no_part_can_ask_the_cluster_for_anything(cluster: Cluster) -> None:
    for pod in json.loads(cluster.kubectl("get", "pods", "-o", "json"))["items"]:
        containers = pod["spec"]["containers"]
        mounts = [mount["mountPath"] for container in containers for mount in container.get("volumeMounts", [])]
        assert not [path for path in mounts if "serviceaccount" in path], pod["metadata"]["name"]


def test_every_way_is_encrypted_once_the_overlay_says_so(cluster: Cluster) -> None:
    """On a lake that runs and has rows; by the guide."""
    cluster.write_overlay("kafka-tls", "minio-tls", "gateway-tls", "metrics-tls")
    cluster.guide("Encryption", 0, {"secrets --kubernetes": "secrets --file .env --kubernetes"})
    for workload in READY:
        cluster.kubectl("rollout", "status", workload, "--timeout=600s")
    event = next(iter(users(1, seed=77)))
    with cluster.forwarded("service/gateway", 8000) as port:
        address = f"127.0.0.1:{port}/v1/streams/users/events"
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.post(f"http://{address}", json=event, timeout=30)
        bearer = {"Authorization": f"Bearer {cluster.key}"}
        trust = authority(cluster, "gateway-tls")
        answer = httpx.post(f"https://{address}", json=event, headers=bearer, verify=trust, timeout=30)
    assert answer.status_code == 202, answer.text
    (known,) = (one["id"] for one in answer.json()["events"])
    found = f"select count(*) as n from silver.users where _event_id = '{known}'"
    eventually(lambda: rows(cluster, found) == [{"n": 1}], 180, "the row in Trino")
    open_shell(cluster)
    inside = ("exec", "deployment/cli", "--")
    reports = json.loads(cluster.kubectl(*inside, "sluice", "verify", "--json", "--wait", "300"))
    assert not [report for report in reports if report["deviations"]]
    refused: Mapping[str, tuple[str, ...]] = {
        "may want encryption": ("SLUICE_KAFKA_SECURITY_PROTOCOL=SASL_PLAINTEXT", "SLUICE_KAFKA_CA="),
        "certificate that is not trusted": ("SLUICE_KAFKA_CA=",),
        "name the file .* by SLUICE_S3_CA": ("SLUICE_S3_CA=",),
    }
    for words, settings in refused.items():
        told = cluster.run(*inside, "env", *settings, "sluice", "verify")
        assert told.returncode != 0
        assert re.search(words, told.stderr), told.stderr
    with cluster.forwarded("service/stream", 8090) as port:
        document = httpx.get(f"https://127.0.0.1:{port}/healthz", verify=authority(cluster, "metrics-tls"), timeout=30)
    assert document.json()["state"] == "running"
    with cluster.forwarded("service/gateway", 8094) as port:
        metrics = httpx.get(f"https://127.0.0.1:{port}/metrics", verify=authority(cluster, "metrics-tls"), timeout=60)
    assert "sluice_gateway_in_flight_requests" in metrics.text
    with cluster.forwarded("service/verify-watch", 8092) as port:
        metrics = httpx.get(f"https://127.0.0.1:{port}/metrics", verify=authority(cluster, "metrics-tls"), timeout=60)
    for file in ("trust/tls", *(f"{folder}/{name}" for folder in ("trust", "shown") for name in SECRETS_OF_TLS)):
        line = rf'^sluice_certificate_expires_timestamp_seconds{{path="/etc/sluice/{file}.crt"}} [1-9]'
        assert re.search(line, metrics.text, re.MULTILINE), metrics.text


def authority(cluster: Cluster, secret: str) -> ssl.SSLContext:
    """Whom to believe, as a program on the other end of a forward has it."""
    return ssl.create_default_context(cadata=cluster.secret(secret, "ca.crt"))
