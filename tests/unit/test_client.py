"""What the client makes of each answer of a gateway: its side of the talk, without a network."""

from collections.abc import Generator
from typing import Any

import httpx
import orjson
import pytest

from catalog.errors import SluiceError
from ingest_gateway.client import Event, GatewayAway, Retry, Verdict, _Pause, _Post, _Protocol

EVENTS = [Event("a", b'{"n": 1.0}'), Event("b", b'{"n":2}')]


class Talk:
    """Plays a gateway that gives the answers in turn, and notes what was posted and how long was waited."""

    def __init__(self, *answers: httpx.Response | httpx.TransportError, patience: float = 60.0) -> None:
        self.answers = list(answers)
        self.posts: list[bytes] = []
        self.waits: list[float] = []
        self.reasons: list[str] = []
        self.now = 0.0
        self.protocol = _Protocol(
            "http://gateway",
            "orders",
            retry=Retry(patience),
            clock=lambda: self.now,
            on_wait=lambda why, _: self.reasons.append(why),
        )

    def run(self, events: list[Event]) -> list[Verdict]:
        talk: Generator[Any, Any, list[Verdict]] = self.protocol.talk(events)
        reply: Any = None
        while True:
            try:
                step = talk.send(reply)
            except StopIteration as end:
                return list(end.value)
            if isinstance(step, _Pause):
                self.waits.append(step.seconds)
                self.now += step.seconds
                reply = None
            else:
                assert isinstance(step, _Post)
                self.posts.append(step.content)
                reply = self.answers.pop(0) if self.answers else httpx.ConnectError("refused")


def receipt(*verdicts: dict[str, Any], status: int = 202) -> httpx.Response:
    return httpx.Response(status, content=orjson.dumps({"stream": "orders", "events": verdicts}))


def taken(name: str, status: str = "accepted") -> dict[str, Any]:
    return {"id": name, "status": status, "partition": 0, "offset": 4}


def problem(status: int, detail: str, **headers: str) -> httpx.Response:
    return httpx.Response(status, content=orjson.dumps({"title": "No", "detail": detail}), headers=headers)


def test_payloads_are_posted_as_they_are() -> None:
    talk = Talk(receipt(taken("a"), taken("b", "spooled")))
    assert [v.status for v in talk.run(EVENTS)] == ["accepted", "spooled"]
    assert b'"data":{"n": 1.0}}' in talk.posts[0]
    assert [(e["id"], e["type"], e["specversion"], e["data"]["n"]) for e in orjson.loads(talk.posts[0])] == [
        ("a", "orders", "1.0", 1), ("b", "orders", "1.0", 2),
    ]  # fmt: skip


def test_nothing_to_send_posts_nothing() -> None:
    talk = Talk()
    assert talk.run([]) == []
    assert talk.posts == []


def test_refusals_point_into_the_payload_and_have_our_ids() -> None:
    bad = {
        "id": "made-up",
        "status": "refused",
        "errors": [{"pointer": "/data/n", "message": "no"}, {"pointer": "/id", "message": "no"}],
    }
    first, second = Talk(receipt(bad, taken("b"), status=207)).run(EVENTS)
    assert (first.id, first.taken, [f.pointer for f in first.errors], second.taken) == ("a", False, ["/n", "/id"], True)


@pytest.mark.parametrize(
    "failure",
    [httpx.ConnectError("x"), httpx.ReadTimeout("x"), httpx.RemoteProtocolError("x"), problem(503, "full"), problem(429, "slow"),
     problem(502, "proxy")],
)  # fmt: skip
def test_what_passes_is_tried_again_with_the_same_bytes(failure: Any) -> None:
    talk = Talk(failure, failure, receipt(taken("a"), taken("b")))
    assert all(v.taken for v in talk.run(EVENTS))
    assert len(talk.posts) == 3
    assert len(set(talk.posts)) == 1


def test_the_server_says_how_long_to_wait() -> None:
    talk = Talk(problem(503, "full", **{"retry-after": "7"}), receipt(taken("a"), taken("b")))
    talk.run(EVENTS)
    assert 7 <= talk.waits[0] <= 7.7
    assert talk.reasons == ["503, full"]


def test_waits_grow_to_a_limit_and_patience_ends() -> None:
    talk = Talk(patience=100)
    with pytest.raises(GatewayAway, match=r"http://gateway: nothing answers there \(tried \d+ times in 100 s\)"):
        talk.run(EVENTS)
    assert talk.waits[0] <= 0.2
    assert 5 <= talk.waits[-1] <= 10
    assert sum(talk.waits) <= 100


@pytest.mark.parametrize(
    ("status", "detail"), [(404, "no stream ordres; did you mean orders?"), (401, "no key"), (400, "no")]
)
def test_what_does_not_pass_is_told_at_once(status: int, detail: str) -> None:
    talk = Talk(problem(status, detail))
    with pytest.raises(SluiceError, match=f"answered {status}: {detail.split('?')[0]}"):
        talk.run(EVENTS)
    assert len(talk.posts) == 1


def test_a_422_without_verdicts_is_an_error() -> None:
    with pytest.raises(SluiceError, match="answered 422: odd"):
        Talk(problem(422, "odd")).run(EVENTS)


@pytest.mark.parametrize(
    "answer", [receipt(taken("a")), receipt(taken("b"), taken("a")), receipt(taken("a"), taken("b"), taken("c"))]
)
def test_an_answer_about_other_events_is_no_promise(answer: httpx.Response) -> None:
    with pytest.raises(SluiceError, match="does not speak of the events that were sent"):
        Talk(answer).run(EVENTS)


def test_a_batch_that_is_too_large_is_halved_and_an_event_that_is_is_refused() -> None:
    too_large = problem(413, "too large")
    first, second = Talk(too_large, receipt(taken("a")), too_large).run(EVENTS)
    assert (first.taken, second.taken, second.errors[0].message) == (True, False, "too large")


def test_a_date_is_a_way_to_say_how_long() -> None:
    talk = Talk(problem(503, "x", **{"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}), problem(503, "x", **{"retry-after": "soon"}),
                receipt(taken("a"), taken("b")))  # fmt: skip
    assert all(v.taken for v in talk.run(EVENTS))
