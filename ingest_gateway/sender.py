"""What a request itself adds to the headers of its records: who sent it, and the trace that it belongs to."""

import re

from catalog.names import H_PRODUCER, H_TRACE, H_TRACE_STATE
from ingest_gateway.callers import Caller
from ingest_gateway.intake import RequestHeaders
from ingest_gateway.records import Header

# W3C Trace Context; of versions that are not known yet, what they share with the first. Neither id may be all zeros.
_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-[!-~]{1,100})?\Z")
_STATE = re.compile(r"[ -~]{1,512}\Z")


def sender(caller: Caller, headers: RequestHeaders) -> list[Header]:
    """Record headers. A trace context that is malformed is as if it were not there."""
    found = [(H_PRODUCER, caller.producer)]
    parent = headers.get(b"traceparent")
    if parent is not None and _PARENT.match(parent):
        found.append((H_TRACE, parent.encode()))
        state = headers.get(b"tracestate")
        if state is not None and _STATE.match(state):
            found.append((H_TRACE_STATE, state.encode()))
    return found


def trace_id(headers: RequestHeaders) -> str | None:
    """The trace that a request belongs to, for the log."""
    match = _PARENT.match(headers.get(b"traceparent") or "")
    return match[1] if match else None
