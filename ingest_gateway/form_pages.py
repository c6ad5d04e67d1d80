"""`/forms/{stream}`: a form made from the contract. What it sends is judged and written as every other event is."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ingest_gateway import bodies, csrf, forms, site
from ingest_gateway.explain import explain
from ingest_gateway.fields import fields, flat
from ingest_gateway.filled import Filled, zones, zones_by_region
from ingest_gateway.gateway import Gateway
from ingest_gateway.guard import caller_of, turned_away
from ingest_gateway.hints import hints
from ingest_gateway.intake import ClientGone, Hold, RequestHeaders, read_body
from ingest_gateway.problems import Problem
from ingest_gateway.sender import sender
from ingest_gateway.streams import Served
from ingest_gateway.submit import take


async def empty(request: Request) -> Response:
    """The form, for filling in. A link can do part of it: `?zone=` and the fields' names."""
    gateway: Gateway = request.app.state.gateway
    served = gateway.stream(request.path_params["stream"])
    zone = request.query_params.get("zone", "UTC")
    asked = request.query_params.multi_items()
    texts = forms.grouped([pair for pair in asked if pair[0] in {one.name for one in flat(fields(served.stream))}])
    return _form(request, served, Filled(texts, zone_name=zone if zone in zones() else "UTC"))


async def send(request: Request) -> Response:
    """Take a filled form: the receipt, or the form again with what was entered and what is wrong with it."""
    gateway: Gateway = request.app.state.gateway
    served = gateway.stream(request.path_params["stream"])
    hold = Hold(gateway.budget, gateway.settings.retry_after)
    gateway.requests += 1
    try:
        filled = Filled.of(await _posted(request, hold, gateway), fields(served.stream))
        try:
            if (problem := turned_away(request.scope)) is not None:
                raise problem
            if not csrf.is_ours(request, filled.token):
                return _form(request, served, filled, status=403, trouble=site.language(request)("csrf"))
            return await _take(request, served, filled, gateway)
        except Problem as problem:
            return _kept(request, served, filled, problem)
    except ClientGone:
        return Response(status_code=400)  # nobody is there to read it
    finally:
        hold.release()
        gateway.requests -= 1


def _kept(request: Request, served: Served, filled: Filled, problem: Problem) -> Response:
    """The form with what was entered, and why it was not taken now."""
    w = site.language(request)
    said = {503: lambda: w("again"), 429: lambda: w("too_many", seconds=problem.headers["retry-after"])}
    trouble = said[problem.status]() if problem.status in said else problem.detail
    return _form(
        request, served, filled, status=problem.status, trouble=trouble, reason=problem.detail, headers=problem.headers
    )  # fmt: skip


async def _posted(request: Request, hold: Hold, gateway: Gateway) -> forms.Fields:
    headers = RequestHeaders(request.scope["headers"])
    kind = bodies.media_type(headers.get(b"content-type"))
    if kind not in (bodies.URLENCODED, bodies.MULTIPART):
        raise Problem(415, "media-type", f"Content-Type is {kind}; this address takes what its form sends")
    body = await read_body(headers, request.receive, hold, gateway.settings)
    if kind == bodies.URLENCODED:
        return forms.urlencoded(body)
    return await forms.multipart(body, headers.get(b"content-type") or "", gateway.settings.max_event_bytes)


async def _take(request: Request, served: Served, filled: Filled, gateway: Gateway) -> Response:
    w, some = site.language(request), fields(served.stream)
    events, skipped = filled.event(some)
    if skipped:
        beside, general = explain(served.checker.violations(events.values[0]), some, filled.given, w)
        beside |= dict.fromkeys(skipped, w("e_skipped"))
        return _form(request, served, filled, status=422, beside=beside, general=general)
    gateway.require_room()
    gateway.count_events(caller_of(request.scope), request.scope, 1)
    received = datetime.now(UTC)
    [payload] = events.payloads
    gateway.counts(served.stream.name).bytes += len(payload)
    event_id = filled.event_id(payload)
    sent = sender(caller_of(request.scope), RequestHeaders(request.scope["headers"]))
    taken = await take(events, [event_id], payload, received, served, gateway, sent)
    if taken.refused:
        beside, general = explain(taken.refused[0], some, filled.given, w)
        return _form(request, served, filled, status=422, beside=beside, general=general)
    place = ""
    if taken.placed is not None:
        [partition], [offset] = taken.placed
        written = "–" if offset is None else w.number(offset)
        place = w("place_text", topic=served.topic, partition=partition, offset=written)
    return site.page(
        request,
        "sent.html",
        status=taken.status,
        stream=served.stream,
        event_id=event_id,
        spooled=taken.placed is None,
        place=place,
        received=w.moment(received, filled.zone),
        zone=filled.zone_name,
        rows=[(one, filled.shown(one, w)) for one in flat(some) if one.name in filled.given],
    )  # fmt: skip


def _form(
    request: Request,
    served: Served,
    filled: Filled,
    *,
    status: int = 200,
    beside: Mapping[str, str] | None = None,
    general: list[str] | None = None,
    trouble: str = "",
    reason: str = "",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The form as it was filled in. `beside`: errors by field; `general`: those of none; `trouble`: why it was not sent."""
    w, some = site.language(request), fields(served.stream)
    token = csrf.token(request)
    context: dict[str, Any] = {
        "stream": served.stream,
        "fields": some,
        "filled": filled,
        "hints": lambda field: hints(field, w),
        "beside": beside or {},
        "general": general or [],
        "faulty": [field for field in flat(some) if field.name in (beside or {})],
        "trouble": trouble,
        "reason": reason if reason != trouble else "",
        "token": token,
        "names": {"token": csrf.FIELD},
        "zones": zones_by_region() if any(field.in_zone for field in flat(some)) else (),
    }
    answer = site.page(request, "form.html", status=status, headers=headers, **context)
    csrf.keep(answer, request, token)
    return answer
