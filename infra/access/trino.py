"""The folder from which a Trino that asks for passwords reads who may come in, and what each may do."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import orjson

from catalog.contract import Stream
from catalog.odcs import load_contracts
from catalog.settings import LakeSettings
from infra.access.trino_rules import rules
from infra.access.trino_users import CERTIFICATE, GROUPS, KEYSTORE, PASSWORDS, changing, give_parts, replace

RULES = "rules.json"
REFRESH = "2s"  # how soon Trino follows a change of the files


def write_access(folder: Path, streams: Iterable[Stream], passwords: Mapping[str, str]) -> None:
    """Rules from the contracts, and the parts' accounts; people's accounts stay. Raises SluiceError."""
    with changing(folder) as users:
        give_parts(users, passwords)
    write_rules(folder, streams)


def write_rules(folder: Path, streams: Iterable[Stream]) -> None:
    """Replace the rules, which Trino follows within seconds."""
    text = orjson.dumps(rules(sorted(streams, key=lambda stream: stream.name)), option=orjson.OPT_INDENT_2).decode()
    if not (folder / RULES).exists() or (folder / RULES).read_text() != text:
        replace(folder / RULES, text)


def follow_contracts(settings: LakeSettings) -> None:
    """Let readers see what the contracts say now, where SLUICE_TRINO_ACCESS names the folder of a Trino that asks for passwords."""
    folder = os.environ.get("SLUICE_TRINO_ACCESS")
    if folder and (Path(folder) / RULES).exists():
        write_rules(Path(folder), load_contracts(settings.contracts).values())


def server_properties(folder: Path, port: int, host: str) -> dict[str, str]:
    """What config.properties needs besides: https alone, passwords, and a secret for what a node says to itself."""
    return {
        "http-server.http.enabled": "false",
        "http-server.https.enabled": "true",
        "http-server.https.port": str(port),
        "http-server.https.keystore.path": str(folder / KEYSTORE),
        "http-server.authentication.type": "PASSWORD",
        "internal-communication.shared-secret": "${ENV:SLUICE_TRINO_INTERNAL_SECRET}",
        "internal-communication.https.required": "true",
        "internal-communication.https.truststore.path": str(folder / CERTIFICATE),
        "discovery.uri": f"https://{host}:{port}",
    }


def plugin_properties(folder: Path) -> dict[str, dict[str, str]]:
    """File → properties of the parts of Trino that say who somebody is, and what they may do."""
    return {
        "password-authenticator.properties": {
            "password-authenticator.name": "file",
            "file.password-file": str(folder / PASSWORDS),
            "file.refresh-period": REFRESH,
        },
        "group-provider.properties": {
            "group-provider.name": "file",
            "file.group-file": str(folder / GROUPS),
            "file.refresh-period": REFRESH,
        },
        "access-control.properties": {
            "access-control.name": "file",
            "security.config-file": str(folder / RULES),
            "security.refresh-period": REFRESH,
        },
    }
