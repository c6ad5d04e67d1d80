"""`python -m infra.native.steps NAME`: the one-time steps between servers, each safe to repeat."""

import sys

from catalog.errors import SluiceError


def accounts() -> None:
    """Users of the broker, where an administrator is named."""
    from catalog.settings import lake_settings, read_settings
    from infra.access.accounts import AdminSettings
    from infra.access.broker import make_users

    admin = read_settings(AdminSettings)
    if not (admin.admin_kafka_user and admin.admin_kafka_password):
        print("No administrator of the broker is named: its users and rules are left as they are.")
    else:
        make_users(
            lake_settings(),
            admin.admin_kafka_user,
            admin.admin_kafka_password,
            admin.admin_kafka_mechanism,
            admin.passwords,
        )


def catalog() -> None:
    """Accounts, where an administrator is named; the bucket and the catalog's own tables, which Trino must find at its start."""
    from catalog.lake import prepare
    from catalog.settings import lake_settings, read_settings
    from infra.access import database, object_store
    from infra.access.accounts import AdminSettings

    lake, admin = lake_settings(), read_settings(AdminSettings)
    if admin.admin_s3_access_key:
        object_store.make_users(lake, admin.admin_s3_access_key, admin.admin_s3_secret_key, admin.passwords)
    if admin.admin_catalog_uri:
        database.renew_owner(admin.admin_catalog_uri, admin.passwords)
    prepare(lake)
    if admin.admin_catalog_uri:
        database.make_roles(admin.admin_catalog_uri, admin.passwords)


def access() -> None:
    """Who may ask a Trino in a container, what each may do, and its certificate."""
    from catalog.settings import lake_settings, read_settings
    from infra.access.trino import TrinoAccessSettings, make_access

    make_access(lake_settings(), read_settings(TrinoAccessSettings))


def tables() -> None:
    """Topics and tables of every contract."""
    from catalog.apply import apply
    from catalog.settings import lake_settings
    from infra.access.trino import follow_contracts

    for change in apply(lake_settings()):
        print(change)
    follow_contracts(lake_settings())


if __name__ == "__main__":
    try:
        {"accounts": accounts, "access": access, "catalog": catalog, "tables": tables}[sys.argv[1]]()
    except SluiceError as failure:
        sys.exit(f"error: {failure}")
