"""Alerts fire when they should and not otherwise; rules and dashboards ask only for metrics that the stack exports."""

import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY, CollectorRegistry

from catalog import gold_metrics as gold
from catalog.maintenance import metrics as maintenance
from catalog.watched import Watched
from infra.monitoring import dashboards
from stream_jobs import metrics as stream
from stream_jobs.verify import watch
from tests.stack import CHECKOUT

FOLDER = CHECKOUT / "infra" / "monitoring"
PROMETHEUS = FOLDER / "prometheus"
# What Prometheus itself, Streamlit, the cluster or cert-manager export.
FOREIGN = {
    "up", "active_sessions", "cache_memory_bytes", "kube_job_failed",
    "kube_job_status_start_time", "kube_cronjob_status_last_successful_time",
    "kubelet_volume_stats_available_bytes", "kubelet_volume_stats_capacity_bytes",
    "certmanager_certificate_expiration_timestamp_seconds",
}  # fmt: skip
Series = dict[str, str]
EVENTS = 'sluice_gateway_events_total{stream="orders",verdict="%s"}'
ROWS = 'sluice_stream_rows_total{stream="orders",outcome="%s"}'
SPOOL = 'sluice_gateway_spool_%s{instance="gateway-0"}'
LEFT = 'sluice_gateway_spool_events{pod="%s",instance="%s"}'
STARTED = 'kube_job_status_start_time{namespace="sluice",job_name="%s"}'
FAILED = 'kube_job_failed{namespace="sluice",job_name="%s"}'
SUCCEEDED = 'kube_cronjob_status_last_successful_time{namespace="sluice",cronjob="%s"}'
ANSWERS = 'sluice_gateway_request_seconds_count{status="%s"}'
TIMES = 'sluice_gateway_request_seconds_bucket{status="202",le="%s"}'
FRESH = 'sluice_stream_freshness_seconds_bucket{stream="orders",le="%s"}'
CHECKED_AT = 'sluice_verify_checked_timestamp_seconds{stream="orders"}'
VOLUME = 'kubelet_volume_stats_%s_bytes{namespace="sluice",persistentvolumeclaim="spool-gateway-0"}'
CERTIFICATE = 'certmanager_certificate_expiration_timestamp_seconds{namespace="sluice",name="sluice-tls"}'
BROKEN = 'sluice_stream_violations_total{stream="orders",rule="type",column="quantity"}'
DISK = 'sluice_disk_%sbytes{path="/data",instance="verify"}'
SPOOL_DISK = 'sluice_gateway_spool_disk_%sbytes{instance="gateway-0"}'
FILE = 'sluice_certificate_expires_timestamp_seconds{path="tls.pem"}'
# For each alert: series (one value a minute) with which it fires within half an hour, and with which it doesn't.
CASES: dict[str, tuple[Series, Series]] = {
    "GatewayDown": ({'up{job="gateway"}': "0x30"}, {'up{job="gateway"}': "1x20 0 1x9"}),
    "GatewayErrors": (
        {ANSWERS % "202": "0+95x30", ANSWERS % "503": "0+5x30"},
        {ANSWERS % "202": "0+990x30", ANSWERS % "503": "0+10x30", ANSWERS % "422": "0+500x30"},
    ),
    "GatewaySlow": (
        {TIMES % "1.0": "0+90x30", TIMES % "5.0": "0+100x30", TIMES % "+Inf": "0+100x30"},
        {TIMES % "0.1": "0+99x30", TIMES % "1.0": "0+100x30", TIMES % "+Inf": "0+100x30"},
    ),
    "BrokerAway": (
        {'sluice_gateway_broker_up{instance="a"}': "1x30", 'sluice_gateway_broker_up{instance="b"}': "0x30"},
        {'sluice_gateway_broker_up{instance="a"}': "1x30", 'sluice_gateway_broker_up{instance="b"}': "1x28 0x2"},
    ),
    "SpoolOld": ({SPOOL % "oldest_age_seconds": "0+60x30"}, {SPOOL % "oldest_age_seconds": "200x30"}),
    "SpoolDeep": (
        {SPOOL % "bytes": "0+30000000x30", SPOOL % "limit_bytes": "1000000000x30"},
        {SPOOL % "bytes": "500000000x30", SPOOL % "limit_bytes": "1000000000x30"},
    ),
    "SpoolLeft": (
        {LEFT % ("gateway-3", "a"): "7x10 _x20", LEFT % ("gateway-0", "b"): "0x30"},
        # Another pod of the name has come back, whatever its address.
        {LEFT % ("gateway-3", "a"): "7x10 _x20", LEFT % ("gateway-3", "c"): "_x12 0x18"},
    ),
    "EventsAside": ({"sluice_gateway_spool_aside_events": "1x30"}, {"sluice_gateway_spool_aside_events": "0x30"}),
    "EventsTurnedAway": ({EVENTS % "failed": "0+3x30"}, {EVENTS % "failed": "3x30", EVENTS % "refused": "0+9x30"}),
    "ContractBroken": (
        {'sluice_gateway_contracts{state="broken"}': "1x30"},
        {'sluice_gateway_contracts{state="broken"}': "0x30", 'sluice_gateway_contracts{state="served"}': "4x30"},
    ),
    "StreamDown": ({'up{job="stream"}': "0x30"}, {'up{job="stream"}': "1x26 0x4"}),
    "StreamWaits": ({"sluice_stream_running": "0x30"}, {"sluice_stream_running": "1x27 0x3"}),
    "StreamSetAside": (
        {'sluice_stream_set_aside{stream="orders"}': "1x30"},
        {'sluice_stream_set_aside{stream="orders"}': "0x30"},
    ),
    "StreamStuck": (
        {'sluice_stream_lag_seconds{stream="orders"}': "0+60x30"},
        {'sluice_stream_lag_seconds{stream="orders"}': "120x30"},
    ),
    "StreamLags": (
        {'sluice_stream_lag_records{stream="orders"}': "400000+50000x30"},
        {'sluice_stream_lag_records{stream="orders"}': "3000000-50000x30"},
    ),
    "StreamStale": (
        {FRESH % "30": "0+80x30", FRESH % "60": "0+100x30", FRESH % "+Inf": "0+100x30"},
        {FRESH % "5": "0+99x30", FRESH % "30": "0+100x30", FRESH % "+Inf": "0+100x30"},
    ),
    "ManyRefused": (
        {EVENTS % "accepted": "0+70x30", EVENTS % "refused": "0+30x30"},
        {EVENTS % "accepted": "0+90x30", EVENTS % "refused": "0+10x30"},
    ),
    "ManyQuarantined": (
        {ROWS % "silver": "0+90x30", ROWS % "quarantine": "0+10x30"},
        {ROWS % "silver": "0+99x30", ROWS % "quarantine": "0+1x30"},
    ),
    "RuleFails": (
        {ROWS % "silver": "0+98x60", ROWS % "quarantine": "0+2x60", BROKEN: "0+2x60"},
        {ROWS % "silver": "0+999x60", ROWS % "quarantine": "0+1x60", BROKEN: "0+1x60"},
    ),
    "TrinoAway": ({"sluice_gold_trino_up": "1x10 0x20"}, {"sluice_gold_trino_up": "1x26 0x4"}),
    "GoldStale": (
        {"sluice_gold_checked_timestamp_seconds": "0x60", 'up{job="gold"}': "1x60"},
        {"sluice_gold_checked_timestamp_seconds": "0+60x60", 'up{job="gold"}': "1x60"},
    ),
    "GoldFails": (
        {'sluice_gold_failed_nodes{work="tested"}': "1x30"},
        {'sluice_gold_failed_nodes{work="tested"}': "0x30", 'sluice_gold_failed_nodes{work="refreshed"}': "0x26 1x4"},
    ),
    "ExplorerDown": ({'up{job="ui"}': "0x30"}, {'up{job="ui"}': "1x26 0x4"}),
    "MaintenanceStopped": (
        {"sluice_maintenance_last_round_timestamp_seconds": "0x60", 'up{job="maintenance"}': "1x60"},
        {"sluice_maintenance_last_round_timestamp_seconds": "0+60x60", 'up{job="maintenance"}': "1x60"},
    ),
    "TableManyFiles": (
        {'sluice_maintenance_small_files{table="silver.orders"}': "3000x60"},
        {'sluice_maintenance_small_files{table="silver.orders"}': "500x60",
         'sluice_maintenance_snapshots{table="silver.orders"}': "0+100x15 500x45"},
    ),
    "VerifyDeviates": (
        {'sluice_verify_deviations{stream="orders"}': "0x20 2x10"},
        {'sluice_verify_deviations{stream="orders"}': "0x30"},
    ),
    "VerifyStopped": (
        {'sluice_verify_checked_timestamp_seconds{stream="orders"}': "0x60"},
        {'sluice_verify_checked_timestamp_seconds{stream="orders"}': "0+60x60", 'up{job="verify"}': "1x60"},
    ),
    "VerifyFailed": (
        {FAILED % "verify-1": "1x30", STARTED % "verify-1": "0x30"},
        {FAILED % "verify-1": "0x30", FAILED % "other": "1x30", STARTED % "other": "0x30", SUCCEEDED % "verify": "0x30"},
    ),
    "CheckFailed": (
        {FAILED % "check-1": "1x30", STARTED % "check-1": "0x30"},
        {FAILED % "check-1": "0x30", FAILED % "other": "1x30", STARTED % "other": "0x30", SUCCEEDED % "check": "0x30"},
    ),
    "DiskFills": (
        {VOLUME % "available": "10x30", VOLUME % "capacity": "100x30"},
        {VOLUME % "available": "40x30", VOLUME % "capacity": "100x30", DISK % "free_": "40x30", DISK % "": "100x30"},
    ),
    "CertificateEnds": ({CERTIFICATE: "864000x90"}, {CERTIFICATE: "8640000x90"}),
}  # fmt: skip
# Further series with which an alert fires or doesn't, where it looks at several metrics.
MORE: tuple[tuple[str, Series, bool], ...] = (
    # Where targets are discovered, a part without a pod has no `up`.
    ("GatewayDown", {'up{job="gateway"}': "1x10 _x20"}, True),
    ("StreamDown", {'up{job="stream"}': "1x10 _x20"}, True),
    ("ExplorerDown", {'up{job="ui"}': "1x10 _x20"}, True),
    ("GoldStale", {'up{job="gold"}': "1x10 _x50"}, True),
    ("MaintenanceStopped", {'up{job="maintenance"}': "1x10 _x50"}, True),
    ("VerifyStopped", {'up{job="verify-watch"}': "1x10 0x50", CHECKED_AT: "0+60x60"}, True),
    ("VerifyStopped", {CHECKED_AT: "0+60x10 _x50"}, True),
    ("EventsTurnedAway", {EVENTS % "failed": "0x28 1x2"}, False),  # one event, which its sender repeats
    ("StreamWaits", {"sluice_stream_running": "0 0 1 " * 10 + "0"}, True),  # it fails again and again
    ("StreamWaits", {"sluice_stream_running": "1x15 0 0 1x13"}, False),
    ("StreamSetAside", {'sluice_stream_set_aside{stream="orders"}': "1 1 0 " * 10 + "1"}, True),
    ("BrokerAway", {'sluice_gateway_broker_up{instance="a"}': "0x30"}, True),
    ("SpoolLeft", {"sluice_gateway_spool_events": "7x10 _x20"}, True),  # natively
    ("SpoolLeft", {LEFT % ("gateway-3", "a"): "0x10 _x20"}, False),
    # Yesterday's failure is no news; a proof that was not made is.
    ("VerifyFailed", {FAILED % "verify-1": "1x30", STARTED % "verify-1": "-7200x30"}, False),
    ("VerifyFailed", {SUCCEEDED % "verify": "-10800x30"}, True),
    ("CheckFailed", {FAILED % "check-1": "1x30", STARTED % "check-1": "-93600x30"}, False),
    ("CheckFailed", {SUCCEEDED % "check": "-180000x30"}, True),
    ("CertificateEnds", {CERTIFICATE.replace("namespace", "exported_namespace"): "864000x90"}, True),
    ("DiskFills", {DISK % "free_": "14x30", DISK % "": "100x30"}, True),
    ("DiskFills", {SPOOL_DISK % "free_": "14x30", SPOOL_DISK % "": "100x30"}, True),
    ("DiskFills", {SPOOL_DISK % "free_": "0x30", SPOOL_DISK % "": "0x30"}, False),  # no spool
    ("CertificateEnds", {FILE: "864000x90"}, True),
    ("CertificateEnds", {FILE: "0x90"}, True),  # it can't be read
    ("CertificateEnds", {FILE: "8640000x90"}, False),
    ("GoldStale", {"sluice_gold_checked_timestamp_seconds": "0+60x60", 'up{job="gold"}': "0x60"}, True),
    ("MaintenanceStopped", {'up{job="maintenance"}': "0x60"}, True),
    ("TableManyFiles", {'sluice_maintenance_delete_files{table="silver.orders"}': "600x60"}, True),
    ("TableManyFiles", {'sluice_maintenance_snapshots{table="silver.orders"}': "2100x60"}, True),
)


@cache
def rules() -> list[dict[str, Any]]:
    files = sorted((PROMETHEUS / "rules").glob("*.yaml"))
    return [rule for file in files for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def expressions() -> list[str]:
    drawn = [one for _, panels in dashboards.DASHBOARDS.values() for panel in panels for one, _ in panel.series]
    return [str(rule["expr"]) for rule in rules()] + drawn


@cache
def exported() -> set[str]:
    """Names of all series that the parts export, asked of their registries."""
    import ingest_gateway.metrics  # noqa: F401 – registers its own

    disks_and_certificates = CollectorRegistry()
    disks_and_certificates.register(Watched())
    names = set()
    for registry in (
        REGISTRY,
        stream.REGISTRY,
        maintenance.REGISTRY,
        watch.REGISTRY,
        gold.REGISTRY,
        disks_and_certificates,
    ):
        for family in registry.collect():
            suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}.get(family.type, ("",))
            names |= {f"{family.name}{suffix}" for suffix in suffixes}
    return {name for name in names if name.startswith("sluice_")}


def promtool(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("no promtool here (Debian: package prometheus): only names and structure were checked")
    return subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True, check=False)


def metric_names(expression: str) -> set[str]:
    bare = re.sub(r'"[^"]*"', "", re.sub(r"\b(?:by|on|without|ignoring)\s*\([^)]*\)", "", expression))
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]", "", bare)
    return {name for name in re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*(?!\w*\s*\()", bare) if "_" in name or name == "up"}


@pytest.mark.parametrize("expression", expressions())
def test_expression_asks_for_what_is_exported(expression: str) -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    functions = {"histogram_quantile", "group_left"}
    asked = metric_names(expression) - functions
    assert asked
    assert asked <= exported() | recorded | FOREIGN


def test_every_metric_is_drawn_or_watched() -> None:
    text = "\n".join(expressions())
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in exported()}
    assert not [name for name in sorted(families) if name not in text]


def test_every_alert_says_how_bad_it_is_and_what_to_do() -> None:
    for name, rule in alerts().items():
        assert rule["labels"]["severity"] in ("critical", "warning"), name
        assert rule["annotations"]["summary"], name
        page = CHECKOUT / rule["annotations"]["runbook"]
        assert page.name == f"{name}.md"
        headings = re.findall(r"^## (.+)$", page.read_text(), re.MULTILINE)
        assert headings == ["What it means", "Look", "Act"], name
    pages = {page.stem for page in (CHECKOUT / "docs" / "runbooks").glob("*.md")}
    assert pages == {*alerts(), "README"}
    index = (CHECKOUT / "docs" / "runbooks" / "README.md").read_text()
    assert not [name for name in alerts() if f"({name}.md)" not in index]


def test_every_alert_has_a_case() -> None:
    assert set(CASES) == set(alerts())


HOUR = {"GoldStale", "MaintenanceStopped", "RuleFails", "TableManyFiles", "VerifyStopped"}


def case(name: str, series: Series, fires: bool) -> dict[str, Any]:
    at = {"CertificateEnds": "90m"}.get(name, "60m" if name in HOUR else "30m")
    values = [{"series": one, "values": text} for one, text in series.items()]
    fired = {"expr": f'count(ALERTS{{alertname="{name}",alertstate="firing"}})', "eval_time": at}
    samples = [{"labels": "{}", "value": 1}] if fires else []
    return {"interval": "1m", "input_series": values, "promql_expr_test": [{**fired, "exp_samples": samples}]}


def run_promtool_tests(tests: list[dict[str, Any]], folder: Path) -> None:
    document = {
        "rule_files": [str(file) for file in sorted((PROMETHEUS / "rules").glob("*.yaml"))],
        "evaluation_interval": "1m",
        "tests": tests,
    }
    (folder / "tests.yaml").write_text(yaml.safe_dump(document))
    done = promtool("test", "rules", "tests.yaml", folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_fire_when_they_should_and_not_otherwise(tmp_path: Path) -> None:
    tests = [
        case(name, series, fires)
        for name, both in CASES.items()
        for series, fires in zip(both, (True, False), strict=True)
    ]
    tests += [case(name, series, fires) for name, series, fires in MORE]
    run_promtool_tests(tests, tmp_path)


def test_prometheus_takes_its_configuration() -> None:
    done = promtool("check", "config", "prometheus.yaml", folder=PROMETHEUS)
    assert done.returncode == 0, done.stdout + done.stderr


def test_dashboards_expressions_parse(tmp_path: Path) -> None:
    drawn = [one.replace("$__rate_interval", "1m") for one in expressions()]
    recorded = [{"record": f"checked:{n}", "expr": one} for n, one in enumerate(drawn)]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "drawn", "rules": recorded}]}))
    done = promtool("check", "rules", "rules.yaml", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_alertmanager_knows_where_every_severity_goes() -> None:
    document = yaml.safe_load((FOLDER / "alertmanager" / "alertmanager.yaml").read_text())
    receivers = {receiver["name"] for receiver in document["receivers"]}
    routes = [document["route"], *document["route"]["routes"]]
    assert {route["receiver"] for route in routes} == receivers
    named = set(re.findall(r"[A-Z]\w+", json.dumps(document["inhibit_rules"])))
    assert named <= set(alerts())


def test_what_is_written_from_the_description_is_up_to_date() -> None:
    for name in dashboards.DASHBOARDS:
        file = FOLDER / "grafana" / "dashboards" / f"{name}.json"
        assert json.loads(file.read_text()) == dashboards.dashboard(name), "run `python -m infra.monitoring.dashboards`"
    assert dashboards.OPERATOR_RULES.read_text() == dashboards.operator_rules(), "the same"


def test_only_what_reaches_no_broker_at_all_silences_the_stream_job(tmp_path: Path) -> None:
    """The scope that Alertmanager's inhibition asks for is one that the alert has."""
    document = yaml.safe_load((FOLDER / "alertmanager" / "alertmanager.yaml").read_text())
    (inhibition,) = (one for one in document["inhibit_rules"] if 'alertname="BrokerAway"' in one["source_matchers"])
    assert inhibition["source_matchers"][1:] == ['scope="every gateway"']
    assert "SpoolDeep" not in inhibition["target_matchers"][0]
    answers = {"every gateway": ("0x30", "0x30"), "some gateways": ("1x30", "0x30")}
    tests = [
        {
            "interval": "1m",
            "input_series": [
                {"series": f'sluice_gateway_broker_up{{instance="{name}"}}', "values": values}
                for name, values in zip("ab", both, strict=True)
            ],
            "promql_expr_test": [
                {
                    "expr": f'count(ALERTS{{alertname="BrokerAway",alertstate="firing",scope="{scope}"}})',
                    "eval_time": "30m",
                    "exp_samples": [{"labels": "{}", "value": 1}],
                }
            ],
        }
        for scope, both in answers.items()
    ]
    run_promtool_tests(tests, tmp_path)
