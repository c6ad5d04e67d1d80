"""When a stream that failed may try again, and whose failure it is."""

import pytest

from stream_jobs.aside import FIRST, LONGEST, Rests
from stream_jobs.commit import FencedError
from stream_jobs.failures import raise_unless_single


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_pause_grows_with_each_failure_up_to_a_limit() -> None:
    clock = Clock()
    rests = Rests(clock)
    pauses = []
    for _ in range(12):
        rests.failed("orders", "no such table")
        began = clock.now
        while rests.resting():
            clock.now += 1
        pauses.append(clock.now - began)
    assert pauses[:3] == [FIRST, FIRST * 2, FIRST * 4]
    assert pauses[-1] == LONGEST


def test_a_stream_that_did_well_starts_anew() -> None:
    clock = Clock()
    rests = Rests(clock)
    rests.failed("orders", "no such table")
    rests.failed("orders", "no such table")
    assert rests.resting() == {"orders": "no such table"}
    rests.went_well("orders")
    assert rests.resting() == {}
    rests.failed("orders", "again")
    clock.now = FIRST
    assert rests.resting() == {}


@pytest.mark.parametrize("tried", [["orders"], ["orders", "users"]])
def test_one_of_several_is_set_aside(tried: list[str]) -> None:
    rests = Rests(Clock())
    raise_unless_single({"orders": ValueError("no such table\nat line 5")}, tried, ["orders", "users"], rests)
    assert rests.resting() == {"orders": "no such table"}


def test_where_all_fail_a_server_is_away() -> None:
    rests = Rests(Clock())
    with pytest.raises(OSError, match="connection refused"):
        raise_unless_single({"orders": OSError("connection refused")}, ["orders"], ["orders"], rests)
    assert rests.resting() == {}


def test_where_all_fail_that_were_tried_a_server_is_away_though_others_had_nothing_to_do() -> None:
    rests = Rests(Clock())
    failures = {"orders": OSError("the disk is full"), "users": OSError("the disk is full")}
    with pytest.raises(OSError, match="full"):
        raise_unless_single(failures, failures.keys(), ["orders", "users", "earthquakes"], rests)
    assert rests.resting() == {}


def test_work_ends_when_one_fails_and_when_one_may_try_again_even_if_it_might_before_the_work_began() -> None:
    clock = Clock()
    rests = Rests(clock)
    assert not rests.moved(["orders", "users"], ["orders", "users"])
    rests.failed("orders", "no such table")
    assert rests.moved(["orders", "users"], ["orders", "users"])
    assert not rests.moved(["orders", "users"], ["users"])
    assert not rests.moved(["users"], ["users"])  # the contract of the other one is gone
    clock.now = FIRST
    assert rests.moved(["orders", "users"], ["users"])


def test_a_fenced_writer_stops_the_job_whatever_else_failed() -> None:
    rests = Rests(Clock())
    failures = {"users": OSError("timed out"), "orders": FencedError("another writer")}
    with pytest.raises(FencedError):
        raise_unless_single(failures, failures, ["orders", "users", "earthquakes"], rests)
