"""What a load leaves in the tables: files of a partition, and metadata beside rows."""

import time
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from catalog import names
from catalog.lake import file_system, open_catalog
from catalog.maintenance.inventory import Inventories
from catalog.maintenance.metrics import SETTLED
from catalog.maintenance.orphans import listed
from catalog.settings import LakeSettings


def tables(lake: LakeSettings, streams: Iterable[str]) -> dict[str, Any]:
    """Of all tables of the streams: data files older than ten minutes in the partition that has most of them, files in all,
    and the share of the metadata in all bytes that lie in the object store."""
    catalog, files, inventories = open_catalog(lake), file_system(lake), Inventories()
    before = int((time.time() - SETTLED) * 1000)
    most, metadata, every, data, deletes, snapshots = (0, ""), 0, 0, 0, 0, 0
    for identifier in (names.table(layer, stream) for stream in streams for layer in names.LAYERS):
        table = catalog.load_table(identifier)
        found, lying = inventories.of(table), listed(files, table.location(), timedelta(0))
        most = max(most, (found.most_in_partition(before), identifier))
        metadata, every = metadata + lying.metadata_bytes, every + lying.bytes
        data, deletes = data + len(found.data), deletes + len(found.deletes)
        snapshots += len(table.snapshots())
    return {
        "settled_files": most[0], "in_table": most[1], "data_files": data, "delete_files": deletes, "snapshots": snapshots,
        "metadata_share": metadata / every if every else 0.0,
        "metadata_mb": metadata / 1e6, "all_mb": every / 1e6,
    }  # fmt: skip
