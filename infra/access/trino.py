"""The folder from which a Trino that asks for passwords reads who may come in, and what each may do."""

import os
import ssl
from collections.abc import Iterable, Mapping
from pathlib import Path

import orjson
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from catalog.contract import Stream
from catalog.errors import SluiceError
from catalog.settings import LakeSettings
from catalog.trust import ENCODED, authorities, key_store
from infra.access.accounts import OPERATOR
from infra.access.trino_rules import rules
from infra.access.trino_users import (
    BUILDER,
    CERTIFICATE,
    EXPLORER,
    GROUPS,
    KEYSTORE,
    PARTS,
    PASSWORDS,
    changing,
    give_parts,
    read_users,
)
from infra.private_files import write_private

RULES = "rules.json"
TLS_KEY, TLS_CERTIFICATE = "tls.key", "tls.crt"  # as Kubernetes names them
AUTHORITIES = "authorities"  # whom Trino believes at the object store, in Java's notation
REFRESH = "2s"  # how soon Trino follows a change of the files


class TrinoAccessSettings(BaseSettings):
    """What the step `access` is told. Raises SluiceError through `read_settings`."""

    model_config = SettingsConfigDict(env_prefix="SLUICE_TRINO_", frozen=True, extra="ignore")

    access: Path = Field(description="the folder that Trino reads")
    tls: Path | None = Field(None, description="folder with tls.key and tls.crt; without it a certificate is made")
    trust: Path | None = Field(None, description="folder that gets the certificate alone, for those who ask")
    names: str = Field("trino,localhost,127.0.0.1", description="whom the certificate that is made is for")
    people: Path | None = Field(None, description="folder of users that `sluice users --folder` has made")
    password_sluice: str = Field(min_length=1)
    password_gold: str = Field(min_length=1)
    password_explorer: str = Field(min_length=1)


def make_access(lake: LakeSettings, told: TrinoAccessSettings) -> None:
    """Have everything that Trino reads in its folder. Safe to repeat. Raises SluiceError."""
    from catalog.odcs import load_contracts  # imported late, as cryptography: they take their time
    from infra.access import certificate

    try:
        told.access.mkdir(parents=True, exist_ok=True, mode=0o700)
        if told.tls:
            public = (told.tls / TLS_CERTIFICATE).read_text()
            write_private(told.access / KEYSTORE, (told.tls / TLS_KEY).read_text() + public)
            write_private(told.access / CERTIFICATE, public)
        else:
            certificate.keep(told.access, told.names.split(","))
        if lake.s3_ca:
            authorities(lake.s3_ca, "SLUICE_S3_CA")  # the same words for a file that can't be used
            believed = map(ssl.PEM_cert_to_DER_cert, ENCODED.findall(lake.s3_ca.read_text()))
            (told.access / AUTHORITIES).write_bytes(key_store(believed))
        if told.trust:
            write_private(told.trust / CERTIFICATE, (told.access / CERTIFICATE).read_text())
    except OSError as failure:
        raise SluiceError(f"Trino's certificate: {failure.filename}: {failure.strerror}") from None
    passwords = {OPERATOR: told.password_sluice, BUILDER: told.password_gold, EXPLORER: told.password_explorer}
    if told.people:
        people = [user for user in read_users(told.people) if user.name not in PARTS]
        with changing(told.access) as users:
            users[:] = [user for user in users if user.name in PARTS] + people
    write_access(told.access, load_contracts(lake.contracts).values(), passwords)


def write_access(folder: Path, streams: Iterable[Stream], passwords: Mapping[str, str]) -> None:
    """Rules from the contracts, and the parts' accounts; people's accounts stay. Raises SluiceError."""
    with changing(folder) as users:
        give_parts(users, passwords)
    write_rules(folder, streams)


def write_rules(folder: Path, streams: Iterable[Stream]) -> None:
    """Replace the rules, which Trino follows within seconds."""
    text = orjson.dumps(rules(sorted(streams, key=lambda stream: stream.name)), option=orjson.OPT_INDENT_2).decode()
    if not (folder / RULES).exists() or (folder / RULES).read_text() != text:
        write_private(folder / RULES, text)


def follow_contracts(settings: LakeSettings) -> None:
    """Let readers see what the contracts say now, where SLUICE_TRINO_ACCESS names the folder of a Trino that asks for passwords."""
    from catalog.odcs import load_contracts  # imported late: commands that only look at the stack need no contracts

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
