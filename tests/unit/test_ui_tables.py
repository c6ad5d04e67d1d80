"""What the explorer makes of tables: kinds, descriptions, masks."""

from typing import Any

import pytest

from catalog.contract import Column, Stream
from ui.tables import Kind, TableColumn, described, gold_models

PEOPLE = Stream(
    name="people", version="1.0.0", title="People", description="One person.", kind="event",
    columns=(
        Column("id", "string", description="The number."),
        Column("email", "string", classification="restricted"),
        Column("city", "string", classification="confidential"),
        Column("country", "string", classification="internal"),
    ),
)  # fmt: skip
THINGS = Stream(
    name="things", version="1.0.0", title="", description="", kind="event", columns=(Column("id", "string"),)
)


def rows(schema: str, table: str, *columns: str) -> list[dict[str, Any]]:
    return [
        {
            "table_schema": schema,
            "table_name": table,
            "column_name": name,
            "data_type": "varchar",
            "comment": f"about {name}",
        }
        for name in columns
    ]


@pytest.mark.parametrize(
    ("type_", "kind"),
    [
        ("bigint", Kind.NUMBER), ("decimal(10,2)", Kind.NUMBER), ("double", Kind.NUMBER), ("date", Kind.DATE),
        ("timestamp(6) with time zone", Kind.TIME), ("varchar", Kind.TEXT), ("varchar(10)", Kind.TEXT), ("boolean", Kind.BOOLEAN),
        ("varbinary", Kind.BINARY), ("map(varchar, varchar)", Kind.NESTED), ("array(row(a integer))", Kind.NESTED),
        ("time(6)", Kind.NESTED),
    ],
)  # fmt: skip
def test_a_column_is_filtered_by_its_type(type_: str, kind: Kind) -> None:
    assert TableColumn("x", type_).kind is kind


def test_restricted_and_confidential_columns_are_masked_in_every_layer() -> None:
    found = rows("silver", "people", "id", "email", "city", "country") + rows(
        "quarantine", "people", "id", "email", "payload"
    )
    tables = described(found, {"people": PEOPLE})
    assert [column.name for column in tables["silver.people"].masked] == ["email", "city"]
    assert [column.name for column in tables["quarantine.people"].masked] == ["email", "payload"]


def test_the_payload_of_a_stream_with_personal_data_is_masked_as_a_whole() -> None:
    found = rows("bronze", "people", "payload", "event_id") + rows("bronze", "things", "payload")
    tables = described(found, {"people": PEOPLE, "things": THINGS})
    assert [column.name for column in tables["bronze.people"].masked] == ["payload"]
    assert tables["bronze.things"].masked == ()


def test_masked_columns_can_be_neither_filtered_nor_sorted() -> None:
    table = described(rows("silver", "people", "id", "email"), {"people": PEOPLE})["silver.people"]
    assert [column.name for column in table.of_kind(Kind.TEXT)] == ["id"]
    assert [column.name for column in table.revealed().of_kind(Kind.TEXT)] == ["id", "email"]


def test_descriptions_come_from_the_contract_else_from_the_table() -> None:
    table = described(rows("silver", "people", "id", "_event_id"), {"people": PEOPLE})["silver.people"]
    assert table.column("id").description == "The number."
    assert table.column("_event_id").description == "about _event_id"


def test_gold_comes_first_and_is_described_by_its_model() -> None:
    found = rows("bronze", "people", "payload") + rows("gold", "strikes_by_species", "species", "strikes")
    tables = described(found, {})
    assert list(tables) == ["gold.strikes_by_species", "bronze.people"]
    assert tables["gold.strikes_by_species"].column("species").description
    assert "strikes_by_species" in gold_models()


def test_tables_of_a_running_refresh_are_not_shown() -> None:
    assert described(rows("gold", "revenue_by_product_minute__dbt_tmp", "x"), {}) == {}
