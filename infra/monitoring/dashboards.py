"""Grafana's dashboards and the operator's rules, written from one description: `python -m infra.monitoring.dashboards`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
RULES = HERE / "prometheus" / "rules"
OPERATOR_RULES = HERE.parents[1] / "k8s" / "components" / "monitoring" / "rules.yaml"


@dataclass(frozen=True)
class Panel:
    """A time series; `series` are (expression, legend). `unit` is Grafana's; no value below `least` is drawn."""

    title: str
    unit: str
    series: tuple[tuple[str, str], ...]
    least: float | None = 0


DASHBOARDS: dict[str, tuple[str, tuple[Panel, ...]]] = {
    "ingest": (
        "Ingest",
        (
            Panel("Events", "eps", (("sum by (stream, verdict) (rate(sluice_gateway_events_total[$__rate_interval]))",
                                      "{{stream}} {{verdict}}"),)),
            Panel("Bytes", "Bps",
                  (("sum by (stream) (rate(sluice_gateway_received_bytes_total[$__rate_interval]))", "{{stream}}"),)),
            Panel("Requests by status", "reqps",
                  (("sum by (status) (rate(sluice_gateway_request_seconds_count[$__rate_interval]))", "{{status}}"),)),
            Panel("Time to answer", "s", tuple(
                (f"histogram_quantile({q}, sum by (le) (rate(sluice_gateway_request_seconds_bucket[$__rate_interval])))", f"p{q}")
                for q in ("0.5", "0.95", "0.99"))),
            Panel("Time to Kafka's acknowledgement", "s", tuple(
                (f"histogram_quantile({q}, sum by (le) (rate(sluice_gateway_produce_seconds_bucket[$__rate_interval])))", f"p{q}")
                for q in ("0.5", "0.99"))),
            Panel("Record batches", "ops",
                  (("sum by (outcome) (rate(sluice_gateway_produced_batches_total[$__rate_interval]))", "{{outcome}}"),)),
            Panel("In flight", "short", (("sum(sluice_gateway_in_flight_requests)", "requests"),
                                         ("sum(sluice_gateway_connections)", "connections"))),
            Panel("Bytes in flight", "bytes", (("sum(sluice_gateway_in_flight_bytes)", "bytes"),)),
            Panel("Connections that were ended", "ops",
                  (("sum by (reason) (rate(sluice_gateway_turned_away_total[$__rate_interval]))", "{{reason}}"),)),
            Panel("Kafka answers", "bool", (("min by (instance) (sluice_gateway_broker_up)", "{{instance}}"),)),
            Panel("Spool", "bytes", (("sum by (instance) (sluice_gateway_spool_bytes)", "{{instance}}"),
                                     ("sum by (instance) (sluice_gateway_spool_limit_bytes)", "{{instance}}, at most"))),
            Panel("Events in the spool, and drained a second", "short",
                  (("sum(sluice_gateway_spool_events)", "waiting"),
                   ("sum(sluice_gateway_spool_aside_events)", "refused by Kafka"),
                   ("sum(rate(sluice_gateway_spool_drained_events_total[$__rate_interval]))", "drained"))),
            Panel("Oldest event in the spool", "s", (("max(sluice_gateway_spool_oldest_age_seconds)", "age"),)),
            Panel("Free on the spool's disk", "percentunit",
                  (("sluice_gateway_spool_disk_free_bytes / sluice_gateway_spool_disk_bytes", "{{instance}}"),)),
        ),
    ),
    "stream": (
        "Stream",
        (
            Panel("Rows", "rowsps", (("sum by (stream, outcome) (rate(sluice_stream_rows_total[$__rate_interval]))",
                                   "{{stream}} {{outcome}}"),)),
            Panel("Bytes", "Bps", (("sum by (stream) (rate(sluice_stream_bytes_total[$__rate_interval]))", "{{stream}}"),)),
            Panel("Receipt to silver, p95", "s", (("stream:sluice_stream_freshness_seconds:p95_5m", "{{stream}}"),)),
            Panel("Records behind", "short", (("sluice_stream_lag_records", "{{stream}}"),)),
            Panel("Time behind", "s", (("sluice_stream_lag_seconds", "{{stream}}"),)),
            Panel("Since the last commit", "s", (("time() - sluice_stream_committed_timestamp_seconds", "{{stream}}"),)),
            Panel("Batches", "ops", (("sum by (outcome) (rate(sluice_stream_batches_total[$__rate_interval]))", "{{outcome}}"),)),
            Panel("Time of a batch by phase, p95", "s", (
                ("histogram_quantile(0.95, sum by (le, phase) (rate(sluice_stream_phase_seconds_bucket[$__rate_interval])))",
                 "{{phase}}"),)),
            Panel("Next offset", "short", (("sluice_stream_offset", "{{stream}} {{partition}}"),)),
            Panel("Runs", "bool", (("max(sluice_stream_running)", "runs"), ("sluice_stream_set_aside", "{{stream}} set aside"))),
        ),
    ),
    "lake": (
        "Tables",
        (
            Panel("Data files", "short", (("sluice_maintenance_files", "{{table}}"),)),
            Panel("Small files, and the most of a partition that has settled", "short",
                  (("sluice_maintenance_small_files", "{{table}} small"),
                   ("sluice_maintenance_settled_files", "{{table}} settled"))),
            Panel("Delete files", "short", (("sluice_maintenance_delete_files", "{{table}}"),)),
            Panel("Snapshots", "short", (("sluice_maintenance_snapshots", "{{table}}"),)),
            Panel("Bytes", "bytes", (("sluice_maintenance_bytes", "{{table}}"),)),
            Panel("Bytes of metadata", "bytes", (("sluice_maintenance_metadata_bytes", "{{table}}"),)),
            Panel("Actions", "ops", (
                ("sum by (action, outcome) (rate(sluice_maintenance_actions_total[$__rate_interval]))",
                 "{{action}} {{outcome}}"),)),
            Panel("Since the last round", "s", (("time() - sluice_maintenance_last_round_timestamp_seconds", "age"),)),
            Panel("Deviations that verify found", "short", (("sluice_verify_deviations", "{{stream}}"),)),
            Panel("Offsets given up", "short", (("sluice_verify_accepted_losses", "{{stream}}"),)),
            Panel("Since the last check", "s", (("time() - sluice_verify_checked_timestamp_seconds", "{{stream}}"),)),
            Panel("Time of a check", "s", (("sluice_verify_seconds", "{{stream}}"),)),
        ),
    ),
    "serving": (
        "Serving",
        (
            Panel("Takes queries", "bool", (
                ("sluice_gold_trino_up", "Trino"), ('up{job="ui"}', "explorer"), ('up{job="gold"}', "gold"))),
            Panel("Since gold was seen to hold what silver holds", "s",
                  (("time() - sluice_gold_checked_timestamp_seconds", "age"),)),
            Panel("Since gold's tests ran", "s", (("time() - sluice_gold_tested_timestamp_seconds", "age"),)),
            Panel("Work on gold", "ops", (("sum by (work) (rate(sluice_gold_work_seconds_count[$__rate_interval]))", "{{work}}"),)),
            Panel("Time of it, p95", "s", (
                ("histogram_quantile(0.95, sum by (le, work) (rate(sluice_gold_work_seconds_bucket[$__rate_interval])))",
                 "{{work}}"),)),
            Panel("Models and tests that failed", "short", (("sluice_gold_failed_nodes", "{{work}}"),)),
            Panel("People in the explorer", "short", (('active_sessions{job="ui"}', "sessions"),)),
            Panel("What the explorer holds", "bytes", (('sum(cache_memory_bytes{job="ui"})', "caches"),)),
            Panel("Free on watched disks", "percentunit", (("sluice_disk_free_bytes / sluice_disk_bytes", "{{path}}"),)),
            Panel("Until a certificate ends", "s",
                  (("sluice_certificate_expires_timestamp_seconds - time()", "{{path}}"),), least=None),
        ),
    ),
    "quality": (
        "Data quality",
        (
            Panel("Refused at the gateway", "percentunit", (
                ('sum by (stream) (stream_verdict:sluice_gateway_events:rate5m{verdict="refused"})'
                 " / sum by (stream) (stream_verdict:sluice_gateway_events:rate5m)", "{{stream}}"),)),
            Panel("Quarantined", "percentunit", (
                ('sum by (stream) (stream_outcome:sluice_stream_rows:rate5m{outcome="quarantine"})'
                 " / sum by (stream) (stream_outcome:sluice_stream_rows:rate5m)", "{{stream}}"),)),
            Panel("Rows that break a rule", "rowsps",
                  (("sum by (stream, rule, column) (rate(sluice_stream_violations_total[$__rate_interval]))",
                    "{{stream}} {{rule}} {{column}}"),)),
            Panel("Repeats that were dropped", "rowsps",
                  (('stream_outcome:sluice_stream_rows:rate5m{outcome="duplicates"}', "{{stream}}"),)),
            Panel("Contracts", "short", (("max by (state) (sluice_gateway_contracts)", "{{state}}"),)),
        ),
    ),
}  # fmt: skip


def dashboard(name: str) -> dict[str, Any]:
    """A dashboard in Grafana's JSON, two panels in a row."""
    title, panels = DASHBOARDS[name]
    return {
        "uid": f"sluice-{name}",
        "title": f"Sluice: {title}",
        "tags": ["sluice"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "15s",
        "time": {"from": "now-1h", "to": "now"},
        "panels": [_panel(place, panel) for place, panel in enumerate(panels)],
    }


def _panel(place: int, panel: Panel) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "prometheus"}
    return {
        "id": place + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": source,
        "gridPos": {"x": 12 * (place % 2), "y": 8 * (place // 2), "w": 12, "h": 8},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": panel.least}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + n), "datasource": source, "expr": expression, "legendFormat": legend}
            for n, (expression, legend) in enumerate(panel.series)
        ],
    }


def operator_rules() -> str:
    """All rules as one PrometheusRule."""
    groups = [group for file in sorted(RULES.glob("*.yaml")) for group in yaml.safe_load(file.read_text())["groups"]]
    manifest = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "sluice", "labels": {"app.kubernetes.io/name": "sluice"}},
        "spec": {"groups": groups},
    }
    return "# Written by `python -m infra.monitoring.dashboards`.\n" + yaml.safe_dump(
        manifest, sort_keys=False, width=130
    )


def write() -> None:
    """Write every file that is made from what is above."""
    for name in DASHBOARDS:
        text = json.dumps(dashboard(name), indent=1) + "\n"
        (HERE / "grafana" / "dashboards" / f"{name}.json").write_text(text)
    OPERATOR_RULES.write_text(operator_rules())


if __name__ == "__main__":
    write()
