"""The lake's catalog, without a server."""

from catalog.lake import open_catalog
from catalog.settings import LakeSettings, read_settings


def test_who_opens_the_catalog_again_and_again_has_its_connections_once() -> None:
    settings = read_settings(LakeSettings)
    assert open_catalog(settings.model_copy()) is open_catalog(settings)
    other = settings.model_copy(update={"catalog_uri": "postgresql://sluice@127.0.0.1:1/other"})
    assert open_catalog(other) is not open_catalog(settings)
