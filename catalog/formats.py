"""Dates and times written as a contract's `format` says: patterns of the JDK's DateTimeFormatter, read by Python's strptime."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache

from catalog.contract import Column
from catalog.odcs_words import ContractError

_NAME, _OFFSET = "[A-Za-z]+", r"(?:Z|[+-]\d\d:?\d\d)"
# Letters that a `format` may have: Python's directive, and what the JDK takes for it (Python alone takes 1 for MM, too).
LETTERS = {
    "yyyy": ("%Y", r"\d{4}"), "uuuu": ("%Y", r"\d{4}"), "yy": ("%y", r"\d\d"), "uu": ("%y", r"\d\d"),
    "MMMM": ("%B", _NAME), "MMM": ("%b", _NAME), "MM": ("%m", r"\d\d"), "M": ("%m", r"\d{1,2}"),
    "dd": ("%d", r"\d\d"), "d": ("%d", r"\d{1,2}"), "DDD": ("%j", r"\d{3}"), "D": ("%j", r"\d{1,3}"),
    "EEEE": ("%A", _NAME), "EEE": ("%a", _NAME), "EE": ("%a", _NAME), "E": ("%a", _NAME),
    "HH": ("%H", r"\d\d"), "H": ("%H", r"\d{1,2}"), "hh": ("%I", r"\d\d"), "h": ("%I", r"\d{1,2}"), "a": ("%p", "[AaPp][Mm]"),
    "mm": ("%M", r"\d\d"), "m": ("%M", r"\d{1,2}"), "ss": ("%S", r"\d\d"), "s": ("%S", r"\d{1,2}"),
    **{"S" * n: ("%f", rf"\d{{{n}}}") for n in range(1, 7)},
    **dict.fromkeys(("X", "XX", "XXX", "xx", "xxx", "Z"), ("%z", _OFFSET)),
}  # fmt: skip
_TOKEN = re.compile(r"'((?:[^']|'')*)'|([A-Za-z])\2*|[^A-Za-z'\[\]{}#]|(.)", re.DOTALL)


@dataclass(frozen=True)
class Format:
    """A pattern as Python's format and as a regular expression of what it takes."""

    directives: str
    taken: re.Pattern[str]

    def read(self, text: str) -> datetime:
        """The moment that a text says, without an offset if the text has none. Raises ValueError."""
        if not self.taken.fullmatch(text):
            raise ValueError(text)
        moment = datetime.strptime(text, self.directives)
        # Of two digits the JDK makes 2000 to 2099, Python 1969 to 2068.
        return moment.replace(year=moment.year + 100) if "%y" in self.directives and moment.year < 2000 else moment


def parsed_format(pattern: str, name: str, dated: bool = True) -> Format:
    """Raises ContractError where the pattern has something that is not understood, or lacks what a moment needs."""
    directives, taken = [], []
    for token in _TOKEN.finditer(pattern):
        text = token.group(0)
        if token.group(3) or (token.group(2) and text not in LETTERS):
            raise ContractError(f"property {name}: format {pattern!r} has {text}, which is not understood")
        if token.group(2):
            directive, form = LETTERS[text]
        else:
            literal = (token.group(1).replace("''", "'") or "'") if text.startswith("'") else text
            directive, form = literal.replace("%", "%%"), re.escape(literal)
        directives.append(directive)
        taken.append(form)
    found = Format("".join(directives), re.compile("".join(taken), re.ASCII))
    if dated and not {"%Y", "%y"} & set(directives):
        raise ContractError(f"property {name}: format {pattern!r} has no year (yyyy)")
    if "%I" in directives and "%p" not in directives:
        raise ContractError(f"property {name}: format {pattern!r} has hours of half a day, and no a for AM or PM")
    return found


def format_reader(column: Column) -> Callable[[str], date | datetime | str]:
    """Text → date, moment (UTC where it has no offset), or time of day (as it was written). Raises ValueError.

    Files repeat their dates, so what was read is remembered.
    """
    form = parsed_format(column.format or "", column.name, column.logical_type != "time")

    @lru_cache(maxsize=10_000)
    def read(text: str) -> date | datetime | str:
        moment = form.read(text)
        if column.logical_type == "date":
            return moment.date()
        if column.logical_type == "time":
            return text
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)

    return read
