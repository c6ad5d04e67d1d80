"""The one place where Kafka's clients are made: address, account and encryption come from the settings, refusals become a line.

A client signs in when it connects, not with each request. Who needs a client asks here; a test sees to that.
"""

import logging
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from catalog.errors import SluiceError
from catalog.settings import LakeSettings
from catalog.trust import authorities

QUICK = 3.0  # seconds; a refusal takes less, and a broker that needs more for an answer has not given one
DENIED = (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)
_LOGIN_MODULES = {
    "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule",
}

# The library logs each attempt, on standard error where nobody configured a log; what is raised here says as much, once.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


class RefusedError(KafkaConnectionError):
    """The broker answers and does not let in. The message names the broker, the reason and the setting."""


def options(settings: LakeSettings) -> dict[str, Any]:
    """What every client of aiokafka is given. Raises SluiceError where an account is asked for and none is named."""
    given: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_bootstrap,
        "security_protocol": settings.kafka_security_protocol,
    }
    if settings.kafka_signs_in:
        _require_account(settings)
        given |= {
            "sasl_mechanism": settings.kafka_mechanism,
            "sasl_plain_username": settings.kafka_user,
            "sasl_plain_password": settings.kafka_password,
        }
    if settings.kafka_encrypts:
        given["ssl_context"] = authorities(settings.kafka_ca, "SLUICE_KAFKA_CA")
    return given


def spark_options(settings: LakeSettings) -> dict[str, str]:
    """The same for Spark's Kafka source, whose client is Java's. Raises SluiceError as `options` does."""
    given = {
        "kafka.bootstrap.servers": settings.kafka_bootstrap,
        "kafka.security.protocol": settings.kafka_security_protocol,
    }
    if settings.kafka_signs_in:
        _require_account(settings)
        user, password = _quoted(settings.kafka_user), _quoted(settings.kafka_password)
        given["kafka.sasl.mechanism"] = settings.kafka_mechanism
        given["kafka.sasl.jaas.config"] = (
            f"{_LOGIN_MODULES[settings.kafka_mechanism]} required username={user} password={password};"
        )
    if settings.kafka_encrypts and settings.kafka_ca:
        authorities(settings.kafka_ca, "SLUICE_KAFKA_CA")  # the same words for a file that can't be used
        given["kafka.ssl.truststore.type"] = "PEM"
        given["kafka.ssl.truststore.location"] = str(settings.kafka_ca)
    return given


def client(settings: LakeSettings, **more: Any) -> AIOKafkaClient:
    """A bare client; `started` connects it. Its maker closes it."""
    return AIOKafkaClient(**options(settings), **more)


@asynccontextmanager
async def admin(settings: LakeSettings, timeout_ms: int = 15_000) -> AsyncIterator[AIOKafkaAdminClient]:
    """A client for topics and settings, connected. Raises KafkaError."""
    made = AIOKafkaAdminClient(**options(settings), request_timeout_ms=timeout_ms)
    try:
        await started(settings, made.start)
        yield made
    finally:
        await made.close()


@asynccontextmanager
async def consumer(settings: LakeSettings, *topics: str, **more: Any) -> AsyncIterator[AIOKafkaConsumer]:
    """A reader of no group, connected. Raises KafkaError."""
    made = AIOKafkaConsumer(*topics, **options(settings), enable_auto_commit=False, **more)
    try:
        await started(settings, made.start)
        yield made
    finally:
        await made.stop()


@asynccontextmanager
async def producer(settings: LakeSettings, **more: Any) -> AsyncIterator[AIOKafkaProducer]:
    """A writer, connected; the gateway has its own way. Raises KafkaError."""
    made = AIOKafkaProducer(**options(settings), **more)
    try:
        await started(settings, made.start)
        yield made
    finally:
        await made.stop()


async def started(settings: LakeSettings, begin: Callable[[], Awaitable[Any]]) -> None:
    """Connect a client. Raises RefusedError where the broker does not let in, which the library itself does not tell apart."""
    since = time.monotonic()
    try:
        await begin()
    except KafkaConnectionError:
        if time.monotonic() - since < QUICK and (reason := await refusal(settings)):
            raise RefusedError(reason) from None
        raise


async def refusal(settings: LakeSettings) -> str | None:
    """Why the broker lets nobody in by these settings, in a line; None if it does, or does not answer at all."""
    given = options(settings)
    where = given.pop("bootstrap_servers")
    host, _, port = where.split(",")[0].strip().rpartition(":")
    try:
        connection = await create_conn(
            host.strip("[]"), int(port) if port.isdecimal() else 9092, request_timeout_ms=int(QUICK * 1000), **given
        )
    except (KafkaError, OSError, TimeoutError) as failure:
        return _words(settings, failure)
    try:
        await connection.send(MetadataRequest([]))
    except KafkaConnectionError as failure:
        return None if settings.kafka_signs_in else _words(settings, failure)
    except (KafkaError, OSError, TimeoutError):
        return None
    finally:
        connection.close()
    return None


def _words(settings: LakeSettings, failure: BaseException) -> str | None:
    """The failure for a person; None if the broker is just not there."""
    where, who = f"The broker {settings.kafka_bootstrap}", settings.kafka_user
    if isinstance(failure, SaslAuthenticationFailed | AuthenticationFailedError):
        return f"{where} refuses {who!r}: wrong password, or no such user. Check SLUICE_KAFKA_USER and SLUICE_KAFKA_PASSWORD"
    if isinstance(failure, UnsupportedSaslMechanismError):
        return f"{where} does not offer {settings.kafka_mechanism} here. Check SLUICE_KAFKA_MECHANISM and the address"
    if isinstance(failure, ssl.SSLCertVerificationError):
        return (
            f"{where} shows a certificate that is not trusted ({failure.verify_message}). "
            "SLUICE_KAFKA_CA names the file of the authority that signed it"
        )
    # Java's answer to a greeting that it does not understand is to hang up.
    if isinstance(failure, ssl.SSLError) or (settings.kafka_encrypts and isinstance(failure, ConnectionResetError)):
        return (
            f"{where} does not speak TLS here ({getattr(failure, 'reason', None) or failure or 'it hangs up'}). "
            f"Check SLUICE_KAFKA_SECURITY_PROTOCOL={settings.kafka_security_protocol} and the address"
        )
    # A listener that wants more than it is given ends the connection without a word.
    if isinstance(failure, KafkaConnectionError):
        wanted = "encryption" if settings.kafka_signs_in else "a user, encryption, or both"
        return (
            f"{where} ends the connection by {settings.kafka_security_protocol}: it may want {wanted}. "
            "Check SLUICE_KAFKA_SECURITY_PROTOCOL and SLUICE_KAFKA_USER"
        )
    return None


def denial(settings: LakeSettings, failure: BaseException) -> str | None:
    """In a line, if a failure says that the account may not do it; None if it is another."""
    if isinstance(failure, RefusedError):
        return str(failure)
    if isinstance(failure, DENIED):
        return (
            f"The broker {settings.kafka_bootstrap} does not let {settings.kafka_user or 'nobody'!r} do this "
            f"({type(failure).__name__}): {failure}. Check SLUICE_KAFKA_USER, and the rights of that account at the broker"
        )
    return None


def _require_account(settings: LakeSettings) -> None:
    if not settings.kafka_user or not settings.kafka_password:
        raise SluiceError(
            f"SLUICE_KAFKA_SECURITY_PROTOCOL={settings.kafka_security_protocol} needs an account at the broker "
            f"{settings.kafka_bootstrap}: set SLUICE_KAFKA_USER and SLUICE_KAFKA_PASSWORD"
        )


def _quoted(text: str) -> str:
    """A value in Java's JAAS notation."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
