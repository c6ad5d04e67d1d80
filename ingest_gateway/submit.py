"""`POST /v1/streams/{stream}/events`: bytes → events → verdicts → records → acknowledged → receipt."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import structlog
from starlette.types import Receive, Scope, Send

from catalog.names import H_CONTENT_TYPE, H_CONTRACT_VERSION, H_SOURCE, H_SPEC_VERSION, H_TIME, H_TYPE
from ingest_gateway import bodies, cloudevents, forms, problems
from ingest_gateway.acknowledge import acknowledged
from ingest_gateway.bodies import Events
from ingest_gateway.browsers import HEADERS
from ingest_gateway.gateway import Gateway
from ingest_gateway.ids import idempotency_key, request_id
from ingest_gateway.intake import ClientGone, Hold, RequestHeaders, read_body
from ingest_gateway.metrics import REQUESTS
from ingest_gateway.preferences import preference
from ingest_gateway.problems import Problem
from ingest_gateway.produce import Header, Records
from ingest_gateway.sender import sender, trace_id
from ingest_gateway.streams import Served
from ingest_gateway.verdicts import Placed, Taken, judge, receipt, summary

H_EVENT_TIME = "ce_eventtime"  # the sender's `time`; ce_time is the receipt's
_JSON = (b"content-type", b"application/json")
_LATENCY = {status: REQUESTS.labels(str(status)).observe for status in (202, 207, 422, 503)}
log = structlog.get_logger("sluice.gateway.submit")

Answer = tuple[int, bytes, list[tuple[bytes, bytes]]]


class Submit:
    """The ASGI endpoint. It reads the scope itself: this is the path on which every microsecond counts."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started = time.perf_counter()
        headers = RequestHeaders(scope)
        name = request_id(headers.get(b"x-request-id"))
        hold = Hold(self._gateway.budget, self._gateway.settings.retry_after)
        self._gateway.requests += 1
        try:
            status, body, extra = await self._answer(scope, headers, receive, hold)
        except Problem as problem:
            status, body, extra = _problem(problem, name)
            level = log.warning if status >= 500 and problem.slug != "overloaded" else log.info
            level(
                "request refused", status=status, problem=problem.slug, path=scope["path"], request_id=name,
                trace_id=trace_id(headers),
            )  # fmt: skip
        except ClientGone:
            return
        except Exception:
            log.exception("request failed", path=scope["path"], request_id=name, trace_id=trace_id(headers))
            status, body, extra = _problem(Problem(500, "internal", "The reason is in the gateway's log"), name)
        finally:
            hold.release()
            self._gateway.requests -= 1
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [*extra, *HEADERS, (b"content-length", b"%d" % len(body)), (b"x-request-id", name.encode())],
            }
        )
        await send({"type": "http.response.body", "body": body})
        (_LATENCY.get(status) or REQUESTS.labels(str(status)).observe)(time.perf_counter() - started)

    async def _answer(self, scope: Scope, headers: RequestHeaders, receive: Receive, hold: Hold) -> Answer:
        gateway = self._gateway
        if scope["method"] != "POST":
            raise Problem(405, "method", "Events are sent by POST", headers={"allow": "POST"})
        name = scope["path_params"]["stream"]
        caller, limits = await gateway.enter(scope, headers, name)
        served = gateway.stream(name)
        gateway.require_room()
        kind = bodies.media_type(headers.get(b"content-type"))
        key = _idempotency_key(headers)
        wanted = preference(scope["query_string"], headers.get(b"prefer"))
        body = await read_body(headers, receive, hold, gateway.settings)
        received = datetime.now(UTC)
        gateway.counts(served.stream.name).bytes += len(body)
        events = await _events(body, kind, headers, served, gateway)
        limits = (*limits, *gateway.count_events(caller, scope, len(events.payloads)))
        ids = _ids(events, key, gateway)
        taken = await take(events, ids, body, received, served, gateway, sender(caller, headers))
        if wanted.summary:
            return (
                taken.status,
                summary(name, taken.refused, taken.good, taken.placed),
                [_JSON, *wanted.headers, *limits],
            )
        return taken.status, receipt(name, ids, taken.refused, taken.good, taken.placed), [_JSON, *limits]


async def take(
    events: Events,
    ids: Sequence[str],
    body: bytes,
    received: datetime,
    served: Served,
    gateway: Gateway,
    sent: list[Header],
) -> Taken:
    """Judge the events, write the good ones, count both. `sent`: record headers of the request. Raises Problem 503."""
    counts = gateway.counts(served.stream.name)
    refused = judge(events, served.checker, body, gateway.settings)
    counts.refused += len(refused)
    count = len(events.payloads)
    good = [i for i in range(count) if i not in refused] if refused else range(count)
    try:
        placed = await _write(events, ids, good, served, received, gateway, sent) if good else ([], [])
    except BaseException:
        counts.failed += len(good)
        raise
    if placed is None:
        counts.spooled += len(good)
    else:
        counts.accepted += len(good)
    return Taken(refused, good, placed)


async def _events(body: bytes, kind: str, headers: RequestHeaders, served: Served, gateway: Gateway) -> Events:
    most = gateway.settings.max_events
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
    if kind == bodies.URLENCODED:
        return forms.event(forms.urlencoded(body), served.stream)
    fields = await forms.multipart(body, headers.get(b"content-type") or "", gateway.settings.max_event_bytes)
    return forms.event(fields, served.stream)


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


async def _write(
    events: Events,
    ids: Sequence[str],
    good: Sequence[int],
    served: Served,
    received: datetime,
    gateway: Gateway,
    sent: list[Header],
) -> Placed | None:
    """Where Kafka has each good event, or None where the spool has them. Raises Problem 503."""
    encoded = [ids[i].encode() for i in good]
    key_of = served.key_of
    keys = encoded if key_of is None else [key_of(events.values[i]) for i in good]
    payloads = events.payloads if isinstance(good, range) else [events.payloads[i] for i in good]
    common = _headers(served, received, sent)
    own = None if events.attributes is None else _own_headers(common, [events.attributes[i] for i in good])
    records = Records(keys, payloads, encoded, common, own, int(received.timestamp() * 1000))
    return await acknowledged(served, records, gateway)


def _headers(served: Served, received: datetime, sent: list[Header]) -> list[Header]:
    """CloudEvents' Kafka binding, binary mode, without the id."""
    return [
        (H_CONTENT_TYPE, b"application/json"),
        (H_SPEC_VERSION, b"1.0"),
        (H_SOURCE, served.source),
        (H_TYPE, served.type),
        (H_TIME, (received.isoformat(timespec="microseconds")[:26] + "Z").encode()),
        (H_CONTRACT_VERSION, served.version),
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
