"""What keeps browsers from harm: headers on every answer, and pages of other origins only where a setting names them."""

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ingest_gateway import problems
from ingest_gateway.ids import request_id
from ingest_gateway.problems import Problem

# An answer is data: it is not to be guessed at, run, framed or kept. Pages for people bring their own.
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)
SENT = (
    "Authorization", "X-API-Key", "Content-Type", "Content-Encoding", "Idempotency-Key", "Prefer", "X-Request-Id",
    "traceparent", "tracestate", "ce-id", "ce-source", "ce-specversion", "ce-type", "ce-time", "ce-subject",
)  # fmt: skip
READ = ("Retry-After", "RateLimit", "RateLimit-Policy", "X-Request-Id", "Preference-Applied", "WWW-Authenticate")


class SecurityHeaders:
    """Middleware: adds what an answer has not said itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on."""

        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                said = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(pair for pair in HEADERS if pair[0] not in said)]
            await send(message)

        await self._app(scope, receive, add if scope["type"] == "http" else send)


def cross_origin(app: ASGIApp, origins: str) -> ASGIApp:
    """The application for pages of these origins too (comma-separated, `*` for all); itself where there are none.

    Never with credentials of the browser's: a page that sends events has a key of its own.
    """
    named = [origin.strip() for origin in origins.split(",") if origin.strip()]
    if not named:
        return app
    return _CrossOrigin(
        app, allow_origins=named, allow_methods=("GET", "POST"), allow_headers=SENT, expose_headers=READ
    )


class _CrossOrigin(CORSMiddleware):
    """The library's, with what it refuses as a problem document."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """What a browser asks before it sends a page's request."""
        answer = super().preflight_response(request_headers)
        answer.headers.update({name.decode(): value.decode() for name, value in HEADERS})
        if answer.status_code < 400:
            return answer
        what = bytes(answer.body).decode().removeprefix("Disallowed CORS ")
        problem = Problem(400, "cross-origin", f"Pages of other origins may not ask this: {what} not allowed (CORS)")
        name = request_id(request_headers.get("x-request-id"))
        kept = {key: value for key, value in answer.headers.items() if key not in ("content-length", "content-type")}
        headers = {**kept, "content-type": problems.CONTENT_TYPE.decode(), "x-request-id": name}
        return Response(problem.document(name), problem.status, headers)
