"""Where there is no room: who waits comes in in turn, or is refused in time; the answer that is made once is the usual one."""

import asyncio
from unittest.mock import Mock

import orjson
import pytest

from ingest_gateway import overload
from ingest_gateway.browsers import HEADERS
from ingest_gateway.intake import RequestHeaders
from ingest_gateway.overload import Refusal, WaitingRoom, no_room
from ingest_gateway.submit import refusal

LIMIT = 10.0  # seconds


@pytest.mark.parametrize("name", ["r-1", "x" * 64, "100%"])
def test_the_answer_is_a_problem_document_with_the_requests_name(name: str) -> None:
    head, body = Refusal(7).answer(name)
    status, expected, headers = refusal(no_room(7), "/v1/streams/orders/events", RequestHeaders([]), name, Mock())
    lines = [*headers, *HEADERS, (b"content-length", b"%d" % len(expected)), (b"x-request-id", name.encode())]
    assert status == 503
    assert orjson.loads(body) == orjson.loads(expected)
    assert head == b"".join(b"%s: %s\r\n" % line for line in lines)
    assert (b"retry-after", b"7") in headers


class Room:
    """A place with so many seats, and what became of those who asked for one."""

    def __init__(self, seats: int) -> None:
        self.seats = seats
        self.said: list[str] = []
        self.waiting = WaitingRoom(1, lambda: self.seats > 0)

    def ask(self, name: str) -> "Asker":
        asker = Asker(self, name)
        self.waiting.enter(asker)
        return asker

    def leave(self) -> None:
        self.seats += 1
        self.waiting.wake()

    async def said_of_all(self, count: int) -> list[str]:
        async with asyncio.timeout(LIMIT):
            while len(self.said) < count:  # noqa: ASYNC110 - the loop itself is what is waited for
                await asyncio.sleep(0)
        return self.said


class Asker:
    def __init__(self, room: Room, name: str) -> None:
        self._room = room
        self._name = name
        self.response_complete = False

    def proceed(self) -> None:
        self._room.seats -= 1
        self._room.said.append(f"{self._name} in")

    def turn_away(self, refusal: Refusal) -> None:
        self._room.said.append(f"{self._name} away")


def test_who_waits_comes_in_in_the_order_of_coming(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overload, "WAIT", LIMIT)

    async def run() -> None:
        room = Room(0)
        for name in "abc":
            room.ask(name)
        room.leave()
        room.leave()
        assert await room.said_of_all(2) == ["a in", "b in"]
        assert len(room.waiting) == 1
        room.leave()
        assert await room.said_of_all(3) == ["a in", "b in", "c in"]
        assert not room.waiting

    asyncio.run(run())


def test_who_waited_long_enough_is_refused_and_who_came_later_is_too() -> None:
    async def run() -> None:
        room = Room(0)
        room.ask("a")
        await asyncio.sleep(overload.WAIT / 2)
        room.ask("b")
        assert await room.said_of_all(2) == ["a away", "b away"]
        room.ask("c")  # the room is used again after it was empty
        assert await room.said_of_all(3) == ["a away", "b away", "c away"]

    asyncio.run(run())


def test_a_client_that_is_gone_takes_no_place_and_gets_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overload, "WAIT", LIMIT)

    async def run() -> None:
        room = Room(0)
        room.ask("a").response_complete = True
        room.ask("b")
        room.leave()
        assert await room.said_of_all(1) == ["b in"]
        assert room.seats == 0

    asyncio.run(run())


def test_a_client_that_is_gone_is_not_refused_either() -> None:
    async def run() -> None:
        room = Room(0)
        room.ask("a").response_complete = True
        room.ask("b")
        assert await room.said_of_all(1) == ["b away"]
        assert not room.waiting

    asyncio.run(run())
