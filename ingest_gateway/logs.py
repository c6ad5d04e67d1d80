"""One JSON object a line on standard error, for our own events and for the libraries'. Payloads are never logged."""

import logging
import sys
import traceback
from collections.abc import Iterator
from typing import Any

import orjson
import structlog

from catalog.errors import SluiceError


def _dumps(event: Any, **_: Any) -> str:
    return orjson.dumps(event, default=repr).decode()


def _without_values(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
    """A failure as the places that it went through.

    Its message is left out unless it is one of ours or of the system: others quote the value that they could not cope
    with, and that may be of a payload.
    """
    info = event.pop("exc_info", None)
    failure = info if isinstance(info, BaseException) else info[1] if isinstance(info, tuple) else sys.exc_info()[1]
    if info and failure is not None:
        event["exception"] = "\n".join(_places(failure))
    return event


def _places(failure: BaseException) -> Iterator[str]:
    earlier = failure.__cause__ or (None if failure.__suppress_context__ else failure.__context__)
    if earlier is not None:
        yield from _places(earlier)
        yield "then:"
    yield "".join(traceback.format_tb(failure.__traceback__)).rstrip()
    name = f"{type(failure).__module__}.{type(failure).__qualname__}"
    yield f"{name}: {failure}" if isinstance(failure, SluiceError | OSError) else name


def configure(level: str) -> None:
    """Set up structlog and the standard library's logging alike. May be called again."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_values,
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(serializer=_dumps),
            ],
        )
    )
    logging.raiseExceptions = False  # a line that cannot be written would be told with all that it holds
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # aiokafka tells of each attempt while the broker is away; the gateway tells of the change itself.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    logging.getLogger("uvicorn.access").disabled = True


def silence() -> None:
    """For a command that runs the gateway's code and tells the outcome itself."""
    logging.basicConfig(level=logging.CRITICAL)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
