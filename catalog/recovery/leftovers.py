"""A catalog that lost a table must not get an empty one in its place: nobody would notice."""

from pyarrow.fs import FileSystem
from pyiceberg.catalog import Catalog

from catalog.errors import SluiceError
from catalog.lake import file_system_of
from catalog.recovery.metadata_files import namespace_folders, numbered, read


def refuse_leftovers(catalog: Catalog, identifier: str) -> None:
    """Raises SluiceError where a table of this name would be made in a folder that holds one with rows already."""
    namespace, name = identifier.rsplit(".", 1)
    files = _files(catalog)
    for folder in namespace_folders(catalog.properties["warehouse"], namespace):
        location = f"{folder}/{name}"
        found = numbered(files, location)
        highest = max(found.values(), default=0)
        written = any(read(files, path).has_rows for path, number in found.items() if number == highest)
        if written and not catalog.table_exists(identifier):  # else somebody has made it just now
            raise SluiceError(
                f"The catalog does not know {identifier}, but {location} holds its rows. If the catalog's database was lost: "
                "`sluice restore --from-bucket` while nothing but the servers runs. If the table was dropped on purpose, delete "
                "that folder"
            )


def _files(catalog: Catalog) -> FileSystem:
    properties = catalog.properties
    if "s3.endpoint" not in properties:
        return FileSystem.from_uri(properties["warehouse"])[0]
    return file_system_of(properties)
