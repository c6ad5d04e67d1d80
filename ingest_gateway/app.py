"""The gateway's table of contents."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from catalog.settings import LakeSettings, lake_settings
from ingest_gateway import form_pages, logs, pages, problems, site
from ingest_gateway.browsers import SecurityHeaders, cross_origin
from ingest_gateway.fast_path import FastPath
from ingest_gateway.gateway import Gateway
from ingest_gateway.guard import SIGN_IN, Guard, challenge
from ingest_gateway.ids import request_id
from ingest_gateway.problems import Problem
from ingest_gateway.settings import GatewaySettings, gateway_settings
from ingest_gateway.submit import Submit

EVENTS = re.compile(r"/v1/streams/([^/]+)/events\Z")


class App(Starlette):
    """Starlette, with the path that carries the load beside its middleware and routing: a tenth of a single event's time."""

    def __init__(self, submit: ASGIApp, fast_path: FastPath, origins: str, **options: Any) -> None:
        super().__init__(**options)
        self.fast_path = fast_path  # for a server whose connections know of it
        self._submit = submit
        self._pages = SecurityHeaders(super().__call__)  # outside of what answers when a page fails
        self._outermost = cross_origin(self._choose, origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._outermost(scope, receive, send)

    async def _choose(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (place := EVENTS.match(scope["path"])):
            scope["path_params"] = {"stream": place[1]}
            await self._submit(scope, receive, send)
        else:
            await self._pages(scope, receive, send)


def create_app(settings: GatewaySettings | None = None, lake: LakeSettings | None = None) -> Starlette:
    """The application. Without arguments it reads the environment; raises SluiceError where that can't work."""
    settings = settings or gateway_settings()
    logs.configure(settings.log_level)
    gateway = Gateway(settings, lake or lake_settings())

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with gateway.running():
            yield

    app = App(
        Submit(gateway),  # POST /v1/streams/{stream}/events
        FastPath(gateway),
        settings.cors_origins,
        routes=[
            Route("/v1/streams/{stream}", pages.stream),
            Route("/v1/streams", pages.streams),
            Route("/healthz", pages.healthz),
            Route("/readyz", pages.readyz),
            Route("/metrics", pages.exposition),
            Route("/forms/{stream}", form_pages.empty),
            Route("/forms/{stream}", form_pages.send, methods=["POST"]),
            Route(SIGN_IN, pages.sign_in),
            Route("/assets/{name}", site.asset),
            Route("/openapi.json", pages.openapi_document),
            Route("/docs", pages.docs),
            Route("/", pages.index),
        ],
        middleware=[Middleware(Guard, gateway=gateway, answer=_problem)],
        exception_handlers={Problem: _problem, HTTPException: _http_problem, Exception: _failure},
        lifespan=lifespan,
    )
    app.state.gateway = gateway
    return app


async def _problem(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)
    name = request_id(request.headers.get("x-request-id"))
    if site.wants_html(request):
        shown = {"problem": problem, "nearest": problem.members.get("nearest"), "request_id": name}
        headers = challenge(problem) if problem.status == 401 else problem.headers
        return site.page(request, "problem.html", status=problem.status, headers=headers, **shown)
    headers = {**problem.headers, "content-type": problems.CONTENT_TYPE.decode(), "x-request-id": name}
    return Response(problem.document(name), problem.status, headers)


async def _http_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    details = {404: f"There is nothing at {request.url.path[:200]}; / lists the streams",
               405: f"{request.method} is not allowed here"}  # fmt: skip
    slug = {404: "no-such-path", 405: "method"}.get(error.status_code, "http")
    problem = Problem(error.status_code, slug, details.get(error.status_code, error.detail), headers=error.headers)
    return await _problem(request, problem)


async def _failure(request: Request, error: Exception) -> Response:
    return await _problem(request, Problem(500, "internal", "The reason is in the gateway's log"))
