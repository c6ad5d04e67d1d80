"""Servers that are away while a command needs them, in the words of one line."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import sqlalchemy.exc
from aiokafka.errors import KafkaError

from catalog.errors import SluiceError, first_line
from catalog.refusals import refusal

AWAY = (KafkaError, psycopg.Error, sqlalchemy.exc.SQLAlchemyError, OSError)


@contextmanager
def needed() -> Iterator[None]:
    """What the clients of Kafka, PostgreSQL and the object store raise in this block becomes a SluiceError."""
    try:
        yield
    except AWAY as failure:
        raise refusal(failure) or SluiceError(
            f"A server does not answer: {first_line(failure)}. See `sluice status`, or start the stack with `sluice up`"
        ) from None


def told(failure: BaseException) -> str:
    """One line: who refuses whom, where a server did, else what the failure says first."""
    refused = None if isinstance(failure, SluiceError) else refusal(failure)
    return str(refused) if refused else first_line(failure)
