"""Which losses may be accepted: exactly what Kafka no longer has and bronze lacks."""

import pytest

from catalog.errors import SluiceError
from stream_jobs.losses import Loss, gaps, parsed, require_gap

BOUNDS = {0: (480, 900), 1: (0, 50), 2: (70, 70)}
REACHED = {0: 120, 1: 20}


def test_a_loss_is_said_with_its_last_offset_included() -> None:
    assert parsed("orders:0:120-479") == Loss("orders", 0, 120, 480)
    assert str(parsed("orders:0:120-479")) == "orders:0:120-479"
    assert parsed("a:0:7-7").end == 8


@pytest.mark.parametrize(
    "text", ["orders", "orders:0", "orders:0:5", "orders:x:1-2", "orders:0:2-1", ":0:1-2", "o:-1:1-2", "o:0:1-"]
)
def test_what_is_no_loss_is_refused_in_a_line(text: str) -> None:
    with pytest.raises(SluiceError, match=r"is not STREAM|whole numbers"):
        parsed(text)


def test_gaps_are_what_is_in_neither() -> None:
    assert gaps("orders", BOUNDS, REACHED) == [Loss("orders", 0, 120, 480), Loss("orders", 2, 0, 70)]
    assert gaps("orders", {0: (5, 9)}, {0: 5}) == []


@pytest.mark.parametrize("text", ["orders:0:120-479", "orders:2:0-69"])
def test_exactly_the_gap_is_taken(text: str) -> None:
    require_gap(parsed(text), BOUNDS, REACHED)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("orders:0:120-400", "Kafka no longer has orders:0:120-479"),
        ("orders:0:0-479", "Kafka no longer has orders:0:120-479"),
        ("orders:0:500-600", "Kafka no longer has orders:0:120-479"),
        ("orders:1:0-9", "bronze is at offset 20 already"),
        ("orders:1:20-30", "Kafka still has offsets 0 to 49"),
        ("orders:1:10-30", "Kafka still has"),
        ("orders:7:0-9", "the topic has no partition 7; its partitions: 0, 1, 2"),
    ],
)
def test_anything_else_is_refused_with_what_is_so(text: str, reason: str) -> None:
    with pytest.raises(SluiceError, match=reason):
        require_gap(parsed(text), BOUNDS, REACHED)


def test_a_topic_that_was_made_anew_is_no_gap() -> None:
    with pytest.raises(SluiceError, match="deleted and made anew"):
        require_gap(parsed("orders:0:5-9"), {0: (0, 3)}, {0: 10})
