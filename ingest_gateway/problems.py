"""Whole-request errors as RFC 9457 problem documents. A problem means that no event of the request was acknowledged."""

from collections.abc import Mapping
from typing import Any

import orjson

CONTENT_TYPE = b"application/problem+json"

TITLES = {
    400: "The request cannot be read",
    401: "Who asks is not known",
    403: "This caller may not do this",
    404: "There is no such thing here",
    405: "This method is not allowed here",
    408: "The request did not arrive in time",
    413: "The request is too large",
    415: "This kind of body is not understood",
    429: "Too many requests",
    431: "The request's headers are too large",
    500: "The gateway failed",
    503: "The gateway cannot take this now",
}


class Problem(Exception):
    """Ends a request with a problem document. `slug` names the kind of problem and never changes; `detail` is for people."""

    def __init__(
        self, status: int, slug: str, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.slug = slug
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = members

    def document(self, request_id: str) -> bytes:
        """The JSON body."""
        return orjson.dumps(
            {
                "type": f"urn:sluice:problem:{self.slug}",
                "title": TITLES.get(self.status, "The request failed"),
                "status": self.status,
                "detail": self.detail,
                "request_id": request_id,
                **self.members,
            }
        )


def unavailable(slug: str, detail: str, retry_after: int) -> Problem:
    """A 503 that says when to come back."""
    return Problem(503, slug, detail, headers={"retry-after": str(retry_after)})
