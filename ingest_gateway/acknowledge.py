"""Records to safety: to Kafka, acknowledged by all in-sync replicas, else to the spool, synced. Nothing else is a promise."""

import structlog

from ingest_gateway.delivery import NotAcknowledged
from ingest_gateway.gateway import Gateway
from ingest_gateway.keys import partitions
from ingest_gateway.problems import Problem, unavailable
from ingest_gateway.records import Records
from ingest_gateway.spool.backlog import SpoolRefuses
from ingest_gateway.streams import Served
from ingest_gateway.verdicts import Placed

log = structlog.get_logger("sluice.gateway.acknowledge")


async def acknowledged(served: Served, records: Records, gateway: Gateway) -> Placed | None:
    """Where Kafka has each record, or None when all are in the spool. Raises Problem 503: then nothing is promised.

    A stream of which something is in the spool goes there until that is drained, so that nothing overtakes within a key.
    """
    spool, stream = gateway.spool, served.stream.name
    if spool is None:
        try:
            return await _to_kafka(served, records, gateway)
        except Unsure as unsure:
            raise unsure.problem from None
    if gateway.broker.up:
        try:
            if spool.holds(stream):
                await _partitions(served, gateway)  # a topic that is gone is no reason to fill the disk
                if await _to_spool(stream, records, gateway, overtaking=False):
                    return None
            return await _to_kafka(served, records, gateway)
        except Unsure as unsure:
            log.info("events go to the spool", stream=stream, reason=str(unsure))
    # Written or not: in the spool it is safe, and where it was written too, its id makes the second one harmless.
    await _to_spool(stream, records, gateway, overtaking=True)
    return None


def at_once(served: Served, gateway: Gateway) -> int:
    """How many partitions the topic has, if records may go straight to Kafka; 0 where `acknowledged` must see to them."""
    if not gateway.broker.up or (gateway.spool is not None and gateway.spool.holds(served.stream.name)):
        return 0
    return gateway.broker.partitions(served.topic)


async def rescued(failure: NotAcknowledged, served: Served, records: Records, gateway: Gateway) -> None:
    """Put records in the spool that went straight to Kafka and were not acknowledged. Raises Problem 503."""
    unsure = _unsure(failure, gateway)
    if isinstance(unsure, Problem):
        raise unsure
    if gateway.spool is None:
        raise unsure.problem
    log.info("events go to the spool", stream=served.stream.name, reason=str(unsure))
    await _to_spool(served.stream.name, records, gateway, overtaking=True)


class Unsure(Exception):
    """Kafka is away, or did not say in time whether it has the records. `problem` is the answer where there is no spool."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


async def _to_kafka(served: Served, records: Records, gateway: Gateway) -> Placed:
    chosen = partitions(records.keys, await _partitions(served, gateway))
    try:
        return chosen, await gateway.producer.write(served.topic, chosen, records)
    except NotAcknowledged as failure:
        raise _unsure(failure, gateway) from None


def _unsure(failure: NotAcknowledged, gateway: Gateway) -> "Unsure | Problem":
    detail = (
        f"Kafka did not acknowledge the events ({failure}). Send them again with the same ids: none is counted twice"
    )
    problem = unavailable("not-acknowledged", detail, gateway.settings.retry_after)
    return problem if failure.final else Unsure(problem)


async def _partitions(served: Served, gateway: Gateway) -> int:
    try:
        return await gateway.partitions(served.topic)
    except Problem as problem:
        if problem.slug != "broker-away":
            raise
        raise Unsure(problem) from None


async def _to_spool(stream: str, records: Records, gateway: Gateway, overtaking: bool) -> bool:
    assert gateway.spool is not None
    try:
        return await gateway.spool.put(stream, records, overtaking)
    except SpoolRefuses as refusal:
        why = "older events of the stream wait" if gateway.broker.up else f"Kafka is away ({gateway.broker.reason})"
        raise unavailable(refusal.slug, f"{why}, and {refusal}", gateway.settings.retry_after) from None
