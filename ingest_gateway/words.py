"""What the pages say, in each language, and how it writes numbers and times."""

import tomllib
from datetime import date, datetime, tzinfo
from decimal import Decimal
from functools import cache
from pathlib import Path

from babel import Locale, negotiate_locale
from babel.dates import format_date, format_datetime
from babel.numbers import format_decimal

from ingest_gateway.accept import preferred

LANGUAGES = ("en", "es", "fr")
FOLDER = Path(__file__).parent / "locales"


class Words:
    """The strings of one language."""

    def __init__(self, language: str) -> None:
        self.language = language
        self.strings: dict[str, str] = tomllib.loads((FOLDER / f"{language}.toml").read_text("utf-8"))
        self._locale = Locale.parse(language)

    def __call__(self, key: str, **values: object) -> str:
        """A string, with its places filled in. Raises KeyError: each language has each string."""
        return self.strings[key].format(**values)

    def has(self, key: str) -> bool:
        """Whether there is such a string."""
        return key in self.strings

    def number(self, value: float | Decimal) -> str:
        """A number with all of its digits, as the language writes it."""
        return format_decimal(Decimal(str(value)), locale=self._locale, decimal_quantization=False)

    def moment(self, value: datetime, zone: tzinfo) -> str:
        """A date and time in a zone, to the second."""
        return format_datetime(value, "long", tzinfo=zone, locale=self._locale)

    def day(self, value: date) -> str:
        """A date."""
        return format_date(value, "long", locale=self._locale)


@cache
def words(language: str) -> Words:
    """The strings of one of LANGUAGES."""
    return Words(language)


def chosen(query: str | None, accept_language: str) -> Words:
    """By `?lang=`, else by the `Accept-Language` header, else English."""
    if query in LANGUAGES:
        return words(query)
    return words(negotiate_locale(preferred(accept_language), LANGUAGES, sep="-") or LANGUAGES[0])
