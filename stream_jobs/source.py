"""Whose offsets a table's are. Another Kafka cluster, or the same one after it lost its data, counts from 0 again: its offsets say
nothing about what bronze has, even where the numbers fit."""

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException

from catalog import names
from catalog.kafka_offsets import GoneError
from catalog.progress import table_progress

TRIES = 20


class OtherClusterError(GoneError):
    """Kafka is not the cluster that bronze was filled from."""


def claim(catalog: Catalog, stream: str, cluster: str) -> None:
    """Make sure that bronze's offsets are of this cluster; a table that was not told yet is told. Raises OtherClusterError.

    A broker that says no id (`cluster` is empty) is taken at its word.
    """
    for _ in range(TRIES):
        table = catalog.load_table(names.table(names.BRONZE, stream))
        known = table.properties.get(names.P_CLUSTER)
        if not cluster or known == cluster:
            return
        if known is not None and any(table_progress(table).offsets.values()):
            raise OtherClusterError(
                f"{stream}: bronze was filled from Kafka cluster {known}, and this is cluster {cluster}: its data was lost, or "
                "SLUICE_KAFKA_BOOTSTRAP names another. Bring the old one back; if it is gone for good, give the stream a new name"
            )
        try:
            with table.transaction() as transaction:
                transaction.set_properties({names.P_CLUSTER: cluster})
            return
        except CommitFailedException:
            continue  # maintenance, or another job that tells the same
    raise RuntimeError(f"bronze.{stream} is committed to so often that its Kafka cluster could not be noted")
