"""The self-contained stack on the cluster that KUBECONFIG names, in a namespace of its own. `./sluice test --kubernetes` runs it.

The cluster must have the images: build them with `./sluice images --servers` and load them (`kind load docker-image`,
`minikube image load`).
"""

import base64
import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml

from ingest_gateway.api_keys import MARK
from tests.kubernetes import guide
from tests.stack import CHECKOUT, eventually, free_port_base

if os.environ.get("SLUICE_TEST_KUBERNETES") != "1":
    collect_ignore_glob = ["test_*.py"]

COMPONENTS = CHECKOUT / "k8s" / "components"
OVERLAY = CHECKOUT / "k8s" / "overlays" / "self-contained"
READY = ("statefulset/postgres", "statefulset/minio", "statefulset/broker", "deployment/trino", "statefulset/gateway",
         "deployment/stream", "deployment/maintenance", "deployment/verify-watch", "deployment/gold", "deployment/ui")  # fmt: skip


@dataclass(frozen=True)
class Cluster:
    """One namespace, filled from a folder that looks like the checkout. `key` may submit to every stream."""

    namespace: str
    folder: Path
    key: str = ""

    def guide(self, heading: str, place: int = 0, instead: Mapping[str, str] | None = None) -> str:
        """What the commands of a block of docs/operations.md print here."""
        own = {"-n sluice": f"-n {self.namespace}", **(instead or {})}
        return guide.run(guide.blocks(heading)[place], self.folder, own)

    def write_overlay(self, *components: str) -> None:
        """The overlay of the same name, in this namespace, with components."""
        path = self.folder / "k8s" / "overlays" / OVERLAY.name
        path.mkdir(parents=True, exist_ok=True)
        below, *beside = (
            os.path.relpath(one, path.resolve()) for one in (OVERLAY, *(COMPONENTS / name for name in components))
        )
        kustomization = {"namespace": self.namespace, "resources": [below], "components": beside}
        (path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))

    def run(self, *arguments: str, stdin: str | None = None, limit: float = 900.0) -> subprocess.CompletedProcess[str]:
        """Run `kubectl ARGUMENTS` in the namespace, whatever its exit code."""
        command = ["kubectl", "--namespace", self.namespace, *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=limit, check=False)

    def kubectl(self, *arguments: str, stdin: str | None = None, limit: float = 900.0) -> str:
        """Run `kubectl ARGUMENTS`, which must succeed, and return what it printed."""
        done = self.run(*arguments, stdin=stdin, limit=limit)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}{self.told()}"
        return done.stdout

    def secret(self, name: str, key: str) -> str:
        """A value of one of the namespace's Secrets."""
        found = json.loads(self.kubectl("get", "secret", name, "-o", "json"))["data"][key]
        return base64.b64decode(found).decode()

    def told(self) -> str:
        """What a person would look at first."""
        return self.run("get", "pods,events", "--sort-by=.metadata.creationTimestamp").stdout[-6000:]

    @contextmanager
    def forwarded(self, target: str, port: int) -> Iterator[int]:
        """`kubectl port-forward`, for as long as the block runs; the local port."""
        local = free_port_base()
        command = ["kubectl", "--namespace", self.namespace, "port-forward", target, f"{local}:{port}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            try:
                assert process.stdout is not None
                said = process.stdout.readline()
                assert said.startswith("Forwarding from"), said
                yield local
            finally:
                process.terminate()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The stack, applied and Ready. SLUICE_KEEP=1 leaves the namespace."""
    if shutil.which("kubectl") is None or subprocess.run(["kubectl", "version"], capture_output=True).returncode:
        pytest.fail("--kubernetes needs kubectl and a cluster that answers: set KUBECONFIG")
    name = f"sluice-test-{secrets.token_hex(3)}"
    made = Cluster(name, tmp_path_factory.mktemp("checkout"))
    (made.folder / "sluice").symlink_to(CHECKOUT / "sluice")
    made.write_overlay()
    namespace = (CHECKOUT / "k8s" / "base" / "namespace.yaml").read_text()
    (made.folder / "k8s" / "base").mkdir()
    (made.folder / "k8s" / "base" / "namespace.yaml").write_text(namespace.replace("name: sluice", f"name: {name}"))
    try:
        own = {"./sluice images --servers": "true", "secrets --kubernetes": "secrets --file .env --kubernetes"}
        printed = made.guide("From nothing to an answer", 0, own)
        made = replace(made, key=next(line for line in printed.splitlines() if line.startswith(f"{MARK}_")))
        for workload in READY:
            made.kubectl("rollout", "status", workload, "--timeout=600s")
        made.kubectl("wait", "--for=condition=complete", "job/apply", "--timeout=300s")
        yield made
    finally:
        if os.environ.get("SLUICE_KEEP") == "1":
            print(f"\nkept: kubectl -n {name} get pods")
        else:
            made.run("delete", "namespace", name, "--wait=true", "--timeout=180s")


@contextmanager
def load(cluster: Cluster, program: str, **settings: str) -> Iterator[str]:
    """A pod that runs a program of this folder while the block does, once it has said that it sends; its name."""
    container = {
        "name": "load",
        "image": "sluice/cli:0.1.0",
        "command": ["python", "-c", Path(__file__).with_name(program).read_text()],
        "envFrom": [{"configMapRef": {"name": config_map(cluster)}}],
        "env": [{"name": name, "value": value} for name, value in {"KEY": cluster.key, **settings}.items()],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
    }  # fmt: skip
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "load", "labels": {"sluice/tables": "yes"}},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
        },
    }
    cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(pod))
    try:
        eventually(lambda: "sent" in cluster.run("logs", "load").stdout, 180, "the first batch")
        yield "load"
    finally:
        cluster.run("delete", "pod", "load", "--wait=true", "--grace-period=1")


def config_map(cluster: Cluster) -> str:
    """Its name ends in a hash of what it holds."""
    names = json.loads(cluster.kubectl("get", "configmaps", "-o", "json"))["items"]
    return next(str(one["metadata"]["name"]) for one in names if one["metadata"]["name"].startswith("lake-"))
