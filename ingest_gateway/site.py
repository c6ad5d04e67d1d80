"""What all pages for people share: the template engine, the language, and headers that let nothing in from elsewhere."""

import hashlib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.templating import Jinja2Templates

from ingest_gateway import accept, words
from ingest_gateway.callers import ANONYMOUS
from ingest_gateway.words import Words

_TICKS = re.compile(r"`([^`]+)`")
HERE = Path(__file__).parent
ASSETS = {"site.css": "text/css", "icon.svg": "image/svg+xml"}
HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "private, no-cache",
    "vary": "Accept, Accept-Language",
}


@cache
def _templates() -> Jinja2Templates:
    loader = FileSystemLoader(HERE / "templates")
    env = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    env.filters["ticked"] = _ticked
    return Jinja2Templates(env=env)


def _ticked(text: str) -> Markup:
    """The one thing of Markdown that descriptions use: `code`."""
    return Markup(_TICKS.sub(r"<code>\1</code>", str(escape(text))))


def wants_html(request: Request) -> bool:
    """Whether a browser asks."""
    return accept.wants_html(request.headers.get("accept", ""))


def language(request: Request) -> Words:
    """The strings for who asks."""
    return words.chosen(request.query_params.get("lang"), request.headers.get("accept-language", ""))


def page(
    request: Request, template: str, *, status: int = 200, headers: Mapping[str, str] | None = None, **context: Any
) -> Response:
    """A page in the language of who asks. A language that was chosen by `?lang=` goes on in its links."""
    said = language(request)
    asked = request.query_params.get("lang") in words.LANGUAGES

    def link(path: str, **query: str) -> str:
        query = {**query, **({"lang": said.language} if asked else {})}
        return path + "".join(f"{'&' if n else '?'}{name}={value}" for n, (name, value) in enumerate(query.items()))

    return _templates().TemplateResponse(
        request,
        template,
        {
            "w": said,
            "link": link,
            "languages": [(name, words.words(name)("language")) for name in words.LANGUAGES],
            "version": _version(),
            "anonymous": request.app.state.gateway.access.required and request.scope.get("caller") in (None, ANONYMOUS),
            **context,
        },
        status_code=status,
        headers={**HEADERS, "content-language": said.language, **(headers or {})},
    )


async def asset(request: Request) -> Response:
    """The style sheet and the icon."""
    name = request.path_params["name"]
    if name not in ASSETS:
        raise HTTPException(404)
    headers = {"cache-control": "public, max-age=31536000, immutable", "x-content-type-options": "nosniff"}
    return Response(_asset(name), media_type=ASSETS[name], headers=headers)


@cache
def _asset(name: str) -> bytes:
    return (HERE / "assets" / name).read_bytes()


@cache
def _version() -> str:
    return hashlib.sha256(b"".join(map(_asset, ASSETS))).hexdigest()[:12]
