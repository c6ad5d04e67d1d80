"""Users of the broker and what each may do with the streams' topics, over Kafka's own protocol: Apache Kafka and Redpanda alike."""

import asyncio
import hashlib
import secrets
import time
from collections.abc import Mapping
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError, for_code

from catalog import kafka_client
from catalog.errors import SluiceError, first_line
from catalog.settings import LakeSettings
from infra.access import requests
from infra.access.accounts import AT_BROKER, Account
from infra.access.requests import ALLOW, CLUSTER, DENY, LITERAL, OPERATIONS, PREFIXED, TOPIC, Acl

ITERATIONS = 8192  # of PBKDF2; the least that the broker takes is 4096
KNOWN_WITHIN = 20.0  # seconds until a broker knows what another one wrote


def make_users(lake: LakeSettings, user: str, password: str, mechanism: str, passwords: Mapping[str, str]) -> None:
    """Make or renew the users that have a password, and the rules of each; ends when all are let in. `user` is an administrator.

    Rules of these users that are not wanted any more are removed; others' are left alone. Raises SluiceError.
    """
    admin = lake.model_copy(update={"kafka_user": user, "kafka_password": password, "kafka_mechanism": mechanism})
    wanted = {account: passwords[account.name] for account in AT_BROKER if account.name in passwords}
    try:
        asyncio.run(_make(admin, lake, wanted))
    except KafkaError as failure:
        told = kafka_client.denial(admin, failure)
        hint = ": check SLUICE_ADMIN_KAFKA_USER and SLUICE_ADMIN_KAFKA_PASSWORD"
        if told:
            raise SluiceError(told.partition(". Check ")[0] + hint) from None
        raise SluiceError(
            f"The broker {lake.kafka_bootstrap} does not make its users: {first_line(failure)}{hint}"
        ) from None


def rules(account: Account) -> set[Acl]:
    """What the broker is told of an account.

    Streams' names begin with a letter, the broker's own topics with `_`: no rule for all topics may open those.
    """
    principal = f"User:{account.name}"
    found = {Acl(TOPIC, "*", LITERAL, principal, "*", OPERATIONS[operation], ALLOW) for operation in account.topics} | {
        Acl(TOPIC, "_", PREFIXED, principal, "*", OPERATIONS["all"], DENY)
    }
    if {"write", "all"} & set(account.topics):
        # Numbered batches, so that one that is sent again is written once.
        found.add(Acl(CLUSTER, "kafka-cluster", LITERAL, principal, "*", OPERATIONS["idempotent_write"], ALLOW))
    return found


def salted(name: str, mechanism: str, password: str) -> tuple[str, int, int, bytes, bytes]:
    """A user as the broker keeps it (RFC 5802)."""
    salt = secrets.token_bytes(16)
    digest = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}[mechanism]
    hashed = hashlib.pbkdf2_hmac(digest, password.encode(), salt, ITERATIONS)
    return name, requests.SCRAM[mechanism], ITERATIONS, salt, hashed


async def _make(admin: LakeSettings, lake: LakeSettings, wanted: Mapping[Account, str]) -> None:
    client = kafka_client.client(admin, request_timeout_ms=20_000)
    try:
        await kafka_client.started(admin, client.bootstrap)
        for account in wanted:
            await _set_rules(client, account)
        users = [salted(account.name, lake.kafka_mechanism, password) for account, password in wanted.items()]
        answer = await _ask(client, requests.AlterUserScramCredentialsRequest(users))
        for name, code, message, *_ in answer.results:
            _raise_for(code, f"user {name}: {message or ''}")
    finally:
        await client.close()
    for account, password in wanted.items():
        await _let_in(lake.model_copy(update={"kafka_user": account.name, "kafka_password": password}))


async def _set_rules(client: AIOKafkaClient, account: Account) -> None:
    answer = await _ask(client, requests.acls_of(f"User:{account.name}"))
    _raise_for(answer.error_code, answer.error_message or "rules")
    there = {Acl(resource, name, pattern, *acl) for resource, name, pattern, acls in answer.resources for acl in acls}
    wanted = rules(account)
    # First what shuts, then what opens.
    for acl in sorted(wanted - there, key=lambda acl: acl.permission):
        made = await _ask(client, requests.create(acl))
        for code, message in made.creation_responses:
            _raise_for(code, message or str(acl))
    for acl in there - wanted:
        gone = await _ask(client, requests.delete(acl))
        for code, message, _ in gone.filter_responses:
            _raise_for(code, message or str(acl))


async def _ask(client: AIOKafkaClient, request: Any) -> Any:
    """Ask the controller, which alone may change these things; a broker passes the request on to it where it is not one itself."""
    node = client.cluster.controller
    return await client.send(node.nodeId if node else client.get_random_node(), request)


async def _let_in(settings: LakeSettings) -> None:
    """Wait until the broker knows the user: whoever comes next needs no patience."""
    deadline = time.monotonic() + KNOWN_WITHIN
    while reason := await kafka_client.refusal(settings):
        if time.monotonic() > deadline:
            raise SluiceError(f"{reason}. The user was just made; does another tool change it?")
        await asyncio.sleep(0.1)


def _raise_for(code: int, what: str) -> None:
    if code:
        raise for_code(code)(what)
