"""Forms that only our own page can have sent: a token in the form that is the same as in a cookie (double submit).

Nothing is kept here, so any worker takes what another one's page sends.
"""

import hmac
import re
import secrets

from starlette.requests import Request
from starlette.responses import Response

COOKIE = "sluice_form"
FIELD = "_token"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{32}\Z")


def token(request: Request) -> str:
    """The browser's token, so that two open forms share it; else a new one."""
    held = request.cookies.get(COOKIE, "")
    return held if _TOKEN.match(held) else secrets.token_urlsafe(24)


def keep(response: Response, request: Request, value: str) -> None:
    """Give the browser its token. It sends it back to forms of this site alone, and no script can read it."""
    response.set_cookie(
        COOKIE, value, path="/forms", secure=request.url.scheme == "https", httponly=True, samesite="lax"
    )


def is_ours(request: Request, sent: str) -> bool:
    """Whether a posted form came from our page. Browsers that say where a request comes from must say: from here."""
    held = request.cookies.get(COOKIE, "")
    here = request.headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")
    return here and _TOKEN.match(held) is not None and hmac.compare_digest(held.encode(), sent.encode())
