"""Read an ODCS v3 document into a `Stream`. Whatever the document cannot mean is refused here, with the reason."""

import json
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import yaml
from open_data_contract_standard.model import (
    CustomProperty,
    DataQuality,
    OpenDataContractStandard,
    SchemaObject,
    SchemaProperty,
)
from pydantic import ValidationError

from catalog.contract import LOGICAL_TYPES, SUFFIX, Column, Limits, Partition, Rule, Stream
from catalog.errors import SluiceError
from catalog.names import STREAM_NAME

STREAM_CUSTOM = {"kind", "eventTime", "horizonDays"}
COLUMN_CUSTOM = {"jsonPointer", "encoding", "partitionTransform"}
TRANSFORM = re.compile(r"(year|month|day|hour|identity|void|bucket\[[1-9]\d{0,4}\]|truncate\[[1-9]\d{0,4}\])\Z")
COLUMN_NAME = re.compile(r"[a-z][a-z0-9_]{0,127}\Z")
PERIODS = {"s": 1, "sec": 1, "second": 1, "seconds": 1, "m": 60, "min": 60, "minute": 60, "minutes": 60, "h": 3600,
           "hr": 3600, "hour": 3600, "hours": 3600, "d": 86400, "day": 86400, "days": 86400}  # fmt: skip


def load_contracts(directory: Path) -> dict[str, Stream]:
    """All contracts of a folder by stream name. Raises SluiceError that names the file and what is wrong with it."""
    if not directory.is_dir():
        raise SluiceError(f"{directory} is not a folder: SLUICE_CONTRACTS must name the folder of the *{SUFFIX} files")
    streams = [load_contract(path) for path in sorted(directory.glob(f"*{SUFFIX}"))]
    return {stream.name: stream for stream in streams}


def load_contract(path: Path) -> Stream:
    """One contract; the stream's name is the file's name without `.odcs.yaml`. Raises SluiceError."""
    try:
        return _Reader(path).stream()
    except _Refused as refused:
        raise SluiceError(f"{path.name}: {refused}") from None
    except OSError as failure:
        raise SluiceError(f"{path}: {failure.strerror}") from None


class _Refused(Exception):
    pass


@cache
def _standard() -> jsonschema_rs.Draft201909Validator:
    return jsonschema_rs.Draft201909Validator(json.loads(OpenDataContractStandard.json_schema()))


def _document(path: Path) -> OpenDataContractStandard:
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as failure:
        raise _Refused(f"not a YAML document: {failure}") from None
    if not isinstance(raw, dict):
        raise _Refused("not an ODCS document: the file must hold one mapping that starts with apiVersion, kind, id")
    # YAML reads 2020-01-01 as a date; the standard's schema speaks JSON.
    document = json.loads(json.dumps(raw, default=str))
    error = next(iter(_standard().iter_errors(document)), None)
    if error is not None:
        raise _Refused(f"against the standard at /{'/'.join(map(str, error.instance_path))}: {error.message}")
    if not str(document["apiVersion"]).startswith("v3."):
        raise _Refused(f"apiVersion is {document['apiVersion']}; Sluice reads v3")
    try:
        return OpenDataContractStandard(**document)
    except ValidationError as failure:
        first = failure.errors()[0]
        raise _Refused(f"at {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


class _Reader:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name.removesuffix(SUFFIX)
        if not STREAM_NAME.match(self.name):
            raise _Refused("a stream's name (the file's) is a lower-case letter, then lower-case letters, digits and _")
        self.document = _document(path)
        schemas = self.document.schema_ or []
        if len(schemas) != 1:
            raise _Refused(f"a stream has one schema; this contract has {len(schemas)}")
        self.schema: SchemaObject = schemas[0]

    def stream(self) -> Stream:
        custom = _custom(
            [*(self.document.customProperties or []), *(self.schema.customProperties or [])], STREAM_CUSTOM
        )
        properties = self.schema.properties or []
        if not properties:
            raise _Refused("schema has no properties, so the stream would have no columns")
        columns = tuple(_column(prop, ()) for prop in properties)
        names = [column.name for column in columns]
        for name in names:
            if names.count(name) > 1:
                raise _Refused(f"property {name} is there twice")
        key = tuple(
            prop.name or ""
            for prop in sorted((p for p in properties if p.primaryKey), key=lambda p: p.primaryKeyPosition or 0)
        )
        kind = custom.get("kind", "event")
        if kind not in ("event", "entity"):
            raise _Refused(f"kind is {kind!r}; it may be event or entity")
        if kind == "entity" and not key:
            raise _Refused("kind is entity, which needs a property with primaryKey: true")
        stream = Stream(
            name=self.name,
            version=self.document.version or "1.0.0",
            title=self.schema.businessName or self.document.name or self.name,
            description=_clean(
                self.schema.description or (self.document.description and self.document.description.purpose)
            ),
            kind=kind,
            columns=tuple(_as_key(column) if column.name in key else column for column in columns),
            key=key,
            event_time=self._event_time(custom.get("eventTime"), columns),
            partitions=_partitions(properties, columns),
            rules=tuple(_rules(self.schema.quality, None))
            + tuple(r for p in properties for r in _rules(p.quality, p.name)),
            horizon_days=_whole(custom.get("horizonDays", 7), "horizonDays", 1, 3650),
            freshness_seconds=self._freshness(),
            tags=tuple(self.document.tags or ()),
            limitations=_clean(self.document.description and self.document.description.limitations),
            source=self.path,
        )
        for name in key:
            if stream.column(name).logical_type in ("object", "array"):
                raise _Refused(f"primaryKey {name} is an {stream.column(name).logical_type}; a key is a plain value")
        return stream

    def _event_time(self, custom: str | None, columns: Sequence[Column]) -> str | None:
        """`eventTime`, else the column that the freshness agreement speaks of, else the first partitioned time."""
        timed = {c.name for c in columns if c.logical_type in ("timestamp", "date")}
        if custom is not None:
            if custom not in timed:
                raise _Refused(f"eventTime is {custom!r}, which is no timestamp or date property of this contract")
            return custom
        element = (self.document.slaDefaultElement or "").split(".")[-1]
        if element in timed:
            return element
        for sla in self.document.slaProperties or []:
            element = (sla.element or "").split(".")[-1]
            if sla.property in ("latency", "freshness", "ly") and element in timed:
                return element
        partitioned = [p.name for p in self.schema.properties or [] if p.partitioned and p.name in timed]
        return partitioned[0] if partitioned else None

    def _freshness(self) -> float | None:
        for sla in self.document.slaProperties or []:
            if sla.property in ("latency", "freshness", "ly"):
                unit = PERIODS.get(str(sla.unit or "s").lower())
                try:
                    value = float(str(sla.value))
                except ValueError:
                    unit = None
                    value = 0.0
                if unit is None:
                    raise _Refused(
                        f"slaProperties {sla.property} is {sla.value!r} {sla.unit!r}; expected a number and s, min, h or d"
                    )
                return value * unit
        return None


def _custom(properties: Iterable[CustomProperty] | None, known: set[str]) -> dict[str, Any]:
    # Other tools keep their own properties in a contract; only ours must be spelt right.
    found = {p.property or "": p.value for p in properties or ()}
    for name in found:
        close = next((k for k in known if k != name and k.lower() == name.replace("_", "").lower()), None)
        if close:
            raise _Refused(f"customProperties has {name}; did you mean {close}?")
    return {name: value for name, value in found.items() if name in known}


def _column(prop: SchemaProperty, above: tuple[str | int, ...]) -> Column:
    name = prop.name or ""
    if not COLUMN_NAME.match(name):
        raise _Refused(
            f"property name {name!r}: a column is a lower-case letter, then lower-case letters, digits and _"
        )
    logical = prop.logicalType or "string"
    if logical not in LOGICAL_TYPES:
        raise _Refused(
            f"property {name}: logicalType {logical} is not supported; use one of {', '.join(LOGICAL_TYPES)}"
        )
    custom = _custom(prop.customProperties, COLUMN_CUSTOM)
    options = prop.logicalTypeOptions or {}
    pointer = _pointer(str(custom["jsonPointer"]), name) if "jsonPointer" in custom else (*above, name)
    encoding = custom.get("encoding")
    if encoding is not None and (logical != "timestamp" or encoding not in ("epoch-millis", "epoch-seconds")):
        raise _Refused(f"property {name}: encoding is for timestamps and may be epoch-millis or epoch-seconds")
    limits = Limits(
        minimum=options.get("minimum"), maximum=options.get("maximum"),
        exclusive_minimum=options.get("exclusiveMinimum"), exclusive_maximum=options.get("exclusiveMaximum"),
        multiple_of=options.get("multipleOf"), min_length=options.get("minLength"), max_length=options.get("maxLength"),
        pattern=options.get("pattern"), min_items=options.get("minItems"), max_items=options.get("maxItems"),
        unique_items=bool(options.get("uniqueItems", False)),
    )  # fmt: skip
    if limits.pattern is not None:
        _regular(limits.pattern, name)
    required_below = set(options.get("required", ()))
    fields = tuple(_column(child, (*pointer,)) for child in prop.properties or ())
    return Column(
        name=name,
        logical_type=logical,
        physical_type=prop.physicalType,
        title=prop.businessName or name.replace("_", " ").capitalize(),
        description=_clean(prop.description),
        required=bool(prop.required),
        unique=bool(prop.unique),
        pointer=pointer,
        encoding=encoding,
        format=options.get("format"),
        allowed=tuple(value.value for value in prop.enum or ()),
        limits=limits,
        classification=prop.classification,
        examples=tuple(prop.examples or ()),
        fields=tuple(_required(f) if f.name in required_below else f for f in fields),
        items=_column(prop.items.model_copy(update={"name": prop.items.name or "item"}), (*pointer, "*"))
        if prop.items
        else None,
    )


def _required(column: Column) -> Column:
    return Column(**{**column.__dict__, "required": True})


_as_key = _required  # a primary key is never null


def _pointer(text: str, name: str) -> tuple[str | int, ...]:
    """An RFC 6901 JSON pointer. A segment of digits is an array index."""
    if not text.startswith("/") or text == "/":
        raise _Refused(f"property {name}: jsonPointer is {text!r}; expected /like/this or /list/0")
    segments = (s.replace("~1", "/").replace("~0", "~") for s in text[1:].split("/"))
    return tuple(int(s) if s.isdigit() else s for s in segments)


def _partitions(properties: Sequence[SchemaProperty], columns: Sequence[Column]) -> tuple[Partition, ...]:
    types = {c.name: c.logical_type for c in columns}
    chosen = sorted((p for p in properties if p.partitioned), key=lambda p: p.partitionKeyPosition or 0)
    return tuple(Partition(p.name or "", _transform(p, types[p.name or ""])) for p in chosen)


def _transform(prop: SchemaProperty, logical: str) -> str:
    default = "day" if logical in ("date", "timestamp") else "identity"
    transform = str(_custom(prop.customProperties, COLUMN_CUSTOM).get("partitionTransform", default))
    if not TRANSFORM.match(transform):
        raise _Refused(
            f"property {prop.name}: partitionTransform {transform!r}; use year, month, day, hour, identity, bucket[N] or truncate[N]"
        )
    if (
        transform in ("year", "month", "day", "hour")
        and logical not in ("date", "timestamp")
        or (transform == "hour" and logical == "date")
    ):
        raise _Refused(f"property {prop.name}: a {logical} can't be partitioned by {transform}")
    if logical in ("object", "array", "time", "number") and transform != "void":
        raise _Refused(f"property {prop.name}: a table can't be partitioned by a {logical}")
    return transform


def _rules(quality: Sequence[DataQuality] | None, column: str | None) -> Iterable[Rule]:
    for check in quality or ():
        metric = check.metric or check.rule
        name = check.name or metric or (f"{column}_rule" if column else "rule")
        severity = check.severity or "error"
        if severity not in ("error", "warning", "info"):
            raise _Refused(f"quality {name}: severity is {severity!r}; it may be error, warning or info")
        facts: dict[str, Any] = {
            "name": name, "column": column, "severity": "error" if severity == "error" else "warning",
            "message": _clean(check.description) or f"breaks the rule {name}",
        }  # fmt: skip
        arguments = check.arguments or {}
        if metric == "invalidValues" and column and check.mustBe in (0, None):
            if not arguments.get("validValues") and not arguments.get("pattern"):
                raise _Refused(f"quality {name}: invalidValues needs arguments.validValues or arguments.pattern")
            if arguments.get("pattern"):
                _regular(arguments["pattern"], column)
            yield Rule(**facts, allowed=tuple(arguments.get("validValues") or ()), pattern=arguments.get("pattern"))
        elif metric in ("nullValues", "missingValues") and column and check.mustBe in (0, None):
            yield Rule(**facts, not_null=True)
        elif check.type == "custom" and check.engine in ("sql", "sluice"):
            yield Rule(**facts, expression=str(check.implementation))
        # Other rules (row counts, percentages, other engines) speak of tables, not of rows: other tools judge them.


def _regular(pattern: str, name: str) -> None:
    try:
        re.compile(pattern)
    except re.error as failure:
        raise _Refused(f"property {name}: pattern {pattern!r} is no regular expression: {failure}") from None


def _whole(value: Any, name: str, low: int, high: int) -> int:
    try:
        number = int(str(value))
    except ValueError:
        number = low - 1
    if not low <= number <= high:
        raise _Refused(f"{name} is {value!r}; expected a whole number from {low} to {high}")
    return number


def _clean(text: str | None) -> str:
    return " ".join((text or "").split())
