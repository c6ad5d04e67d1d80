"""What reading columns and rules of a contract both need: errors, custom properties, patterns."""

from collections.abc import Iterable
from typing import Any

import jsonschema_rs
from open_data_contract_standard.model import CustomProperty

STREAM_CUSTOM = ("kind", "eventTime", "horizonDays", "anonymousSubmission")
COLUMN_CUSTOM = ("jsonPointer", "encoding", "partitionTransform")
COMMON_WORDS = ("kind", "encoding")  # which another tool may mean otherwise elsewhere in the document


class ContractError(Exception):
    """What is wrong with a contract, without the file's name, which `catalog.odcs` puts before it."""


def custom(properties: Iterable[CustomProperty] | None, known: tuple[str, ...]) -> dict[str, Any]:
    """Sluice's own properties among the custom ones. Raises ContractError for one that is misspelt or in the wrong place."""
    # Other tools keep their own properties in a contract; only ours must be right.
    found: dict[str, Any] = {}
    for entry in properties or ():
        name = entry.property or ""
        if entry.vendor not in (None, "sluice"):
            continue
        if name in known:
            if name in found:
                raise ContractError(f"customProperties has {name} twice")
            found[name] = entry.value
            continue
        plain = name.replace("_", "").replace("-", "").lower()
        close = next((word for word in (*STREAM_CUSTOM, *COLUMN_CUSTOM) if word.lower() == plain), None)
        if close in known:
            raise ContractError(f"customProperties has {name}; did you mean {close}?")
        if close == name and name not in COMMON_WORDS:
            level = "the schema" if name in STREAM_CUSTOM else "a property"
            raise ContractError(f"customProperties has {name} in the wrong place: it belongs to {level}")
    return found


def checked_pattern(pattern: Any, name: str) -> str:
    """A regular expression that the gateway can compile (JSON Schema's dialect). Raises ContractError."""
    if not isinstance(pattern, str):
        raise ContractError(f"property {name}: pattern is {pattern!r}; expected text")
    try:
        jsonschema_rs.Draft202012Validator({"pattern": pattern}, pattern_options=jsonschema_rs.FancyRegexOptions())
    except ValueError:
        raise ContractError(f"property {name}: pattern {pattern!r} is no regular expression") from None
    return pattern


def fits(value: Any, logical_type: str, encoded: bool = False) -> bool:
    """Whether a value of the YAML document can be one of that logical type, as JSON has it."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match logical_type:
        case "integer":
            return number and value == int(value)
        case "number":
            return number
        case "boolean":
            return isinstance(value, bool)
        case "timestamp" if encoded:
            return number
        case "string" | "date" | "timestamp" | "time":
            return isinstance(value, str)
        case _:
            return True


def clean(text: str | None) -> str:
    """One line: YAML's folded texts have breaks."""
    return " ".join((text or "").split())
