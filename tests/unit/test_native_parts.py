"""Which parts are started for what was asked, and in which order they end."""

import subprocess

import pytest

from catalog.errors import SluiceError
from infra.native import parts


def test_all_parts_are_the_default() -> None:
    assert parts.selection(None) == list(parts.SERVICES)


def test_a_selection_keeps_the_order_of_the_stack() -> None:
    assert parts.selection("trino, kafka,postgres") == ["postgres", "kafka", "trino"]


def test_an_unknown_part_is_refused_with_the_list() -> None:
    with pytest.raises(SluiceError, match="no part 'redis'; the parts are postgres"):
        parts.selection("postgres,redis")


def test_the_whole_stack_has_all_steps_before_what_needs_them() -> None:
    order = parts.with_steps(parts.SERVICES)
    assert set(order) == {*parts.SERVICES, *parts.STEPS}
    assert all(order.index(need) < order.index(name) for name in order for need in parts.NEEDS[name])


@pytest.mark.parametrize(
    ("services", "steps"),
    [
        (["postgres", "minio", "kafka"], ["accounts"]),
        (["postgres", "minio", "trino"], ["catalog"]),
        (["postgres", "minio", "kafka", "gateway"], ["accounts", "catalog", "tables"]),
        (["postgres", "minio", "gateway"], []),
        (["kafka"], ["accounts"]),
    ],
)
def test_only_needed_steps_run(services: list[str], steps: list[str]) -> None:
    assert [name for name in parts.with_steps(services) if name in parts.STEPS] == steps


def test_steps_run_for_parts_that_join_running_servers() -> None:
    order = parts.with_steps(["trino", "gateway"], running=["postgres", "minio", "kafka"])
    assert order == ["accounts", "catalog", "trino", "tables", "gateway"]


def test_every_part_ends_after_all_that_need_it() -> None:
    place = {name: index for index, group in enumerate(parts.STOP_ORDER) for name in group}
    assert set(place) == set(parts.NEEDS)
    assert all(
        place[name] <= place[need] for name in parts.NEEDS for need in parts.NEEDS[name] if need in parts.SERVICES
    )


def test_what_threads_reserve_for_their_stacks_is_not_what_bounds_a_part() -> None:
    program = """
import threading
end = threading.Event()
for _ in range(60):
    threading.Thread(target=end.wait).start()
end.set()
try:
    bytearray(400 << 20)
except MemoryError:
    print("bounded")
"""
    done = subprocess.run(
        parts._bounded("350m", "-c", program), capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "bounded\n"), done.stderr
