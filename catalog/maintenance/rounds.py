"""A round over tables, one at a time, and the history in `ops.maintenance`."""

import gc
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import partial

import psycopg
import structlog
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchTableError

from catalog import names, ops_tables
from catalog.errors import SluiceError
from catalog.lake import file_system, open_catalog
from catalog.lease import Lease
from catalog.maintenance import work
from catalog.maintenance.deletes import DeadRows
from catalog.maintenance.inventory import Inventories
from catalog.maintenance.java import JavaTables
from catalog.maintenance.settings import maintenance_settings
from catalog.maintenance.tools import FAILED, NOTHING, ORPHANS, PLANNED, Done, Tools
from catalog.ops_tables import MAINTENANCE
from catalog.settings import LakeSettings
from catalog.turns import taken

NAMESPACES = (*names.LAYERS, names.OPS)
PURPOSE = "maintenance"
# Seconds of silence after which a round that was paused loses its turn; its commits are checked by themselves.
PATIENCE = 30.0
log = structlog.get_logger()


def tables(catalog: Catalog) -> list[str]:
    """The tables that are looked after."""
    found = (identifier for namespace in NAMESPACES for identifier in catalog.list_tables(namespace))
    return sorted(".".join(identifier) for identifier in found)


def tools_for(lake: LakeSettings, *, dry_run: bool = False) -> Tools:
    """Clients of the lake; the JVM starts with the first commit."""
    files = file_system(lake)
    return Tools(
        open_catalog(lake), files, JavaTables(lake), maintenance_settings(), Inventories(), DeadRows(files),
        partial(taken, lake), dry_run,
    )  # fmt: skip


def by_hand(
    lake: LakeSettings, chosen: Iterable[str], *, dry_run: bool, wait: float, at: Callable[[str], None] = lambda _: None
) -> list[Done]:
    """One round now, of everything. Raises SluiceError where another round does not end in time."""
    tools = tools_for(lake, dry_run=dry_run)
    with closing(tools.java), leased(lake, wait):
        return one_round(tools, chosen, lambda _: True, at=at)


@contextmanager
def leased(lake: LakeSettings, wait: float) -> Iterator[None]:
    """One round at a time: only its holder works. Raises SluiceError."""
    try:
        with closing(Lease(lake, PURPOSE, PATIENCE)) as lease:
            deadline = time.monotonic() + wait
            while not lease.acquire():
                if time.monotonic() > deadline:
                    raise SluiceError(
                        f"another maintenance has run for more than {wait:.0f} s; see ./sluice logs maintenance"
                    )
                time.sleep(0.2)
            yield
    except psycopg.OperationalError as failure:
        raise SluiceError(f"The catalog database does not answer: {str(failure).splitlines()[0]}") from None


def one_round(
    tools: Tools,
    chosen: Iterable[str],
    orphans_due: Callable[[str], bool],
    *,
    fewest_snapshots: int = 1,
    at: Callable[[str], None] = lambda _: None,
) -> list[Done]:
    """Everything that is due on these tables. One that fails does not stop the others."""
    done: list[Done] = []
    for identifier in chosen:
        at(identifier)
        done += _on(tools, identifier, orphans_due(identifier), fewest_snapshots)
        # Py4J's objects refer to themselves: until they are collected here, Java keeps what a commit has read.
        gc.collect()
    # Of a search for orphans it is kept that it was made, so that a restart does not make it again.
    worth = [asdict(one) for one in done if one.outcome not in (PLANNED, NOTHING) or one.action == ORPHANS]
    if not tools.dry_run:
        ops_tables.append(tools.catalog, MAINTENANCE, worth)
    return done


def _on(tools: Tools, identifier: str, with_orphans: bool, fewest_snapshots: int) -> Iterator[Done]:
    started = time.monotonic()
    try:
        yield from work.compact(tools, identifier)
        yield from work.expire(tools, identifier, fewest_snapshots)
        if with_orphans:
            yield from work.remove_orphans(tools, identifier)
    except NoSuchTableError:
        return  # dropped meanwhile
    except MemoryError:
        raise  # no matter of this table
    except Exception as failure:
        reason = str(failure).splitlines()[0] if str(failure) else type(failure).__name__
        log.error("failed", table=identifier, reason=reason, kind=type(failure).__name__)
        seconds = round(time.monotonic() - started, 3)
        yield Done(datetime.now(UTC), identifier, "round", FAILED, 0, 0, 0, 0, seconds, reason)


def last_orphan_searches(catalog: Catalog, within: timedelta) -> dict[str, datetime]:
    """When each table was last searched for orphans, if it was within that time."""
    found: dict[str, datetime] = {}
    for row in ops_tables.recent(catalog, MAINTENANCE, within).to_pylist():
        if row["action"] == ORPHANS:
            found[row["table"]] = max(row["at"], found.get(row["table"], row["at"]))
    return found
