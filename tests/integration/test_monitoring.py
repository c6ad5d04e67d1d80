"""Prometheus and Alertmanager beside a stack that runs: everything is scraped, and a part that ends is told."""

import shutil
from typing import Any

import httpx
import pytest

from infra.monitoring import dashboards
from infra.native import config
from tests.drivers import paused
from tests.stack import Stack, eventually
from tests.unit.test_monitoring import FOREIGN, expressions, metric_names, rules

pytestmark = pytest.mark.stack

# What a cluster and cert-manager export, and what Streamlit does once somebody has looked.
NOT_HERE = {name for name in FOREIGN if name.startswith(("kube", "certmanager", "cache_memory"))}
FUNCTIONS = {"histogram_quantile", "group_left"}


@pytest.fixture(scope="module")
def watched(stack: Stack) -> Stack:
    """The stack of all tests, which others have filled or nobody yet."""
    if not (shutil.which("prometheus") and shutil.which("prometheus-alertmanager")):
        pytest.fail("needs Prometheus and Alertmanager: apt-get install prometheus prometheus-alertmanager")
    stack.sluice("up", "--with", "monitoring")
    stack.sluice("demo")
    return stack


def ask(stack: Stack, part: str, path: str) -> Any:
    chosen = config.load(stack.state)
    assert chosen
    answer = httpx.get(f"http://{chosen.address(part)}{path}", timeout=10, trust_env=False)
    return answer.raise_for_status().json()


def test_everything_is_scraped_and_every_rule_is_loaded(watched: Stack) -> None:
    def down() -> list[str]:
        targets = ask(watched, "prometheus", "/api/v1/targets")["data"]["activeTargets"]
        assert targets
        return [one["labels"]["job"] for one in targets if one["health"] != "up"]

    eventually(lambda: not down(), 60, "every target is up")
    loaded = [
        rule["name"]
        for group in ask(watched, "prometheus", "/api/v1/rules")["data"]["groups"]
        for rule in group["rules"]
    ]
    assert sorted(loaded) == sorted(rule.get("alert") or rule["record"] for rule in rules())


def test_rules_and_dashboards_ask_for_what_a_running_stack_exports(watched: Stack) -> None:
    asked = set().union(*map(metric_names, expressions())) - FUNCTIONS - NOT_HERE

    def lacking() -> set[str]:
        series = set(ask(watched, "prometheus", "/api/v1/label/__name__/values")["data"])
        # A metric of which nothing has happened yet has a type, and no series.
        return asked - series - set(ask(watched, "prometheus", "/api/v1/metadata")["data"])

    assert dashboards.DASHBOARDS
    eventually(lambda: not lacking(), 120, f"all metrics are there; now lacking: {sorted(lacking())}")


def test_a_gateway_that_answers_nobody_is_told_to_alertmanager(watched: Stack) -> None:
    """Paused, since one that is killed is back before anybody need know."""

    def told() -> list[str]:
        return [alert["labels"]["alertname"] for alert in ask(watched, "alertmanager", "/api/v2/alerts?active=true")]

    eventually(lambda: "GatewayDown" not in told(), 60, "what tests before this one did is over")
    with paused(watched.pid("gateway")):
        eventually(lambda: "GatewayDown" in told(), 300, "the alert at Alertmanager")
