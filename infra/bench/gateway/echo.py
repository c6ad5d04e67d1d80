"""The limit of the server: a bare Starlette application that answers with what it got."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


async def echo(request: Request) -> Response:
    """The body, again."""
    return Response(await request.body(), status_code=202, media_type="application/json")


app = Starlette(routes=[Route("/v1/streams/{stream}/events", echo, methods=["POST"])])
