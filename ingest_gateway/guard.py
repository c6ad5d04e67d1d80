"""The gate before the pages: what speaks of a stream, or of all of them, is shown to those who may see it."""

import base64
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ingest_gateway.addresses import Proxies, networks
from ingest_gateway.callers import ANONYMOUS, Caller, denied
from ingest_gateway.gateway import Gateway
from ingest_gateway.intake import RequestHeaders
from ingest_gateway.problems import Problem

if TYPE_CHECKING:
    from ingest_gateway.rates import Rates

Answer = Callable[[Request, Exception], Awaitable[Response]]
_OF_A_STREAM = re.compile(r"/(?:v1/streams|forms)/([^/]+)")


SIGN_IN = "/sign-in"


class Guard:
    """Middleware. Leaves the caller in `scope["caller"]` for pages that show some streams and not others."""

    def __init__(self, app: ASGIApp, gateway: Gateway, answer: Answer) -> None:
        self._app = app
        self._answer = answer
        self._gateway = gateway
        settings = gateway.settings
        self._proxies = Proxies(networks(settings.trusted_proxies), settings.proxy_header)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with 401 or 403, or pass on."""
        if scope["type"] == "http":
            scope["scheme"] = self._proxies.scheme(scope)  # of links and cookies
            try:
                await self._check(scope, _signed_in(scope))
            except Problem as problem:
                answer = await self._answer(Request(scope, receive), problem)
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _check(self, scope: Scope, headers: RequestHeaders) -> None:
        path, access, rates = scope["path"], self._gateway.access, self._gateway.rates
        if path == "/healthz":
            return
        try:
            scope["caller"] = caller = await access.caller(headers)
        except Problem:
            if rates is not None:
                rates.count(ANONYMOUS, scope)
            raise
        if rates is not None and path != "/readyz":  # a probe that is turned away would end the gateway
            self._count(rates, caller, scope)
        if path == SIGN_IN and access.required and caller is ANONYMOUS:
            raise denied(caller, "read", "*")
        if path == "/metrics":
            access.require_operator(caller)
        elif found := _OF_A_STREAM.match(path):
            if scope["method"] == "POST" or path.startswith("/forms/"):  # nobody is to fill in a form in vain
                await access.admit(headers, found[1])
            access.require_sight(caller, found[1])

    def _count(self, rates: "Rates", caller: Caller, scope: Scope) -> None:
        try:
            rates.count(caller, scope)
        except Problem as problem:
            if not (scope["method"] == "POST" and scope["path"].startswith("/forms/")):
                raise
            scope["turned_away"] = problem  # by the form itself, with what was entered


def turned_away(scope: Scope) -> Problem | None:
    """The 429 that a form which was sent gets."""
    found: Problem | None = scope.get("turned_away")
    return found


def caller_of(scope: Scope) -> Caller:
    """Who asks for a page."""
    caller: Caller = scope.get("caller", ANONYMOUS)
    return caller


def challenge(problem: Problem) -> dict[str, str]:
    """The headers of a 401 for a browser: it asks the person for a key, and sends it with what follows."""
    return {**problem.headers, "www-authenticate": 'Basic realm="Sluice: the API key is the password", charset="UTF-8"'}


def _signed_in(scope: Scope) -> RequestHeaders:
    """The headers, with the password that a browser asked for as the API key.

    For pages and their forms alone, which have a token of their own: a browser sends passwords with requests of other sites, too,
    so where events are submitted they count for nothing.
    """
    headers = RequestHeaders(scope["headers"])
    scheme, _, credentials = (headers.get(b"authorization") or "").partition(" ")
    if scheme.lower() != "basic":
        return headers
    try:
        password = base64.b64decode(credentials, validate=True).partition(b":")[2]
    except ValueError:
        password = b""
    others = [pair for pair in scope["headers"] if pair[0] != b"authorization"]
    return RequestHeaders([*others, (b"authorization", b"Bearer " + password)])
