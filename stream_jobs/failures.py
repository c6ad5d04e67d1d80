"""Whose failure it is: one stream's, which is set aside, or everybody's, for a server is away or another writer is at work."""

from collections.abc import Collection, Mapping

import structlog

from catalog.kafka_offsets import GoneError
from stream_jobs.aside import Rests
from stream_jobs.commit import FencedError

log = structlog.get_logger()


def raise_unless_single(
    failures: Mapping[str, BaseException], tried: Collection[str], streams: Collection[str], rests: Rests
) -> None:
    """Set the streams aside that failed, where others did not. Raises FencedError if one was fenced off, and the first failure
    where several were `tried` and none went well, or where none of `streams` is left. Records that Kafka lost are the stream's own
    failure in any case."""
    for failure in failures.values():
        if isinstance(failure, FencedError):
            raise failure
    all_failed = len(failures) >= len(tried) and (len(tried) > 1 or len(streams) == 1)
    for name, failure in failures.items():
        if all_failed and not isinstance(failure, GoneError):
            raise failure
        rests.failed(name, first_line(failure))
        log.error("set-aside", stream=name, reason=first_line(failure), kind=type(failure).__name__)


def first_line(failure: BaseException) -> str:
    """The reason in a line: Java's own words where the failure came from there."""
    java = getattr(failure, "java_exception", None)
    text = str(java.toString() if java is not None else failure).strip().splitlines()
    return (text[0] if text else type(failure).__name__)[:500]
