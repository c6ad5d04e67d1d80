"""What a person should know of a field before filling it in: its limits and an example, in words."""

from decimal import Decimal

from ingest_gateway.fields import Field
from ingest_gateway.words import Words

SPEAKING = ("text", "textarea", "email", "url", "number", "json")  # widgets of which an example says something


def hints(field: Field, w: Words) -> list[str]:
    """Short sentences; none for a field that explains itself."""
    limits = field.column.limits
    found = _range(field, w)
    if limits.max_length is not None and field.widget in SPEAKING:
        found.append(w("hint_longest", n=w.number(limits.max_length)))
    if field.widget == "lines":
        found.append(w("per_line"))
    if field.widget == "json":
        found.append(w("as_json"))
    if field.column.examples and field.widget in SPEAKING:
        found.append(w("example", text=_example(field)))
    return found


def _example(field: Field) -> str:
    example = field.column.examples[0]
    return str(example)[:80]


def _range(field: Field, w: Words) -> list[str]:
    if field.widget != "number":
        return []
    low, high = (field.attributes.get(word) for word in ("min", "max"))
    if low and high:
        return [w("hint_between", low=w.number(Decimal(low)), high=w.number(Decimal(high)))]
    if low:
        return [w("hint_least", low=w.number(Decimal(low)))]
    return [w("hint_most", high=w.number(Decimal(high)))] if high else []
