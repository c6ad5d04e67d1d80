"""`POST /v1/streams/{stream}/events`: bytes → events → verdicts → records → acknowledged → receipt."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import structlog
from starlette.types import Receive, Scope, Send

from catalog.names import H_PRODUCER, H_TIME
from ingest_gateway import bodies, cloudevents, forms, problems
from ingest_gateway.access import Access
from ingest_gateway.acknowledge import acknowledged
from ingest_gateway.bodies import Events
from ingest_gateway.browsers import HEADERS
from ingest_gateway.callers import Caller
from ingest_gateway.gateway import Gateway, RateHeaders
from ingest_gateway.ids import idempotency_key, request_id
from ingest_gateway.intake import ClientGone, Hold, RequestHeaders, read_body
from ingest_gateway.metrics import REQUESTS
from ingest_gateway.preferences import Preference, preference
from ingest_gateway.problems import Problem
from ingest_gateway.records import Header, Records
from ingest_gateway.sender import sender, trace_id
from ingest_gateway.streams import Served
from ingest_gateway.verdicts import NOWHERE, Placed, Refused, Taken, judge, receipt, summary

H_EVENT_TIME = "ce_eventtime"  # the sender's `time`; ce_time is the receipt's
_JSON = (b"content-type", b"application/json")
_LATENCY = {status: REQUESTS.labels(str(status)).observe for status in (202, 207, 422, 503)}
log = structlog.get_logger("sluice.gateway.submit")

Answer = tuple[int, bytes, list[tuple[bytes, bytes]]]


class Asked(NamedTuple):
    """What a request says of its body before that is there: media type, idempotency key and what answer is wanted."""

    kind: str
    key: str | None
    wanted: Preference

    @classmethod
    def by(cls, headers: RequestHeaders, query: bytes) -> "Asked":
        """Raises Problem 400 or 415."""
        kind = bodies.media_type(headers.get(b"content-type"))
        return cls(kind, _idempotency_key(headers), preference(query, headers.get(b"prefer")))


@dataclass(slots=True)
class Submission:
    """A body's events, judged. `records` are the good ones; None where none is."""

    served: Served
    ids: Sequence[str]
    refused: Refused
    good: Sequence[int]
    records: Records | None


class Submit:
    """The ASGI endpoint. It reads the scope itself: this is the path on which every microsecond counts."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started = time.perf_counter()
        headers = RequestHeaders(scope["headers"])
        name = request_id(headers.get(b"x-request-id"))
        hold = Hold(self._gateway.budget, self._gateway.settings.retry_after)
        self._gateway.requests += 1
        try:
            status, body, extra = await self._answer(scope, headers, receive, hold)
        except ClientGone:
            return
        except Exception as failure:
            status, body, extra = refusal(failure, scope["path"], headers, name, self._gateway.access)
        finally:
            hold.release()
            self._gateway.leave()
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [*extra, *HEADERS, (b"content-length", b"%d" % len(body)), (b"x-request-id", name.encode())],
            }
        )
        await send({"type": "http.response.body", "body": body})
        observe(status, time.perf_counter() - started)

    async def _answer(self, scope: Scope, headers: RequestHeaders, receive: Receive, hold: Hold) -> Answer:
        gateway = self._gateway
        if scope["method"] != "POST":
            raise Problem(405, "method", "Events are sent by POST", headers={"allow": "POST"})
        name = scope["path_params"]["stream"]
        caller, limits = await gateway.enter(scope, headers, name)
        served = gateway.stream(name)
        gateway.require_room()
        asked = Asked.by(headers, scope["query_string"])
        body = await read_body(headers, receive, hold, gateway.settings)
        fields = None
        if asked.kind == bodies.MULTIPART:
            kind = headers.get(b"content-type") or ""
            fields = await forms.multipart(body, kind, gateway.settings.max_event_bytes)
        submission, more = submitted(body, fields, asked, headers, scope, served, gateway, caller)
        return answer(submission, await write(submission, gateway), asked.wanted, (*limits, *more))


def submitted(
    body: bytes,
    fields: forms.Fields | None,
    asked: Asked,
    headers: RequestHeaders,
    scope: Scope,
    served: Served,
    gateway: Gateway,
    caller: Caller,
) -> tuple[Submission, RateHeaders]:
    """A request's events, judged and counted, and headers for the answer. `fields`: of a multipart form, read already.

    Raises Problem 400, 413 or 429.
    """
    received = datetime.now(UTC)
    gateway.counts(served.stream.name).bytes += len(body)
    if fields is not None:
        events = forms.event(fields, served.stream)
    else:
        events = _events(body, asked.kind, headers, served, gateway.settings.max_events)
    limits = gateway.count_events(caller, scope, len(events.payloads))
    ids = _ids(events, asked.key, gateway)
    return judged(events, ids, body, received, served, gateway, sender(caller, headers)), limits


def judged(
    events: Events,
    ids: Sequence[str],
    body: bytes,
    received: datetime,
    served: Served,
    gateway: Gateway,
    sent: list[Header],
) -> Submission:
    """Judge the events, make records of the good ones. `sent`: record headers of the request, as `sender` makes them."""
    refused = judge(events, served.checker, body, gateway.settings)
    count = len(events.payloads)
    good: Sequence[int] = range(count)
    if refused:
        gateway.counts(served.stream.name).refused += len(refused)
        gateway.refused.count(served.stream.name, dict(sent)[H_PRODUCER], len(refused))
        good = [i for i in good if i not in refused]
    return Submission(served, ids, refused, good, _records(events, ids, good, served, received, sent) if good else None)


async def write(submission: Submission, gateway: Gateway) -> Placed | None:
    """Where Kafka has each good event, or None where the spool has them. Raises Problem 503."""
    if submission.records is None:
        return NOWHERE
    try:
        placed = await acknowledged(submission.served, submission.records, gateway)
    except BaseException:
        count_failed(submission, gateway)
        raise
    count_written(submission, placed, gateway)
    return placed


def count_written(submission: Submission, placed: Placed | None, gateway: Gateway) -> None:
    """Count the good events by where they are."""
    counts = gateway.counts(submission.served.stream.name)
    if placed is None:
        counts.spooled += len(submission.good)
    else:
        counts.accepted += len(submission.good)


def count_failed(submission: Submission, gateway: Gateway) -> None:
    """Count the good events for which nothing is promised."""
    gateway.counts(submission.served.stream.name).failed += len(submission.good)


async def take(
    events: Events,
    ids: Sequence[str],
    body: bytes,
    received: datetime,
    served: Served,
    gateway: Gateway,
    sent: list[Header],
) -> Taken:
    """Judge the events, write the good ones, count both. Raises Problem 503."""
    submission = judged(events, ids, body, received, served, gateway, sent)
    return Taken(submission.refused, submission.good, await write(submission, gateway))


def answer(
    submission: Submission, placed: Placed | None, wanted: Preference, limits: Sequence[tuple[bytes, bytes]]
) -> Answer:
    """The answer after all is written."""
    taken = Taken(submission.refused, submission.good, placed)
    stream = submission.served.stream.name
    if wanted.summary:
        return taken.status, summary(stream, taken.refused, taken.good, placed), [_JSON, *wanted.headers, *limits]
    body = receipt(stream, submission.ids, taken.refused, taken.good, placed)
    return taken.status, body, [_JSON, *limits]


def refusal(failure: Exception, path: str, headers: RequestHeaders, request_name: str, access: Access) -> Answer:
    """The answer to a request that failed as a whole, logged."""
    if not isinstance(failure, Problem):
        log.error(
            "request failed", path=path, request_id=request_name, trace_id=trace_id(headers),
            key=access.known_as(headers), exc_info=failure,
        )  # fmt: skip
        return _problem(Problem(500, "internal", "The reason is in the gateway's log"), request_name)
    if failure.slug != "overloaded":  # a line for each would make it worse; REQUESTS counts them
        (log.warning if failure.status >= 500 else log.info)(
            "request refused", status=failure.status, problem=failure.slug, path=path, request_id=request_name,
            trace_id=trace_id(headers), key=access.known_as(headers),
        )  # fmt: skip
    return _problem(failure, request_name)


def observe(status: int, seconds: float) -> None:
    """Note how long a request took."""
    (_LATENCY.get(status) or REQUESTS.labels(str(status)).observe)(seconds)


def _events(body: bytes, kind: str, headers: RequestHeaders, served: Served, most: int) -> Events:
    """The events of a body of any kind but a multipart form."""
    if cloudevents.is_binary(headers) and bodies.is_json(kind):
        return cloudevents.binary(body, headers)
    if bodies.is_json(kind):
        return bodies.json_events(body, most)
    if kind in bodies.LINES:
        return bodies.line_events(body, most)
    if kind == bodies.CLOUDEVENT:
        return cloudevents.structured(body)
    if kind == bodies.CLOUDEVENT_BATCH:
        return cloudevents.batched(body, most)
    if kind in bodies.CLOUDEVENT_LINES:
        return cloudevents.in_lines(body, most)
    return forms.event(forms.urlencoded(body), served.stream)


def _idempotency_key(headers: RequestHeaders) -> str | None:
    header = headers.get(b"idempotency-key")
    if header is None:
        return None
    key = idempotency_key(header)
    if key is None:
        raise Problem(400, "idempotency-key", "Idempotency-Key is not 1 to 200 visible ASCII characters without quotes")
    return key


def _ids(events: Events, key: str | None, gateway: Gateway) -> list[str]:
    """The sender's ids, else ids made from its key and the position, else new ones."""
    count = len(events.payloads)
    if events.ids is not None:
        spare = iter(gateway.mint(count) if None in events.ids else ())
        return [given if given is not None else next(spare) for given in events.ids]
    if key is None:
        return gateway.mint(count)
    return [f"{key}-{position}" for position in range(count)] if events.batch else [key]


def _records(
    events: Events,
    ids: Sequence[str],
    good: Sequence[int],
    served: Served,
    received: datetime,
    sent: list[Header],
) -> Records:
    encoded = [ids[i].encode() for i in good]
    key_of = served.key_of
    keys = encoded if key_of is None else [key_of(events.values[i]) for i in good]
    payloads = events.payloads if isinstance(good, range) else [events.payloads[i] for i in good]
    common = _headers(served, received, sent)
    own = None if events.attributes is None else _own_headers(common, [events.attributes[i] for i in good])
    return Records(keys, payloads, encoded, common, own, int(received.timestamp() * 1000))


def _headers(served: Served, received: datetime, sent: list[Header]) -> list[Header]:
    """CloudEvents' Kafka binding, binary mode, without the id."""
    return [
        *served.headers,
        (H_TIME, (received.isoformat(timespec="microseconds")[:26] + "Z").encode()),
        *sent,
    ]


def _own_headers(common: list[Header], attributes: Sequence[Mapping[str, str] | None]) -> list[list[Header]]:
    """The headers of each event; events that share their attributes share the list."""
    made: dict[int, list[Header]] = {}
    for given in attributes:
        if id(given) not in made:
            made[id(given)] = _with(common, given or {})
    return [made[id(given)] for given in attributes]


def _with(common: list[Header], attributes: Mapping[str, str]) -> list[Header]:
    """The headers of an event that brought its own attributes: its `type` and `source` replace ours, its `time` stands beside."""
    given = {H_EVENT_TIME if name == "time" else f"ce_{name}": text.encode() for name, text in attributes.items()}
    return [(name, given.pop(name, value)) for name, value in common] + list(given.items())


def _problem(problem: Problem, request_name: str) -> Answer:
    headers = [(name.encode(), value.encode("latin-1", "replace")) for name, value in problem.headers.items()]
    return problem.status, problem.document(request_name), [(b"content-type", problems.CONTENT_TYPE), *headers]
