"""The manifests as kustomize builds them: valid for Kubernetes, confined, bounded, probed, and saying no password."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from catalog.trust import java_options
from infra.access.accounts import OPERATOR
from infra.access.trino import AUTHORITIES
from tests.stack import CHECKOUT

OVERLAYS = sorted(path.parent.name for path in (CHECKOUT / "k8s" / "overlays").glob("*/kustomization.yaml"))
KUBERNETES = "1.33"
# Kinds of the Prometheus operator, whose schemas don't come with Kubernetes.
FOREIGN = {"monitoring.coreos.com/v1"}
WORKLOADS = {"Deployment", "StatefulSet", "Job", "CronJob"}
SERVERS = {"broker", "minio", "postgres", "trino"}
# Servers of which a part asks nothing but whether they answer, and whose addresses it isn't told where they are elsewhere.
NOT_TOLD = {"Deployment ui": {"minio", "postgres"}}


@cache
def built(overlay: str) -> list[dict[str, Any]]:
    if not shutil.which("kubectl"):
        pytest.skip("no kubectl here: the manifests were not built")
    return kustomized(CHECKOUT / "k8s" / "overlays" / overlay)


def kustomized(folder: Path) -> list[dict[str, Any]]:
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def workloads(overlay: str) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """(name, manifest, specification of its pods)"""
    for manifest in built(overlay):
        if manifest["kind"] in WORKLOADS:
            yield f"{manifest['kind']} {manifest['metadata']['name']}", manifest, template(manifest)["spec"]


def template(manifest: dict[str, Any]) -> dict[str, Any]:
    """Of a workload's pods."""
    spec = manifest["spec"]
    found: dict[str, Any] = (spec["jobTemplate"]["spec"] if manifest["kind"] == "CronJob" else spec)["template"]
    return found


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", ()), *pod["containers"]]


def test_there_are_overlays() -> None:
    assert OVERLAYS == ["eks", "local", "production", "self-contained"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_manifests_are_what_kubernetes_takes(overlay: str) -> None:
    for manifest in built(overlay):
        if manifest["apiVersion"] not in FOREIGN:
            kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_pass_the_restricted_level(overlay: str) -> None:
    found = list(workloads(overlay))
    assert found
    for name, _, pod in found:
        context = pod["securityContext"]
        assert context["runAsNonRoot"], name
        assert context["runAsUser"] > 0, name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["automountServiceAccountToken"] is False, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod), name
        assert not [volume for volume in pod.get("volumes", ()) if "hostPath" in volume], name
        for container in containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
            }, name  # fmt: skip
    (namespace,) = [manifest for manifest in built(overlay) if manifest["kind"] == "Namespace"]
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_are_bounded_probed_and_pinned(overlay: str) -> None:
    for name, manifest, pod in workloads(overlay):
        for container in containers(pod):
            assert ":" in container["image"], name
            assert not container["image"].endswith(":latest"), name
            assert {"cpu", "memory"} == set(container["resources"]["requests"]), name
            assert {"cpu", "memory"} == set(container["resources"]["limits"]), name
        if manifest["kind"] in ("Deployment", "StatefulSet"):
            assert "livenessProbe" in pod["containers"][0], name
            if pod["containers"][0].get("ports"):
                assert {"startupProbe", "readinessProbe"} <= set(pod["containers"][0]), name


def test_all_pods_fit_on_a_node_of_two_cores() -> None:
    asked = 0
    for _, manifest, pod in workloads("self-contained"):
        one = max(
            sum(_millicores(c) for c in pod["containers"]), *[0, *map(_millicores, pod.get("initContainers", ()))]
        )
        # Those that the autoscaler decides about are two at least.
        copies = 2 if manifest["metadata"]["name"] == "gateway" else manifest["spec"].get("replicas", 1)
        asked += one * copies
    assert asked <= 1500, "the node's own pods, and a replica more while an update runs, need the rest"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_everything_goes_before_a_gateway_more(overlay: str) -> None:
    (known,) = [m for m in built(overlay) if m["kind"] == "PriorityClass"]
    assert known["value"] > 0
    for name, _, pod in workloads(overlay):
        wanted = None if name == "StatefulSet gateway" else known["metadata"]["name"]
        assert pod.get("priorityClassName") == wanted, name
    (scaled,) = [m for m in built(overlay) if m["kind"] == "StatefulSet" and m["metadata"]["name"] == "gateway"]
    assert "replicas" not in scaled["spec"], "what is applied again would turn back what the autoscaler decided"


def _millicores(container: dict[str, Any]) -> int:
    text = str(container["resources"]["requests"]["cpu"])
    return int(text.removesuffix("m")) if text.endswith("m") else int(text) * 1000


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_a_pod_names_is_there(overlay: str) -> None:
    names = {(manifest["kind"], manifest["metadata"]["name"]) for manifest in built(overlay)}
    for name, _, pod in workloads(overlay):
        if "serviceAccountName" in pod:
            assert ("ServiceAccount", pod["serviceAccountName"]) in names, name
        for volume in pod.get("volumes", ()):
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in names, name
        for container in containers(pod):
            for source in container.get("envFrom", ()):
                assert ("ConfigMap", source["configMapRef"]["name"]) in names, name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_passwords_come_from_secrets_that_are_not_in_the_repository(overlay: str) -> None:
    assert not [manifest for manifest in built(overlay) if manifest["kind"] == "Secret"]
    for name, _, pod in workloads(overlay):
        for container in containers(pod):
            for variable in container.get("env", ()):
                if any(word in variable["name"] for word in ("PASSWORD", "SECRET")):
                    assert "secretKeyRef" in variable["valueFrom"], f"{name}: {variable['name']}"


@pytest.mark.parametrize("overlay", ["production", "eks"])
def test_every_password_that_a_site_brings_is_in_the_guide(overlay: str) -> None:
    asked = {
        source["key"]
        for _, _, pod in workloads(overlay)
        for container in containers(pod)
        for variable in container.get("env", ())
        if (source := variable.get("valueFrom", {}).get("secretKeyRef", {})).get("name") == "sluice-secrets"
    }
    section = (CHECKOUT / "docs/operations.md").read_text().partition("\n### Secrets\n")[2].partition("\n### ")[0]
    assert set(re.findall(r"^\| `([A-Z0-9_]+)` \|", section, re.MULTILINE)) == asked


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_gateway_explorer_and_gold_get_no_password_of_the_tables(overlay: str) -> None:
    for name, _, pod in workloads(overlay):
        if name.split()[1] in ("gateway", "ui", "gold"):
            variables = [variable for container in containers(pod) for variable in container.get("env", ())]
            known = [(one["name"], one["valueFrom"]["secretKeyRef"]["key"]) for one in variables if "valueFrom" in one]
            own = {
                "gateway": {("SLUICE_KAFKA_PASSWORD", "GATEWAY_PASSWORD")},
                "ui": {
                    ("SLUICE_KAFKA_PASSWORD", "EXPLORER_PASSWORD"),
                    ("SLUICE_TRINO_PASSWORD", "TRINO_EXPLORER_PASSWORD"),
                },
                "gold": {("SLUICE_TRINO_PASSWORD", "TRINO_GOLD_PASSWORD")},
            }
            assert set(known) == own[name.split()[1]], name


@pytest.mark.parametrize("overlay", ["local", "self-contained"])
def test_the_stores_own_administrators_are_known_to_one_step_alone(overlay: str) -> None:
    """Where the stack brings its own store and database, whoever signs in there has an account of its own."""
    users: dict[str, tuple[str, str]] = {}
    for name, _, pod in workloads(overlay):
        for container in containers(pod):
            env = {variable["name"]: variable for variable in container.get("env", ())}
            if "SLUICE_S3_SECRET_KEY" in env:
                password = env["SLUICE_S3_SECRET_KEY"]["valueFrom"]["secretKeyRef"]["key"]
                assert password == env["LAKE_PASSWORD"]["valueFrom"]["secretKeyRef"]["key"], name
                users[f"{name} {container['name']}"] = (
                    env.get("SLUICE_S3_ACCESS_KEY", {}).get("value", OPERATOR),
                    password,
                )
    assert users == {
        "Deployment stream stream": ("stream", "STREAM_PASSWORD"),
        "Deployment maintenance maintenance": ("maintenance", "MAINTENANCE_PASSWORD"),
        "Deployment verify-watch verify-watch": ("verify", "VERIFY_PASSWORD"),
        "CronJob verify verify": ("verify", "VERIFY_PASSWORD"),
        "CronJob check check": ("verify", "VERIFY_PASSWORD"),
        "CronJob backfill backfill": (OPERATOR, "LAKE_PASSWORD"),
        "Deployment cli cli": (OPERATOR, "LAKE_PASSWORD"),
        "Job apply catalog": (OPERATOR, "LAKE_PASSWORD"),
        "Job apply tables": (OPERATOR, "LAKE_PASSWORD"),
        "Deployment trino catalog": (OPERATOR, "LAKE_PASSWORD"),
    }


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_part_signs_in_at_the_broker_under_its_own_name(overlay: str) -> None:
    users = {
        f"{name} {container['name']}": (env["SLUICE_KAFKA_USER"]["value"], env["SLUICE_KAFKA_PASSWORD"]["valueFrom"])
        for name, _, pod in workloads(overlay)
        for container in containers(pod)
        if "SLUICE_KAFKA_USER" in (env := {variable["name"]: variable for variable in container.get("env", ())})
    }
    assert {name: (user, source["secretKeyRef"]["key"]) for name, (user, source) in users.items()} == {
        "StatefulSet gateway gateway": ("gateway", "GATEWAY_PASSWORD"),
        "Deployment stream stream": ("stream", "STREAM_PASSWORD"),
        "Deployment verify-watch verify-watch": ("verify", "VERIFY_PASSWORD"),
        "CronJob verify verify": ("verify", "VERIFY_PASSWORD"),
        "Deployment ui ui": ("explorer", "EXPLORER_PASSWORD"),
        "Job apply tables": (OPERATOR, "LAKE_PASSWORD"),
        "Deployment cli cli": (OPERATOR, "LAKE_PASSWORD"),
    }
    for manifest in built(overlay):
        if manifest["kind"] == "ConfigMap" and manifest["metadata"]["name"].startswith("lake-"):
            encrypted = overlay in ("production", "eks")
            assert manifest["data"]["SLUICE_KAFKA_SECURITY_PROTOCOL"] == ("SASL_SSL" if encrypted else "SASL_PLAINTEXT")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_goes_in_or_out_unless_it_is_named(overlay: str) -> None:
    policies = {m["metadata"]["name"]: m["spec"] for m in built(overlay) if m["kind"] == "NetworkPolicy"}
    everything = policies["deny-all"]
    assert everything == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    selected = [policy["podSelector"].get("matchLabels", {}) for policy in policies.values()]
    for name, manifest, _ in workloads(overlay):
        labels = template(manifest)["metadata"]["labels"]
        assert any(wanted and wanted.items() <= labels.items() for wanted in selected), f"{name} could reach nobody"


@cache
def base() -> list[dict[str, Any]]:
    built(OVERLAYS[0])  # or skip
    return kustomized(CHECKOUT / "k8s" / "base")


def egress(manifests: list[dict[str, Any]], labels: dict[str, str]) -> list[dict[str, Any]]:
    """Rules for what pods with these labels may reach."""
    return [
        rule
        for manifest in manifests
        if manifest["kind"] == "NetworkPolicy" and selects(manifest["spec"]["podSelector"], labels)
        for rule in manifest["spec"].get("egress", ())
    ]


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    assert set(selector) <= {"matchLabels", "matchExpressions"}
    expressions = selector.get("matchExpressions", [])
    assert {expression["operator"] for expression in expressions} <= {"In"}
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(expression["key"]) in expression["values"] for expression in expressions
    )


def servers_in_the_cluster(labels: dict[str, str]) -> set[str]:
    """Which servers beside them pods with these labels may reach."""
    asked = [to["podSelector"] for rule in egress(base(), labels) for to in rule["to"] if "podSelector" in to]
    return {server for server in SERVERS if any(selects(one, {"app.kubernetes.io/name": server}) for one in asked)}


def ports_anywhere(overlay: str, labels: dict[str, str]) -> set[int]:
    """At which ports pods with these labels may reach whatever there is."""
    return {port["port"] for rule in egress(built(overlay), labels) if "to" not in rule for port in rule["ports"]}


@pytest.mark.parametrize("overlay", ["production", "eks"])
def test_who_may_reach_a_server_in_the_cluster_may_reach_it_elsewhere(overlay: str) -> None:
    lake = settings_of({f"{m['kind']} {m['metadata']['name']}": m for m in built(overlay)})
    addresses = {
        "broker": f"kafka://{lake['SLUICE_KAFKA_BOOTSTRAP']}",
        "postgres": f"postgresql://{lake['LAKE_DATABASE']}",
        "minio": lake["SLUICE_S3_ENDPOINT"],
        "trino": lake["SLUICE_TRINO_URL"],
    }
    ports = {server: urlsplit(address).port or 443 for server, address in addresses.items()}
    assert ports == {"broker": 9093, "postgres": 5432, "minio": 443, "trino": 8443}
    reaches = {}
    for name, manifest, _ in workloads(overlay):
        labels = template(manifest)["metadata"]["labels"]
        reaches[name.split()[1]] = servers_in_the_cluster(labels)
        wanted = {ports[server] for server in servers_in_the_cluster(labels) - NOT_TOLD.get(name, set())}
        assert wanted == ports_anywhere(overlay, labels), name
    assert reaches["check"] == reaches["cli"] == reaches["verify-watch"] == SERVERS
    assert (reaches["gateway"], reaches["gold"]) == ({"broker"}, {"trino"})


def test_gateway_keeps_what_it_acknowledged() -> None:
    for overlay in OVERLAYS:
        (gateway,) = [manifest for name, manifest, _ in workloads(overlay) if name == "StatefulSet gateway"]
        spec = gateway["spec"]
        assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
        (claim,) = spec["volumeClaimTemplates"]
        pod = spec["template"]["spec"]
        variables = {v["name"]: v.get("value", "") for v in pod["containers"][0]["env"]}
        room = int(claim["spec"]["resources"]["requests"]["storage"].removesuffix("Gi")) << 30
        assert int(variables["SLUICE_GATEWAY_SPOOL_BYTES"]) < room * 0.9, "a full disk would come before a full spool"
        start = pod["containers"][0]["startupProbe"]
        patience = start["periodSeconds"] * start["failureThreshold"]
        assert int(variables["SLUICE_GATEWAY_SPOOL_BYTES"]) < patience * 20e6, "it reads all of it before it listens"
        pause = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert pod["terminationGracePeriodSeconds"] > pause + 30


@pytest.mark.parametrize("overlay", ["production", "eks"])
def test_nothing_of_the_gateway_waits_for_what_may_never_come(overlay: str) -> None:
    (gateway,) = [manifest for name, manifest, _ in workloads(overlay) if name == "StatefulSet gateway"]
    spread = gateway["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert {constraint["topologyKey"]: constraint["whenUnsatisfiable"] for constraint in spread} == {
        "kubernetes.io/hostname": "ScheduleAnyway",
        "topology.kubernetes.io/zone": "ScheduleAnyway",
    }
    budgets = [manifest["spec"] for manifest in built(overlay) if manifest["kind"] == "PodDisruptionBudget"]
    assert {budget["unhealthyPodEvictionPolicy"] for budget in budgets} == {"AlwaysAllow"}


@pytest.mark.parametrize("overlay", ["production", "eks"])
def test_a_proxy_sends_to_no_gateway_that_ends_or_closes_its_connection(overlay: str) -> None:
    (pod,) = [pod for name, _, pod in workloads(overlay) if name == "StatefulSet gateway"]
    variables = {variable["name"]: variable.get("value", "") for variable in pod["containers"][0]["env"]}
    assert float(variables["SLUICE_GATEWAY_HEADER_TIMEOUT"]) > 60, "as long as nginx and an ALB keep one open"
    if overlay == "eks":
        (namespace,) = [manifest for manifest in built(overlay) if manifest["kind"] == "Namespace"]
        assert namespace["metadata"]["labels"]["elbv2.k8s.aws/pod-readiness-gate-inject"] == "enabled"
        assert pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"] >= 30


@pytest.mark.parametrize("overlay", ["production", "eks"])
def test_the_explorer_is_published_only_with_somebody_in_front_who_asks(overlay: str, tmp_path: Path) -> None:
    published = [manifest for manifest in built(overlay) if manifest["kind"] == "Ingress"]
    assert [manifest["metadata"]["name"] for manifest in published] == ["gateway"]
    said = with_components(overlay, tmp_path, "ingress-ui")["Ingress ui"]["metadata"]["annotations"]
    assert said["nginx.ingress.kubernetes.io/auth-url"].startswith("https://")
    assert said["alb.ingress.kubernetes.io/auth-type"] == "oidc"
    assert yaml.safe_load(said["alb.ingress.kubernetes.io/auth-idp-oidc"])["secretName"]
    assert said["alb.ingress.kubernetes.io/scheme"] == "internal"
    assert "alb.ingress.kubernetes.io/group.name" not in said, "a group has one balancer, and the gateway's is public"


@pytest.mark.parametrize("overlay", ["production", "eks"])
def test_the_explorer_is_told_no_address_that_it_may_not_reach(overlay: str) -> None:
    (pod,) = [pod for name, _, pod in workloads(overlay) if name == "Deployment ui"]
    variables = {variable["name"]: variable.get("value") for variable in pod["containers"][0]["env"]}
    assert variables["SLUICE_S3_ENDPOINT"] == ""
    assert "SLUICE_CATALOG_URI" not in variables


def test_certificates_can_be_asked_for_where_everything_is_denied() -> None:
    (policy,) = [
        manifest["spec"]
        for manifest in built("production")
        if manifest["kind"] == "NetworkPolicy"
        and selects(manifest["spec"]["podSelector"], {"acme.cert-manager.io/http01-solver": "true"})
        and manifest["spec"].get("ingress")
    ]
    assert policy["ingress"] == [{"ports": [{"port": 8089}]}]


def test_nodes_publish_gateway_and_explorer_and_no_metrics() -> None:
    services = [m["spec"] for m in built("local") if m["kind"] == "Service" and m["spec"].get("type") == "NodePort"]
    ports = {port["port"]: port.get("nodePort") for service in services for port in service["ports"]}
    assert ports == {8000: 30001, 8501: 30000}


def test_a_database_starts_again_on_a_volume_that_was_opened_to_its_group(tmp_path: Path) -> None:
    data, program = tmp_path / "data", tmp_path / "postgres"
    data.mkdir()
    (data / "PG_VERSION").write_text("18")
    data.chmod(0o2770)  # as Kubernetes leaves it
    program.write_text('#!/bin/sh\nstat -c %a "$PGDATA"\n')
    program.chmod(0o755)
    done = subprocess.run(
        ["sh", str(CHECKOUT / "infra/images/servers/postgres.sh")],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "PGDATA": str(data)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip()[-3:] == "700", "PostgreSQL takes 700 and 750, whatever the bit of the group's says"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_end_of_every_certificate_that_is_shown_is_watched(overlay: str, tmp_path: Path) -> None:
    """Not only that of the authority, which outlives it by years where cert-manager makes them."""
    found = with_components(overlay, tmp_path, "gateway-tls", "metrics-tls")
    pod = found["Deployment verify-watch"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    (told,) = (v["value"] for v in container["env"] if v["name"] == "SLUICE_VERIFY_CERTIFICATES")
    looked_at = {
        (source["secret"]["name"], item["key"])
        for mount in container["volumeMounts"]
        if mount["mountPath"] in told.split(",")
        for volume in pod["volumes"]
        if volume["name"] == mount["name"]
        for source in volume["projected"]["sources"]
        for item in source["secret"]["items"]
    }
    assert {(name, "tls.crt") for name in ("gateway-tls", "metrics-tls", "servers-tls", "trino-tls")} <= looked_at
    assert not [key for _, key in looked_at if key == "tls.key"]


def test_self_contained_runs_only_images_that_are_built_here() -> None:
    for name, _, pod in workloads("self-contained"):
        for container in containers(pod):
            assert container["image"].startswith("sluice/"), name


def test_production_has_no_server_of_its_own() -> None:
    for overlay in ("production", "eks"):
        assert not SERVERS & {name.split()[1] for name, _, _ in workloads(overlay)}


def with_components(overlay: str, folder: Path, *components: str) -> dict[str, dict[str, Any]]:
    """What Kubernetes takes of an overlay and components; kind and name → manifest."""
    built(overlay)  # or skip
    below = os.path.relpath(CHECKOUT / "k8s" / "overlays" / overlay, folder.resolve())
    beside = [os.path.relpath(CHECKOUT / "k8s" / "components" / name, folder.resolve()) for name in components]
    (folder / "kustomization.yaml").write_text(yaml.safe_dump({"resources": [below], "components": beside}))
    found = {f"{manifest['kind']} {manifest['metadata']['name']}": manifest for manifest in kustomized(folder)}
    for manifest in found.values():
        if manifest["apiVersion"] not in FOREIGN:
            kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
    return found


def settings_of(found: dict[str, dict[str, Any]]) -> dict[str, str]:
    """The ConfigMap that all parts read."""
    (lake,) = (found[name]["data"] for name in found if name.startswith("ConfigMap lake-"))
    return dict(lake)


def mounted(pod: dict[str, Any], container: dict[str, Any], file: str) -> set[tuple[str, str]]:
    """Where a container finds a file: (Secret, key)."""
    folders = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    folder, name = str(Path(file).parent), Path(file).name
    if folder not in folders:
        return set()
    volume = volumes[folders[folder]]
    secrets = [{**volume["secret"], "name": volume["secret"]["secretName"]}] if "secret" in volume else []
    secrets += [source["secret"] for source in volume.get("projected", {}).get("sources", ())]
    return {
        (secret["name"], item["key"])
        for secret in secrets
        for item in secret.get("items", [{"key": name, "path": name}])
        if item["path"] == name
    }


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_whom_to_believe_is_in_every_container_that_asks_somebody_and_no_key_is(overlay: str) -> None:
    asked = 0
    for name, _, pod in workloads(overlay):
        for container in containers(pod):
            if container["image"].split("/")[-1].split(":")[0] in ("gateway", "stream", "ui", "cli"):
                asked += 1
                where = f"{name} {container['name']}"
                assert mounted(pod, container, "/etc/sluice/trust/servers.crt") == {("servers-tls", "ca.crt")}, where
                assert not mounted(pod, container, "/etc/sluice/trust/tls.key"), where
    assert asked > 10


@pytest.mark.parametrize(
    ("overlay", "components"),
    [("local", ("redpanda-tls", "minio-tls", "postgres-tls")), ("self-contained", ("kafka-tls", "minio-tls"))],
)
def test_servers_with_tls_show_a_certificate_that_all_who_ask_them_trust(
    overlay: str, components: tuple[str, ...], tmp_path: Path
) -> None:
    found = with_components(overlay, tmp_path, *components)
    lake = settings_of(found)
    assert lake["SLUICE_KAFKA_SECURITY_PROTOCOL"] == "SASL_SSL"
    assert lake["SLUICE_KAFKA_CA"] == lake["SLUICE_S3_CA"] == "/etc/sluice/trust/servers.crt"
    assert lake["SLUICE_S3_ENDPOINT"] == "https://minio:9000"
    if "postgres-tls" in components:
        address = urlsplit(f"postgresql://user:password@{lake['LAKE_DATABASE']}")
        assert parse_qs(address.query) == {"sslmode": ["verify-full"], "sslrootcert": [lake["SLUICE_S3_CA"]]}
    shown = {
        "kafka-tls": ("broker", "/etc/kafka/tls/tls.crt", "/etc/kafka/tls/tls.key"),
        "redpanda-tls": ("broker", "/etc/tls/tls.crt", "/etc/tls/tls.key"),
        "minio-tls": ("minio", "/etc/minio/certs/public.crt", "/etc/minio/certs/private.key"),
        "postgres-tls": ("postgres", "/etc/tls/tls.crt", "/etc/tls/tls.key"),
    }
    for server, certificate, key in (shown[component] for component in components):
        pod = found[f"StatefulSet {server}"]["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert mounted(pod, container, certificate) == {("servers-tls", "tls.crt")}, server
        assert mounted(pod, container, key) == {("servers-tls", "tls.key")}, server
        told = " ".join([*container.get("args", ()), *(one.get("value", "") for one in container["env"])])
        assert str(Path(certificate).parent) in told, server
    trino = found["Deployment trino"]["spec"]["template"]["spec"]
    (container,) = trino["containers"]
    (java,) = (one["value"] for one in container["env"] if one["name"] == "JDK_JAVA_OPTIONS")
    access = next(one for one in trino["initContainers"] if one["name"] == "access")
    folder = next(one["value"] for one in access["env"] if one["name"] == "SLUICE_TRINO_ACCESS")
    assert java.split() == java_options(Path(folder) / AUTHORITIES)
    assert mounted(trino, container, lake["SLUICE_S3_CA"]) == {("servers-tls", "ca.crt")}, "for the catalog"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_metrics_with_tls_are_asked_over_tls_by_all_who_ask_for_them(overlay: str, tmp_path: Path) -> None:
    found = with_components(overlay, tmp_path, "metrics-tls")
    lake = settings_of(found)
    assert lake["SLUICE_STREAM_URL"] == "https://stream:8090"
    for part in ("gateway", "stream", "maintenance", "verify-watch", "gold", "ui"):
        kind = "StatefulSet" if part == "gateway" else "Deployment"
        pod = found[f"{kind} {part}"]["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        if part == "ui":
            assert mounted(pod, container, lake["SLUICE_STREAM_CA"]) == {("metrics-tls", "ca.crt")}
            continue
        variables = {variable["name"]: variable.get("value") for variable in container["env"]}
        for name, key in (("CERTIFICATE", "tls.crt"), ("KEY", "tls.key")):
            assert mounted(pod, container, variables[f"SLUICE_METRICS_TLS_{name}"]) == {("metrics-tls", key)}, part
        probes = [container[f"{name}Probe"]["httpGet"].get("scheme") for name in ("startup", "readiness", "liveness")]
        assert probes == [None if part == "gateway" else "HTTPS"] * 3, part
        if monitor := found.get(f"ServiceMonitor {part}"):
            endpoint = monitor["spec"]["endpoints"][0]
            assert (endpoint["scheme"], endpoint["tlsConfig"]["serverName"]) == ("https", part)
    assert ("ServiceMonitor stream" in found) == (overlay in ("production", "eks"))


@pytest.mark.parametrize("overlay", ["production", "eks"])
def test_a_gateway_with_tls_is_asked_over_tls_by_all_who_ask_it(overlay: str, tmp_path: Path) -> None:
    found = with_components(overlay, tmp_path, "ingress-ui", "gateway-tls")
    controller = "alb" if overlay == "eks" else "nginx"
    by_https = f"{controller}.ingress.kubernetes.io/backend-protocol"
    assert found["Ingress gateway"]["metadata"]["annotations"][by_https] == "HTTPS"
    assert by_https not in found["Ingress ui"]["metadata"]["annotations"]
    container = found["StatefulSet gateway"]["spec"]["template"]["spec"]["containers"][0]
    probes = [container[f"{name}Probe"]["httpGet"]["scheme"] for name in ("startup", "readiness", "liveness")]
    assert probes == ["HTTPS"] * 3
    (port,) = {one["port"] for one in found["ServiceMonitor gateway"]["spec"]["endpoints"]}
    assert port in {one["name"] for one in container["ports"]} - {"http"}, "where no key is asked for"
    assert port in {one["name"] for one in found["Service gateway"]["spec"]["ports"]}
    lake = settings_of(found)
    assert lake["SLUICE_GATEWAY_URL"] == "https://gateway:8000"
    variables = {variable["name"]: variable.get("value") for variable in container["env"]}
    pods = {name: found[name]["spec"]["template"]["spec"] for name in ("StatefulSet gateway", "Deployment ui")}
    pods["CronJob backfill"] = found["CronJob backfill"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    for file, name, key in (
        (variables["SLUICE_GATEWAY_TLS_CERTIFICATE"], "StatefulSet gateway", "tls.crt"),
        (variables["SLUICE_GATEWAY_TLS_KEY"], "StatefulSet gateway", "tls.key"),
        (lake["SLUICE_GATEWAY_CA"], "Deployment ui", "ca.crt"),
        (lake["SLUICE_GATEWAY_CA"], "CronJob backfill", "ca.crt"),
    ):
        assert mounted(pods[name], pods[name]["containers"][0], file) == {("gateway-tls", key)}, file
