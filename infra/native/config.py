"""One stack's settings: ports, memory, bind address and passwords. Chosen once by `sluice up`, kept in the state folder.

`environment(state)` gives every SLUICE_* variable that parts and commands read.
"""

import contextlib
import hmac
import json
import os
import re
import secrets
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from catalog.errors import SluiceError
from infra.access.accounts import ACCOUNTS, AT_BROKER, AT_TABLES, OPERATOR
from infra.access.trino_users import CERTIFICATE
from infra.native import encryption
from infra.native.cache import cache_folder
from infra.native.components import components
from infra.native.encryption import Way
from infra.native.ports import check_ports, parse_port, port_variable
from infra.private_files import write_private

CHECKOUT = Path(__file__).resolve().parents[2]
PORT_BASE = 17000
# A port is the base plus its place here, unless it is set by itself.
PORT_NAMES = (
    "ui",
    "gateway",
    "trino",
    "minio",
    "kafka",
    "postgres",
    "stream",
    "kafka_controller",
    "maintenance",
    "verify",
    "gold",
    "prometheus",
    "alertmanager",
    "gateway_metrics",
)
MEMORY = {
    "postgres": "512m",
    "minio": "512m",
    "kafka": "512m",
    "trino": "1500m",
    "gateway": "1g",
    "stream": "600m",
    "maintenance": "512m",
    "verify": "1g",
    "gold": "1g",
    "ui": "2g",
    "prometheus": "512m",
    "alertmanager": "128m",
}
LOOPBACK = "127.0.0.1"
# They ask nobody who he is, and nobody but this machine needs them.
LOOPBACK_ONLY = frozenset({"kafka_controller", "prometheus", "alertmanager", "gateway_metrics"})
ADMINISTRATOR = "administrator"  # of the object store, of the broker; makes the accounts and is used for nothing else
# What describes no server, and what it is if nobody says.
LAKE_DEFAULTS = {
    "SLUICE_CONTRACTS": str(CHECKOUT / "catalog" / "contracts"),
    "SLUICE_TOPIC_PARTITIONS": "2",
    "SLUICE_TRINO_AUTHENTICATION": "",
    "SLUICE_UI_ALLOW_UNAUTHENTICATED": "",
}
CHOICES = {"SLUICE_TRINO_AUTHENTICATION": ("none", "password"), "SLUICE_UI_ALLOW_UNAUTHENTICATED": ("true", "false")}


@dataclass(frozen=True)
class Stack:
    """Everything that is chosen for one stack. `identity` marks the processes that belong to it."""

    state: Path
    identity: str
    bind: str
    ports: Mapping[str, int]
    memory: Mapping[str, str]
    passwords: Mapping[str, str]
    lake: Mapping[str, str] = field(default_factory=lambda: LAKE_DEFAULTS)
    tls: Mapping[str, str] = field(default_factory=dict)  # setting → file, of the ways that are encrypted

    @property
    def host(self) -> str:
        """The address at which clients reach it: a wildcard is no address."""
        if self.bind in {"0.0.0.0", "::"}:
            return os.environ.get("SLUICE_ADVERTISED_HOST") or socket.gethostname()
        return self.bind

    @property
    def trino_asks(self) -> bool:
        """Whether Trino wants a password, over https; if nobody says, where other machines can reach it."""
        chosen = self.lake.get("SLUICE_TRINO_AUTHENTICATION") or ("none" if self.bind == LOOPBACK else "password")
        return chosen == "password"

    def way(self, part: str) -> Way | None:
        """What encrypts the way to this part."""
        return encryption.way(part, self.tls)

    def ca(self, part: str) -> Path | None:
        """The authority that signed the part's certificate, if it has one."""
        found = self.way(part)
        return found.ca if found else None

    def url(self, part: str) -> str:
        """Where one of the parts that encryption is chosen for answers HTTP."""
        return f"http{'s' if self.way(part) else ''}://{self.address(part)}"

    @property
    def trino_url(self) -> str:
        return f"http{'s' if self.trino_asks else ''}://{self.address('trino')}"

    @property
    def trino_access(self) -> Path:
        """Who may ask Trino, what each may do, and its certificate."""
        return self.state / "trino"

    def stays_here(self, port: str) -> bool:
        """Whether it listens on loopback whatever SLUICE_BIND says.

        The explorer asks nobody who he is and sees what masks keep from readers: it goes with the others only where somebody says
        that something in front asks.
        """
        return port in LOOPBACK_ONLY or (port == "ui" and self.lake.get("SLUICE_UI_ALLOW_UNAUTHENTICATED") != "true")

    def binding(self, port: str) -> str:
        """The address at which it listens."""
        return LOOPBACK if self.stays_here(port) else self.bind

    def address(self, port: str) -> str:
        return f"{LOOPBACK if self.stays_here(port) else self.host}:{self.ports[port]}"

    def folder(self, *names: str) -> Path:
        return self.state.joinpath(*names)

    def password(self, account: str) -> str:
        """An account's password. All but the owner's follow from a kept one, so that an older stack has them too."""
        if account == OPERATOR:
            return self.passwords["lake"]
        return hmac.digest(self.passwords["postgres"].encode(), account.encode(), "sha256").hex()[:40]


def state_folder() -> Path:
    """`$SLUICE_STATE`, else `.sluice` in this checkout."""
    return Path(os.environ.get("SLUICE_STATE") or CHECKOUT / ".sluice").absolute()


def settings_file(state: Path) -> Path:
    return state / "stack.json"


def load(state: Path) -> Stack | None:
    """The stack that was chosen for a state folder, or None before the first `up`."""
    try:
        document = json.loads(settings_file(state).read_text())
        # A part that is younger than the stack stands beside the others.
        first = document["ports"].get("ui", PORT_BASE)
        document["ports"] = {name: first + place for place, name in enumerate(PORT_NAMES)} | document["ports"]
        document["memory"] = MEMORY | document["memory"]
        document["lake"] = LAKE_DEFAULTS | document["lake"]
        document["tls"] = document.get("tls", {}) | document.pop("gateway_tls", {})  # once kept apart
        return Stack(state=state, **document)
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        raise SluiceError(f"The state folder {state} (SLUICE_STATE) is not a folder: name another one") from None
    except (OSError, ValueError, TypeError, LookupError) as failure:
        raise SluiceError(
            f"{settings_file(state)} cannot be read ({failure}): repair it, or remove the state with `sluice down --purge`"
        ) from None


def save(stack: Stack) -> None:
    """Write the settings; they hold passwords, so nobody else may read them."""
    stack.state.mkdir(parents=True, exist_ok=True)
    document = {name: value for name, value in asdict(stack).items() if name != "state"}
    write_private(settings_file(stack.state), json.dumps(document, indent=1))


def choose(
    state: Path, environ: Mapping[str, str], ports: Mapping[str, int] | None = None, base: int | None = None
) -> Stack:
    """Settings for `up`: options first, then SLUICE_* variables, then what this state folder had, then the defaults."""
    before = load(state)
    if base is None and environ.get("SLUICE_PORT_BASE"):
        base = parse_port("SLUICE_PORT_BASE", environ["SLUICE_PORT_BASE"])
    kept = dict(before.ports) if before and base is None else {}
    chosen = {
        name: (ports or {}).get(name)
        or port_variable(name, environ)
        or kept.get(name)
        or (base if base is not None else PORT_BASE) + place
        for place, name in enumerate(PORT_NAMES)
    }
    check_ports(chosen)
    known = before.memory if before else {}
    memory = {
        part: environ.get(f"SLUICE_MEMORY_{part.upper()}") or known.get(part, default)
        for part, default in MEMORY.items()
    }
    for part, value in memory.items():
        parse_memory(f"SLUICE_MEMORY_{part.upper()}", value)
    return Stack(
        state=state,
        identity=before.identity if before else secrets.token_hex(8),
        bind=environ.get("SLUICE_BIND") or (before.bind if before else LOOPBACK),
        ports=chosen,
        memory=memory,
        passwords=before.passwords
        if before
        else {"postgres": secrets.token_hex(16), "lake": secrets.token_hex(16), "s3": secrets.token_hex(20)},
        lake=_lake(environ, before.lake if before else LAKE_DEFAULTS),
        tls=encryption.choose(environ, before.tls if before else {}),
    )


def _lake(environ: Mapping[str, str], before: Mapping[str, str]) -> dict[str, str]:
    chosen = {name: environ.get(name) or before.get(name, default) for name, default in LAKE_DEFAULTS.items()}
    contracts = Path(chosen["SLUICE_CONTRACTS"]).absolute()
    if not contracts.is_dir():
        raise SluiceError(
            f"SLUICE_CONTRACTS={chosen['SLUICE_CONTRACTS']!r} is no folder: name one that holds the contracts"
        )
    for name, allowed in CHOICES.items():
        if chosen[name] not in ("", *allowed):
            raise SluiceError(f"{name}={chosen[name]!r}: expected {' or '.join(allowed)}")
    return {**chosen, "SLUICE_CONTRACTS": str(contracts)}


def parse_memory(name: str, value: str) -> int:
    """Bytes of `512m`, `2g` and the like. Raises SluiceError that names the setting."""
    found = re.fullmatch(r"(\d+)([kmg])", value.lower())
    if not found or int(found[1]) == 0:
        raise SluiceError(f"{name}={value!r} is not an amount of memory: write it like 512m or 2g")
    return int(found[1]) * {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}[found[2]]


def environment(state: Path) -> dict[str, str]:
    """Every SLUICE_* variable for parts and commands of the stack in this state folder.

    Raises SluiceError before the first `sluice up`. For what describes no server (contracts, partitions) the caller's
    environment comes first, then what `up` was told.
    """
    stack = load(state)
    if stack is None:
        raise SluiceError(f"There is no stack in {state}: start one with `sluice up`")
    return variables(stack)


def variables(stack: Stack) -> dict[str, str]:
    """The SLUICE_* variables of a stack, with the credentials that a person's commands have."""
    from infra.native.fetch import java_for_spark  # imported late: `status` needs no fetching

    cache = cache_folder()
    values = {
        "SLUICE_STATE": str(stack.state),
        "SLUICE_BIND": stack.bind,
        "SLUICE_KAFKA_BOOTSTRAP": stack.address("kafka"),
        "SLUICE_KAFKA_SECURITY_PROTOCOL": "SASL_SSL" if stack.way("kafka") else "SASL_PLAINTEXT",
        "SLUICE_KAFKA_MECHANISM": "SCRAM-SHA-512",
        "SLUICE_KAFKA_CA": stack.tls.get("SLUICE_KAFKA_CA", ""),
        "SLUICE_CATALOG_NAME": "lake",
        "SLUICE_WAREHOUSE": "s3://lake/warehouse",
        "SLUICE_S3_ENDPOINT": stack.url("minio"),
        "SLUICE_S3_CA": stack.tls.get("SLUICE_S3_CA", ""),
        "SLUICE_S3_REGION": "us-east-1",
        "SLUICE_TRINO_URL": stack.trino_url,
        "SLUICE_TRINO_ACCESS": str(stack.trino_access),
        "SLUICE_GATEWAY_URL": stack.url("gateway"),
        **{name: stack.tls.get(name, "") for name in encryption.variables("gateway")},
        "SLUICE_GATEWAY_HOST": stack.bind,
        "SLUICE_GATEWAY_PORT": str(stack.ports["gateway"]),
        "SLUICE_GATEWAY_SPOOL": os.environ.get("SLUICE_GATEWAY_SPOOL", str(stack.folder("data", "spool"))),
        "SLUICE_GATEWAY_KEYS": os.environ.get("SLUICE_GATEWAY_KEYS") or str(stack.folder("keys.json")),
        # The supervisor asks its parts over loopback, in the clear.
        "SLUICE_METRICS_TLS_CERTIFICATE": "",
        "SLUICE_METRICS_TLS_KEY": "",
        "SLUICE_STREAM_HOST": stack.bind,
        "SLUICE_STREAM_PORT": str(stack.ports["stream"]),
        "SLUICE_STREAM_URL": f"http://{stack.address('stream')}",
        "SLUICE_MAINTENANCE_HOST": stack.bind,
        "SLUICE_MAINTENANCE_PORT": str(stack.ports["maintenance"]),
        "SLUICE_MAINTENANCE_URL": f"http://{stack.address('maintenance')}",
        "SLUICE_VERIFY_HOST": stack.bind,
        "SLUICE_VERIFY_PORT": str(stack.ports["verify"]),
        "SLUICE_VERIFY_CERTIFICATES": os.environ.get("SLUICE_VERIFY_CERTIFICATES") or _own_certificates(stack),
        "SLUICE_VERIFY_DISKS": os.environ.get("SLUICE_VERIFY_DISKS") or str(stack.folder("data")),
        "SLUICE_VERIFY_URL": f"http://{stack.address('verify')}",
        "SLUICE_GOLD_HOST": stack.bind,
        "SLUICE_GOLD_PORT": str(stack.ports["gold"]),
        "SLUICE_UI_URL": stack.url("ui"),
        **{name: os.environ.get(name) or value for name, value in stack.lake.items()},
        "SLUICE_SPARK_JARS": str(components()["spark-jars"].folder(cache)),
    }
    values |= credentials(stack, OPERATOR) | trino_credentials(stack, OPERATOR)
    values |= {f"SLUICE_PORT_{name.upper()}": str(port) for name, port in stack.ports.items()}
    values |= {f"SLUICE_MEMORY_{part.upper()}": limit for part, limit in stack.memory.items()}
    with contextlib.suppress(SluiceError):  # commands that start no Spark do without
        values["SLUICE_JAVA"] = str(java_for_spark(cache).path)
    return values


def _own_certificates(stack: Stack) -> str:
    shown = [str(way.certificate) for part in encryption.WAYS if (way := stack.way(part))]
    trino = [str(stack.trino_access / CERTIFICATE)] if stack.trino_asks else []
    return ",".join([*trino, *shown])


def credentials(stack: Stack, account: str | None) -> dict[str, str]:
    """What opens tables and topics to a part: an account's name and password where it is known, or nothing at all."""
    at_tables = account if account in {one.name for one in AT_TABLES} else None
    at_broker = account if account in {one.name for one in AT_BROKER} else None
    user = f"{at_tables}:{stack.password(at_tables)}@" if at_tables else ""
    return {
        "SLUICE_CATALOG_URI": f"postgresql://{user}{stack.address('postgres')}/lake",
        "SLUICE_S3_ACCESS_KEY": at_tables or "",
        "SLUICE_S3_SECRET_KEY": stack.password(at_tables) if at_tables else "",
        "SLUICE_KAFKA_USER": at_broker or "",
        "SLUICE_KAFKA_PASSWORD": stack.password(at_broker) if at_broker else "",
    }


def trino_credentials(stack: Stack, account: str | None) -> dict[str, str]:
    """What lets a part ask Trino, where that wants a password."""
    if not stack.trino_asks or account is None:
        return {"SLUICE_TRINO_PASSWORD": ""}
    return {
        "SLUICE_TRINO_USER": account,
        "SLUICE_TRINO_PASSWORD": trino_password(stack, account),
        "SLUICE_TRINO_CA": os.environ.get("SLUICE_TRINO_CA") or str(stack.trino_access / CERTIFICATE),
    }


def trino_password(stack: Stack, account: str) -> str:
    """Not the one that the account has at the other servers: those open files that no mask covers."""
    return stack.password(f"{account} at trino")


def administration(stack: Stack) -> dict[str, str]:
    """What only the step that makes the accounts of object store and database is told."""
    uri = f"postgresql://postgres:{stack.passwords['postgres']}@{stack.address('postgres')}/lake"
    return {
        "SLUICE_ADMIN_CATALOG_URI": uri,
        "SLUICE_ADMIN_S3_ACCESS_KEY": ADMINISTRATOR,
        "SLUICE_ADMIN_S3_SECRET_KEY": stack.passwords["s3"],
        **_passwords(stack),
    }


def broker_administration(stack: Stack) -> dict[str, str]:
    """What only the step that makes the broker's users is told.

    The administrator is written into Kafka's own settings, so that it is there before any user is, and in a data folder of any age.
    PLAIN is the one way to that: the password goes in the clear, from this machine to itself.
    """
    return {
        "SLUICE_ADMIN_KAFKA_USER": ADMINISTRATOR,
        "SLUICE_ADMIN_KAFKA_PASSWORD": stack.password(ADMINISTRATOR),
        "SLUICE_ADMIN_KAFKA_MECHANISM": "PLAIN",
        **_passwords(stack),
    }


def _passwords(stack: Stack) -> dict[str, str]:
    return {f"SLUICE_PASSWORD_{account.name.upper()}": stack.password(account.name) for account in ACCOUNTS}
