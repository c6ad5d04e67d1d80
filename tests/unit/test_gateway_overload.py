"""The answer that is made once is the one that would be made each time."""

import orjson
import pytest

from ingest_gateway.browsers import HEADERS
from ingest_gateway.intake import RequestHeaders
from ingest_gateway.overload import Overload, no_room
from ingest_gateway.submit import refusal


@pytest.mark.parametrize("name", ["r-1", "x" * 64, "100%"])
def test_the_answer_is_a_problem_document_with_the_requests_name(name: str) -> None:
    head, body = Overload(7).answer(name)
    status, expected, headers = refusal(no_room(7), "/v1/streams/orders/events", RequestHeaders([]), name)
    lines = [*headers, *HEADERS, (b"content-length", b"%d" % len(expected)), (b"x-request-id", name.encode())]
    assert status == 503
    assert orjson.loads(body) == orjson.loads(expected)
    assert head == b"".join(b"%s: %s\r\n" % line for line in lines)
    assert (b"retry-after", b"7") in headers
