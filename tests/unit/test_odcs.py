"""What the contract reader takes, what it makes of it, and what it refuses with which words."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from catalog.contract import Bound, Check, Partition, Rule, Stream
from catalog.errors import SluiceError
from catalog.odcs import load_contract, load_contracts

TEXT = {"logicalType": "string"}
EXAMPLE = Path(__file__).parents[2] / "docs" / "examples"


@pytest.fixture
def load(tmp_path: Path) -> Any:
    """Load a contract of the given properties; `schema` and `top` add to the schema and the document."""

    def _load(*properties: dict[str, Any], schema: dict[str, Any] | None = None, **top: Any) -> Stream:
        document = {
            "apiVersion": "v3.2.0", "kind": "DataContract", "id": "x", "version": "1.2.0", "status": "active",
            "schema": [{"name": "s", "properties": list(properties), **(schema or {})}], **top,
        }  # fmt: skip
        return text(yaml.safe_dump(document))

    def text(document: str, name: str = "things.odcs.yaml") -> Stream:
        path = tmp_path / name
        path.write_text(document, encoding="utf-8")
        return load_contract(path)

    _load.text = text  # type: ignore[attr-defined]
    return _load


def prop(name: str, kind: str = "string", custom: dict[str, Any] | None = None, **facts: Any) -> dict[str, Any]:
    found = {"name": name, "logicalType": kind, **facts}
    if custom:
        found["customProperties"] = [{"property": key, "value": value} for key, value in custom.items()]
    return found


def own(**values: Any) -> dict[str, Any]:
    return {"customProperties": [{"property": key, "value": value} for key, value in values.items()]}


def bounded(check: dict[str, Any]) -> bool:
    return "metric" not in check or any(key.startswith("must") for key in check)


class TestDefaults:
    def test_the_standard_alone_is_enough(self, load: Any) -> None:
        stream = load({"name": "a"}, prop("at", "timestamp", partitioned=True))
        assert (stream.name, stream.title, stream.kind, stream.version, stream.key) == (
            "things",
            "things",
            "event",
            "1.2.0",
            (),
        )
        assert (stream.event_time, stream.partitions) == ("at", (Partition("at", "day"),))
        assert (stream.horizon_days, stream.freshness_seconds, stream.rules) == (7, None, ())
        column = stream.column("a")
        assert (column.logical_type, column.pointer, column.required, column.title) == ("string", ("a",), False, "A")

    def test_the_example_of_the_readme(self) -> None:
        stream = load_contracts(EXAMPLE)["air_quality"]
        assert "customProperties" not in (EXAMPLE / "air_quality.odcs.yaml").read_text()
        assert (stream.kind, stream.event_time, stream.freshness_seconds) == ("event", "measured_at", 10)
        assert stream.partitions == (Partition("measured_at", "day"),)
        assert [(rule.name, rule.severity, rule.not_null) for rule in stream.rules] == [
            ("pm25_is_measured", "warning", True)
        ]

    def test_event_time_is_the_freshness_element_before_the_partition(self, load: Any) -> None:
        times = (prop("a", "timestamp", partitioned=True), prop("b", "timestamp"))
        sla = [{"property": "latency", "value": 2, "unit": "min", "element": "s.x, s.b"}]
        assert load(*times, slaProperties=sla).event_time == "b"
        assert load(*times, schema=own(eventTime="a"), slaProperties=sla).event_time == "a"
        assert load(prop("a")).event_time is None

    def test_other_tools_properties_are_left_alone(self, load: Any) -> None:
        foreign = {"property": "eventTime", "value": "elsewhere", "vendor": "atlan"}
        stream = load(prop("a", custom={"kind": "dimension", "owner": "me"}), schema={"customProperties": [foreign]})
        assert stream.event_time is None


class TestColumns:
    def test_keys_are_required_and_in_their_order(self, load: Any) -> None:
        stream = load(
            prop("a", primaryKey=True, primaryKeyPosition=2), prop("b", "integer", primaryKey=True, primaryKeyPosition=1),
            schema=own(kind="entity"),
        )  # fmt: skip
        assert (stream.kind, stream.key, stream.column("a").required) == ("entity", ("b", "a"), True)

    def test_places_in_the_payload(self, load: Any) -> None:
        stream = load(
            prop("a", custom={"jsonPointer": "/x/0/y~1z~0"}),
            prop("b", custom={"jsonPointer": "/x/1"}),
            prop("c", custom={"jsonPointer": "/v/01"}),
            prop("d", "object", properties=[prop("e"), prop("f", required=True)], logicalTypeOptions={"required": ["e"]}),
            prop("g", "array", items={"logicalType": "integer"}),
        )  # fmt: skip
        assert [c.pointer for c in stream.columns] == [("x", 0, "y/z~"), ("x", 1), ("v", "01"), ("d",), ("g",)]
        assert [(f.name, f.pointer, f.required) for f in stream.column("d").fields] == [
            ("e", ("d", "e"), True), ("f", ("d", "f"), True),
        ]  # fmt: skip
        item = stream.column("g").items
        assert item is not None
        assert (item.logical_type, item.required) == ("integer", False)

    def test_bounds_of_dates_come_out_of_yaml_as_text(self, load: Any) -> None:
        text = """
apiVersion: v3.2.0
kind: DataContract
id: x
version: 1.0.0
status: active
schema:
  - name: s
    properties:
      - {name: d, logicalType: date, logicalTypeOptions: {minimum: 2020-01-01}, examples: [2020-02-01]}
      - {name: t, logicalType: timestamp, logicalTypeOptions: {maximum: 2030-01-01T00:00:00Z}}
"""
        stream = load.text(text)
        assert stream.column("d").limits.minimum == "2020-01-01"
        assert stream.column("d").examples == ("2020-02-01",)
        assert stream.column("t").limits.maximum == "2030-01-01T00:00:00+00:00"

    @pytest.mark.parametrize(
        ("transform", "kind", "given"),
        [("day", "timestamp", None), ("day", "date", None), ("identity", "string", None), ("identity", "boolean", None),
         ("bucket[16]", "string", "bucket[16]"), ("truncate[4]", "string", "truncate[4]"), ("hour", "timestamp", "hour"),
         ("year", "date", "year")],
    )  # fmt: skip
    def test_partitions(self, load: Any, transform: str, kind: str, given: str | None) -> None:
        custom = {"partitionTransform": given} if given else None
        assert load(prop("a", kind, custom, partitioned=True)).partitions == (Partition("a", transform),)

    @pytest.mark.parametrize(
        ("facts", "kind"),
        [({}, "string"), ({"physicalType": "VARCHAR(36)"}, "string"), ({"physicalType": "BIGINT"}, "integer"),
         ({"physicalType": "decimal(10,2)"}, "number"), ({"physicalType": "timestamptz"}, "timestamp"),
         ({"physicalType": "money"}, "string"),
         ({"properties": [{"name": "b"}]}, "object"), ({"items": {"physicalType": "int"}}, "array")],
    )  # fmt: skip
    def test_a_type_that_is_not_stated(self, load: Any, facts: dict[str, Any], kind: str) -> None:
        assert load({"name": "a", **facts}).column("a").logical_type == kind

    def test_decimals(self, load: Any) -> None:
        stream = load(
            prop("a", "number", physicalType="DECIMAL(10, 2)"),
            prop("b", "number", physicalType="numeric(5)"),
            prop("c", "number"),
        )
        assert [c.decimal for c in stream.columns] == [(10, 2), (5, 0), None]


class TestRules:
    def rules(self, load: Any, *quality: dict[str, Any], kind: str = "string") -> tuple[Rule, ...]:
        checks = [check if bounded(check) else {**check, "mustBe": 0} for check in quality]
        found: tuple[Rule, ...] = load(prop("a", kind, quality=checks), prop("b", "integer")).rules
        return found

    def test_values_and_patterns(self, load: Any) -> None:
        one, two = self.rules(
            load,
            {"metric": "invalidValues", "arguments": {"validValues": ["x", "y"], "pattern": "^[xy]$"}},
            {"name": "n", "metric": "nullValues", "severity": "info", "description": "a\n  b"},
        )
        assert (one.name, one.column, one.severity, one.allowed, one.pattern) == (
            "a_invalidValues",
            "a",
            "error",
            ("x", "y"),
            "^[xy]$",
        )
        assert (two.name, two.severity, two.message, two.not_null) == ("n", "warning", "a b", True)

    def test_stand_ins_for_missing_values(self, load: Any) -> None:
        (rule,) = self.rules(
            load, {"metric": "missingValues", "arguments": {"missingValues": [None, "", "N/A", "it's"]}}
        )
        assert rule.expression == "a is not null and a not in ('', 'N/A', 'it\\'s')"

    @pytest.mark.parametrize(
        "check",
        [
            {"metric": "rowCount", "mustBeGreaterThan": 100},
            {"metric": "nullValues", "mustBeLessThan": 5, "unit": "percent"},
            {"metric": "invalidValues", "arguments": {"validValues": ["x"]}, "mustBe": 3},
            {"type": "sql", "query": "select count(*) from t", "mustBe": 0},
            {"type": "custom", "engine": "soda", "implementation": "checks"},
            {"type": "text", "description": "be good"},
        ],
    )
    def test_what_speaks_of_tables_judges_no_row(self, load: Any, check: dict[str, Any]) -> None:
        assert self.rules(load, check) == ()

    def test_expressions(self, load: Any) -> None:
        (rule,) = self.rules(load, {"type": "custom", "engine": "sql", "implementation": "length(a) < B or b is null"})
        assert rule.expression == "length(a) < B or b is null"

    @pytest.mark.parametrize(
        ("check", "message"),
        [
            (
                {"type": "custom", "engine": "sql", "implementation": "c > 1"},
                "speaks of c, and there is no such property",
            ),
            ({"type": "custom", "engine": "sql", "implementation": "a >"}, "is no SQL expression"),
            ({"type": "custom", "engine": "sql", "implementation": "count(*) > 1"}, "more than one row"),
            ({"type": "custom", "engine": "sql", "implementation": "b in (select 1)"}, "more than one row"),
            (
                {"type": "custom", "engine": "sql", "implementation": {"a": 1}},
                "implementation must be an SQL expression",
            ),
            ({"metric": "invalidValues"}, "needs arguments.validValues or arguments.pattern"),
            ({"metric": "invalidValues", "arguments": {"validValues": [True]}}, "True is no string; quote it"),
            ({"metric": "invalidValues", "arguments": {"validValues": "x"}}, "expected a list"),
            ({"metric": "invalidValues", "arguments": {"pattern": "(x"}}, "no regular expression"),
            ({"metric": "nullValues", "severity": "fatal"}, "severity is 'fatal'"),
        ],
    )
    def test_what_cannot_be_judged_is_refused(self, load: Any, check: dict[str, Any], message: str) -> None:
        with pytest.raises(SluiceError, match=message):
            self.rules(load, {"name": "r", **check})

    def test_a_rule_has_a_name_of_its_own(self, load: Any) -> None:
        check = {"name": "r", "metric": "nullValues"}
        with pytest.raises(SluiceError, match="quality r is there twice"):
            self.rules(load, check, check)

    def test_a_rule_of_a_property_at_the_schema(self, load: Any) -> None:
        with pytest.raises(SluiceError, match="nullValues is a rule of one property"):
            load(prop("a"), schema={"quality": [{"metric": "nullValues", "mustBe": 0}]})


class TestChecks:
    def checks(self, load: Any, *quality: dict[str, Any], schema: Any = ()) -> tuple[Check, ...]:
        found: tuple[Check, ...] = load(
            prop("a", quality=list(quality)), prop("b", "integer"), schema={"quality": list(schema)}
        ).checks
        return found

    def test_metrics_of_a_property(self, load: Any) -> None:
        nulls, invalid, twice = self.checks(
            load,
            {"name": "n", "metric": "nullValues", "mustBeLessOrEqualTo": 2.5, "unit": "percent", "severity": "info"},
            {"metric": "invalidValues", "arguments": {"validValues": ["x"]}, "mustBe": 3, "description": "three\nmay"},
            {"name": "d", "metric": "duplicateValues", "mustBe": 0},
        )
        assert (nulls.metric, nulls.columns, nulls.percent, nulls.severity) == ("nullValues", ("a",), True, "warning")
        assert nulls.bound == Bound("mustBeLessOrEqualTo", 2.5)
        assert nulls.rule is not None
        assert nulls.rule.not_null
        assert (invalid.name, invalid.message, invalid.percent) == ("a_invalidValues", "three may", False)
        assert invalid.rule is not None
        assert invalid.rule.allowed == ("x",)
        assert (twice.columns, twice.rule, twice.severity) == (("a",), None, "error")

    def test_metrics_of_the_schema(self, load: Any) -> None:
        rows, twice = self.checks(
            load,
            schema=[
                {"metric": "rowCount", "mustBeBetween": [1, 100]},
                {"metric": "duplicateValues", "arguments": {"properties": ["a", "b"]}, "mustBeLessThan": 9},
            ],
        )
        assert (rows.name, rows.metric, rows.bound) == ("rowCount", "rowCount", Bound("mustBeBetween", (1, 100)))
        assert (twice.columns, twice.bound) == (("a", "b"), Bound("mustBeLessThan", 9))

    def test_queries(self, load: Any) -> None:
        one, two = self.checks(
            load,
            {
                "name": "q",
                "type": "sql",
                "query": "-- why\n/* x */ SELECT max(${column}) FROM {table} ;",
                "mustBe": "z",
            },
            schema=[{"name": "w", "type": "sql", "query": "with t as (select 1) select * from t", "mustNotBe": 2}],
        )
        assert one.name == "w", "those of the schema come first"
        assert (two.query, two.bound, two.columns) == (
            "-- why\n/* x */ SELECT max(${column}) FROM {table}",
            Bound("mustBe", "z"),
            ("a",),
        )

    @pytest.mark.parametrize(
        "check",
        [
            {"type": "text", "description": "be good", "severity": "urgent"},
            {"type": "custom", "engine": "soda", "implementation": "checks"},
            {"metric": "nullValues", "mustBe": 0},
        ],
    )
    def test_what_is_none_is_left_alone(self, load: Any, check: dict[str, Any]) -> None:
        assert self.checks(load, check) == ()

    @pytest.mark.parametrize(
        ("check", "message"),
        [
            ({"type": "sql", "query": "delete from t", "mustBe": 0}, "starts with SELECT or WITH"),
            ({"type": "sql", "query": "selection", "mustBe": 0}, "starts with SELECT or WITH"),
            ({"type": "sql", "query": "", "mustBe": 0}, "starts with SELECT or WITH"),
            ({"type": "sql", "query": "select ${row}", "mustBe": 0}, r"\$\{row\} stands for nothing"),
            ({"type": "sql", "query": "select 1"}, "needs exactly one of mustBe"),
            ({"type": "sql", "query": "select 1", "mustBe": 1, "mustNotBe": 2}, "needs exactly one of mustBe"),
            ({"type": "sql", "query": "select 1", "mustBe": None}, "its bound is null"),
            ({"type": "sql", "query": "select 1", "mustBe": [1, 2]}, "mustBe is a list"),
            ({"metric": "rowCount", "mustBe": 1, "unit": "percent"}, "no unit percent"),
            ({"metric": "rowCount", "mustBe": "many"}, "'many'; expected a number"),
            ({"metric": "rowCount", "mustBe": True}, "True; expected a number"),
            ({"metric": "rowCount", "mustBeBetween": [5, 1]}, "smaller number comes first"),
            ({"metric": "invalidValues", "mustBe": 3}, "needs arguments.validValues or arguments.pattern"),
            ({"metric": "rowCount", "mustBe": 1, "severity": "fatal"}, "severity is 'fatal'"),
        ],
    )
    def test_what_cannot_be_judged_is_refused(self, load: Any, check: dict[str, Any], message: str) -> None:
        with pytest.raises(SluiceError, match=message):
            self.checks(load, {"name": "r", **check})

    @pytest.mark.parametrize(
        ("check", "message"),
        [
            ({"metric": "duplicateValues", "mustBe": 0}, "needs arguments.properties"),
            ({"metric": "duplicateValues", "mustBe": 0, "arguments": {"properties": ["c"]}}, "names 'c'"),
            ({"metric": "nullValues", "mustBeLessThan": 9}, "is a rule of one property"),
            ({"type": "sql", "query": "select {column}", "mustBe": 0}, "stands for a property"),
        ],
    )
    def test_what_a_schema_lacks(self, load: Any, check: dict[str, Any], message: str) -> None:
        with pytest.raises(SluiceError, match=message):
            self.checks(load, schema=[{"name": "r", **check}])

    def test_rules_and_checks_share_their_names(self, load: Any) -> None:
        rule, check = (
            {"name": "r", "metric": "nullValues", "mustBe": 0},
            {"name": "r", "metric": "rowCount", "mustBe": 1},
        )
        with pytest.raises(SluiceError, match="quality r is there twice"):
            self.checks(load, rule, schema=[check])


@pytest.mark.parametrize(
    ("value", "unit", "seconds"),
    [(5, "s", 5), ("2", "min", 120), (1.5, "h", 5400), (1, "days", 86400), (500, "ms", 0.5), (1, None, 1)],
)
def test_freshness(load: Any, value: Any, unit: str | None, seconds: float) -> None:
    sla = {"property": "Latency", "value": value, "element": "s.a"} | ({"unit": unit} if unit else {})
    assert (
        load(
            prop("a"), slaProperties=[{"property": "retention", "value": 1, "unit": "fortnights"}, sla]
        ).freshness_seconds
        == seconds
    )


@pytest.mark.parametrize(
    "sla", [{"value": "soon"}, {"value": 5, "unit": "fortnights"}, {"value": -1}, {"value": "nan"}, {"value": None}]
)
def test_a_freshness_that_means_nothing(load: Any, sla: dict[str, Any]) -> None:
    with pytest.raises(SluiceError, match="slaProperties latency is"):
        load(prop("a"), slaProperties=[{"property": "latency", **sla}])


@pytest.mark.parametrize(
    ("properties", "more", "message"),
    [
        ([], {}, "no properties"),
        ([prop("a"), prop("a", custom={"jsonPointer": "/b"})], {}, "property a is there twice"),
        ([prop("A")], {}, "property name 'A': a column is a lower-case letter"),
        ([prop("payload")], {}, "property payload: quarantine keeps the event's bytes under this name"),
        ([prop("a", "date", logicalTypeOptions={"format": "yyyy-QQ"})], {}, "property a: format 'yyyy-QQ' has QQ"),
        ([prop("a", "date", logicalTypeOptions={"format": "dd.MM.yyyy", "minimum": "2026-01-01"})], {}, "no date in dd.MM.yyyy"),
        ([prop("_a")], {}, "property name '_a'"),
        ([prop("a", "map", map={"key": TEXT, "value": TEXT})], {}, "logicalType map is not supported"),
        ([prop("a", quality=[{"metric": "nullValues"}])], {}, "/quality/0: a rule with a metric needs exactly one of mustBe"),
        ([prop("a", "object", properties=[prop("b"), prop("b")])], {}, "property a: property b is there twice"),
        ([prop("a", "object", properties=[prop("b", custom={"jsonPointer": "/x"})])], {}, "jsonPointer has no meaning"),
        ([prop("a", "object", properties=[prop("b", partitioned=True)])], {}, "partitioned has no meaning"),
        ([prop("a", "object", primaryKey=True)], {}, "a key is a plain value"),
        ([prop("a")], {"schema": own(kind="entity")}, "needs a property with primaryKey"),
        ([prop("a")], {"schema": own(kind="Entity")}, "kind is 'Entity'; it may be event or entity"),
        ([prop("a")], {"schema": own(event_time="a")}, "event_time; did you mean eventTime"),
        ([prop("a", custom={"json-pointer": "/x"})], {}, "property a: customProperties has json-pointer; did you mean jsonPointer"),
        ([prop("a", "timestamp", {"eventTime": "a"})], {}, "in the wrong place: it belongs to the schema"),
        ([prop("a")], {"schema": own(jsonPointer="/a")}, "in the wrong place: it belongs to a property"),
        ([prop("a")], {"schema": own(eventTime="a")}, "eventTime is 'a', which is no timestamp or date"),
        ([prop("a")], {"schema": own(anonymousSubmission="yes")}, "anonymousSubmission is 'yes'; expected true or false"),
        ([prop("a")], {"schema": own(horizonDays=0)}, "horizonDays is 0; expected a whole number from 1 to 3650"),
        ([prop("a")], {"schema": own(horizonDays="a week")}, "horizonDays is 'a week'"),
        ([prop("a", custom={"jsonPointer": "x"})], {}, "expected /like/this"),
        ([prop("a", custom={"jsonPointer": "/x~2"})], {}, "expected /like/this"),
        ([prop("a", custom={"jsonPointer": "/0"})], {}, "begins with an index"),
        ([prop("a", custom={"jsonPointer": "/²"}), prop("b", custom={"jsonPointer": "/²"})], {}, "both read /²"),
        ([prop("a", "object", {"jsonPointer": "/x"}), prop("b", custom={"jsonPointer": "/x/y"})], {}, "a and b both read /x"),
        ([prop("a", custom={"jsonPointer": "/x/0"}), prop("b", custom={"jsonPointer": "/x/y"})], {}, "for a list and"),
        ([prop("a", "integer", {"encoding": "epoch-millis"})], {}, "encoding is for timestamps"),
        ([prop("a", "timestamp", {"encoding": "epoch"})], {}, "may be epoch-millis or epoch-seconds"),
        ([prop("a", partitioned=True, custom={"partitionTransform": "day"})], {}, "a string can't be partitioned by day"),
        ([prop("a", "date", partitioned=True, custom={"partitionTransform": "hour"})], {}, "a date can't be partitioned by hour"),
        ([prop("a", "date", partitioned=True, custom={"partitionTransform": "truncate[2]"})], {}, "a date can't be"),
        ([prop("a", "number", partitioned=True)], {}, "a number can't be partitioned by identity"),
        ([prop("a", partitioned=True, custom={"partitionTransform": "bucket"})], {}, "partitionTransform 'bucket'; use year"),
        ([prop("a", logicalTypeOptions={"pattern": "["})], {}, "pattern '\\[' is no regular expression"),
        ([prop("a", logicalTypeOptions={"minLength": 3, "maxLength": 2})], {}, "minLength 3 is more than maxLength 2"),
        ([prop("a", "date", logicalTypeOptions={"minimum": "soon"})], {}, "minimum is 'soon', which is no date"),
        ([prop("a", enum=[{"value": "yes"}, {"value": False}])], {}, "enum has False, which is no string; quote it"),
        ([prop("a", "integer", enum=[{"value": "1"}])], {}, "enum has '1', which is no integer"),
        ([prop("a")], {"apiVersion": "v2.2.2"}, "apiVersion is v2.2.2; Sluice reads v3"),
        ([prop("a")], {"apiVersion": "v3.9.0"}, "against the standard at /apiVersion"),
        ([prop("a", requird=True)], {}, "against the standard at /schema/0/properties/0"),
        ([prop("a", logicalTypeOptions={"minimum": 3})], {}, "against the standard at /schema/0/properties/0"),
        ([prop("a", "number", logicalTypeOptions={"minimum": float("nan")})], {}, "holds what JSON can't"),
    ],
)  # fmt: skip
def test_what_a_contract_cannot_mean_is_refused(load: Any, properties: Any, more: dict[str, Any], message: str) -> None:
    with pytest.raises(SluiceError, match=message) as told:
        load(*properties, **more)
    assert str(told.value).startswith("things.odcs.yaml: ")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not an ODCS document"),
        ("- a", "not an ODCS document"),
        ("a: [", "not a YAML document"),
        ("a: 1\nb: 2\na: 3", r"a is there twice in one mapping \(line 3\)"),
        ("2020-01-01: x", "holds what JSON can't"),
        ("a: &x [*x]", "against the standard|holds what JSON can't|not a YAML"),
        ("a: !!python/object:os.system x", "not a YAML document"),
        ("kind: DataContract", "against the standard at /: .*required"),
    ],
)
def test_what_is_no_contract_at_all(load: Any, text: str, message: str) -> None:
    with pytest.raises(SluiceError, match=message) as told:
        load.text(text)
    assert "\n" not in str(told.value)


def test_a_files_name_is_the_streams_name(load: Any) -> None:
    with pytest.raises(SluiceError, match="a stream's name"):
        load.text("{}", "Big-Orders.odcs.yaml")


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.odcs.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SluiceError, match=r"a\.odcs\.yaml: not a YAML document"):
        load_contracts(tmp_path)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SluiceError, match="SLUICE_CONTRACTS must name the folder"):
        load_contracts(tmp_path / "nowhere")


def test_a_name_that_would_be_overlooked(tmp_path: Path) -> None:
    (tmp_path / "a.odcs.yml").write_text("")
    with pytest.raises(SluiceError, match=r"rename it to a\.odcs\.yaml"):
        load_contracts(tmp_path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SluiceError, match="No such file"):
        load_contract(tmp_path / "a.odcs.yaml")
