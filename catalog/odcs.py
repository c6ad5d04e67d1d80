"""Read an ODCS v3 document into a `Stream`. Whatever the document cannot mean is refused here, with the reason."""

import json
import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import yaml
from open_data_contract_standard.model import OpenDataContractStandard, SchemaObject, ServiceLevelAgreementProperty
from pydantic import ValidationError

from catalog import odcs_checks, odcs_columns, odcs_rules
from catalog.contract import SUFFIX, Check, Column, Rule, Stream
from catalog.errors import SluiceError
from catalog.names import STREAM_NAME
from catalog.odcs_words import STREAM_CUSTOM, ContractError, clean, custom

LATENCY = ("latency", "ly", "freshness")
SECONDS = {
    1: ("s", "sec", "second", "seconds"), 60: ("m", "min", "minute", "minutes"), 3600: ("h", "hr", "hour", "hours"),
    86_400: ("d", "day", "days"), 604_800: ("w", "wk", "week", "weeks"), 31_557_600: ("y", "yr", "year", "years"),
    0.001: ("ms", "millisecond", "milliseconds"),
}  # fmt: skip
PERIODS = {word: seconds for seconds, words in SECONDS.items() for word in words}


def load_contracts(directory: Path) -> dict[str, Stream]:
    """All contracts of a folder by stream name. Raises SluiceError that names the file and what is wrong with it."""
    paths = _contract_files(directory)
    for path in sorted([*directory.glob("*.odcs.yml"), *directory.glob("*.odcs.json")]):
        raise SluiceError(
            f"{path} would not be read: rename it to {path.name.split('.')[0]}{SUFFIX}, or keep it elsewhere"
        )
    streams = [load_contract(path) for path in paths]
    return {stream.name: stream for stream in streams}


def load_chosen(directory: Path, chosen: Sequence[str] | None) -> list[Stream]:
    """The contracts of the named streams, or all. Raises SluiceError for a name that no contract has."""
    streams = load_contracts(directory)
    unknown = sorted(set(chosen or ()) - set(streams))
    if unknown:
        raise SluiceError(f"There is no stream {unknown[0]}; the streams are {', '.join(streams)}")
    return [streams[name] for name in chosen or streams]


def load_each(directory: Path) -> tuple[dict[str, Stream], dict[str, str]]:
    """The contracts of a folder that can be read, by stream name, and of the others what is wrong. For who must go on with the
    rest. Raises SluiceError where there is no such folder."""
    streams: dict[str, Stream] = {}
    broken: dict[str, str] = {}
    for path in _contract_files(directory):
        name = path.name.removesuffix(SUFFIX)
        try:
            streams[name] = load_contract(path)
        except SluiceError as failure:
            broken[name] = str(failure)
    return streams, broken


def _contract_files(directory: Path) -> list[Path]:
    if not directory.is_dir():
        raise SluiceError(f"{directory} is not a folder: SLUICE_CONTRACTS must name the folder of the *{SUFFIX} files")
    return sorted(directory.glob(f"*{SUFFIX}"))


def load_contract(path: Path) -> Stream:
    """One contract; the stream's name is the file's name without `.odcs.yaml`. Raises SluiceError."""
    try:
        return _Reader(path).stream()
    except ContractError as failure:
        raise SluiceError(f"{path.name}: {failure}") from None
    except OSError as failure:
        raise SluiceError(f"{path}: {failure.strerror}") from None


@cache
def _standard() -> jsonschema_rs.Draft201909Validator:
    return jsonschema_rs.Draft201909Validator(json.loads(OpenDataContractStandard.json_schema()))


class _Yaml(yaml.SafeLoader):
    """Refuses a key that is there twice, of which YAML libraries silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        for n, key in enumerate(keys):
            if key in keys[:n]:
                raise ContractError(
                    f"{key} is there twice in one mapping (line {node.value[n][0].start_mark.line + 1})"
                )
        return super().construct_mapping(node, deep)


def _document(path: Path) -> OpenDataContractStandard:
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), _Yaml)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as failure:
        raise ContractError(f"not a YAML document: {clean(str(failure))}") from None
    if not isinstance(raw, dict):
        raise ContractError(
            "not an ODCS document: the file must hold one mapping that starts with apiVersion, kind, id"
        )
    try:
        # YAML reads 2020-01-01 as a date; the standard's schema speaks JSON.
        document = json.loads(json.dumps(raw, default=_as_text, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as failure:
        raise ContractError(f"holds what JSON can't: {failure}") from None
    if not str(document.get("apiVersion", "v3.")).startswith("v3."):
        raise ContractError(f"apiVersion is {document['apiVersion']}; Sluice reads v3")
    for schema in document["schema"] if isinstance(document.get("schema"), list) else ():
        odcs_columns.state_types(schema.get("properties") if isinstance(schema, dict) else None)
    error = next(iter(_standard().iter_errors(document)), None)
    if error is not None:
        place = [str(step) for step in error.instance_path]
        reason = error.message[:300]
        if "oneOf" in reason and "quality" in place:
            reason = "a rule with a metric needs exactly one of mustBe, mustNotBe, mustBeLessThan and the other bounds"
        raise ContractError(f"against the standard at /{'/'.join(place)}: {reason}")
    try:
        return OpenDataContractStandard(**document)
    except ValidationError as failure:
        first = failure.errors()[0]
        raise ContractError(f"at {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _as_text(value: Any) -> str:
    return str(value.isoformat()) if hasattr(value, "isoformat") else str(value)


class _Reader:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name.removesuffix(SUFFIX)
        if not STREAM_NAME.match(self.name):
            raise ContractError(
                "a stream's name (the file's) is a lower-case letter, then lower-case letters, digits and _"
            )
        self.document = _document(path)
        schemas = self.document.schema_ or []
        if len(schemas) != 1:
            raise ContractError(f"a stream has one schema; this contract has {len(schemas)}")
        self.schema: SchemaObject = schemas[0]
        self.properties = self.schema.properties or []
        if not self.properties:
            raise ContractError("schema has no properties, so the stream would have no columns")

    def stream(self) -> Stream:
        own = custom([*(self.document.customProperties or []), *(self.schema.customProperties or [])], STREAM_CUSTOM)
        columns = odcs_columns.columns(self.properties)
        key = odcs_columns.key(self.properties)
        kind = own.get("kind", "event")
        if kind not in ("event", "entity"):
            raise ContractError(f"kind is {kind!r}; it may be event or entity")
        if kind == "entity" and not key:
            raise ContractError("kind is entity, which needs a property with primaryKey: true")
        about = self.document.description
        rules, checks = self._quality(columns)
        return Stream(
            name=self.name,
            version=self.document.version or "1.0.0",
            title=self.schema.businessName or self.document.name or self.name,
            description=clean(self.schema.description or (about.purpose if about else None)),
            kind=kind,
            columns=columns,
            key=key,
            event_time=self._event_time(own.get("eventTime"), columns),
            partitions=odcs_columns.partitions(self.properties, columns),
            rules=rules,
            checks=checks,
            horizon_days=_whole(own.get("horizonDays", 7), "horizonDays", 1, 3650),
            freshness_seconds=self._freshness(),
            tags=tuple(self.document.tags or ()),
            limitations=clean(about.limitations if about else None),
            anonymous_submission=_truth(own.get("anonymousSubmission", False), "anonymousSubmission"),
            source=self.path,
        )

    def _quality(self, columns: Sequence[Column]) -> tuple[tuple[Rule, ...], tuple[Check, ...]]:
        names = {column.name for column in columns}
        rules = list(odcs_rules.rules(self.schema.quality, None, names))
        checks = list(odcs_checks.checks(self.schema.quality, None, names))
        for prop, column in zip(self.properties, columns, strict=True):
            rules += odcs_rules.rules(prop.quality, column, names)
            checks += odcs_checks.checks(prop.quality, column, names)
        given = [rule.name for rule in rules] + [check.name for check in checks]
        for n, name in enumerate(given):
            if name in given[:n]:
                raise ContractError(f"quality {name} is there twice: results are counted by name, so give each its own")
        return tuple(rules), tuple(checks)

    def _event_time(self, chosen: str | None, columns: Sequence[Column]) -> str | None:
        """`eventTime`, else the column that the freshness agreement speaks of, else the first partitioned time."""
        timed = {c.name for c in columns if c.logical_type in ("timestamp", "date")}
        if chosen is not None:
            if chosen not in timed:
                raise ContractError(f"eventTime is {chosen!r}, which is no timestamp or date property of this contract")
            return chosen
        agreed = [self.document.slaDefaultElement, *(sla.element for sla in self._latencies())]
        for element in ",".join(filter(None, agreed)).split(","):
            name = element.strip().split(".")[-1]
            if name in timed:
                return name
        return next((p.name for p in self.properties if p.partitioned and p.name in timed), None)

    def _latencies(self) -> list[ServiceLevelAgreementProperty]:
        return [sla for sla in self.document.slaProperties or [] if (sla.property or "").lower() in LATENCY]

    def _freshness(self) -> float | None:
        for sla in self._latencies():
            unit = PERIODS.get(str(sla.unit or "s").lower())
            try:
                value = float(str(sla.value))
            except ValueError:
                value = math.nan
            if unit is None or not 0 < value < math.inf:
                raise ContractError(
                    f"slaProperties {sla.property} is {sla.value!r} {sla.unit or ''}; expected a number above 0 and a unit: "
                    "ms, s, min, h or d"
                )
            return value * unit
        return None


def _truth(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise ContractError(f"{name} is {value!r}; expected true or false")
    return value


def _whole(value: Any, name: str, low: int, high: int) -> int:
    try:
        number = int(str(value))
    except ValueError:
        number = low - 1
    if not low <= number <= high:
        raise ContractError(f"{name} is {value!r}; expected a whole number from {low} to {high}")
    return number
