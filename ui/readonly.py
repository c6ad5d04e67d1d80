"""Which statements the SQL page runs: those that only read, told by how Trino's grammar begins a statement.

Only the first word decides, and that is enough: Trino takes one statement at a time, and WITH or a parenthesis can only lead
to a query. The scanner skips blanks and comments as Trino's lexer does (comments in /* */ do not nest), because a parser
that sees them otherwise could be shown another statement than the one that Trino runs.
"""

import re

from ui import strings

READING = ("SELECT", "WITH", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "VALUES", "TABLE")
SKIPPED = re.compile(r"(?:\s+|--[^\r\n]*|/\*.*?\*/)*", re.DOTALL)
WORD = re.compile(r"[A-Za-z_]+")


def refusal(sql: str) -> str | None:
    """Why a statement is not run, in words for a person; None if it only reads."""
    word, rest = _first_word(sql)
    if not word:
        return strings.REFUSED_EMPTY if not rest.strip(" \n\r\t;") else _refused(rest.split()[0])
    if word not in READING:
        return _refused(word)
    if word == "EXPLAIN":
        following, after = _first_word(rest)
        # EXPLAIN alone plans a statement and does not run it; with ANALYZE it does.
        if following == "ANALYZE" and _analyzed(after) not in READING:
            return strings.REFUSED_ANALYZE
    return None


def _first_word(sql: str) -> tuple[str, str]:
    """(the first word in capitals, what follows it); parentheses before it are skipped, as in `(select 1)`."""
    rest = sql
    while True:
        rest = _skip(rest)
        if not rest.startswith("("):
            break
        rest = rest[1:]
    found = WORD.match(rest)
    return (found[0].upper(), rest[found.end() :]) if found else ("", rest)


def _analyzed(rest: str) -> str:
    """The first word of the statement behind EXPLAIN ANALYZE [VERBOSE]."""
    word, after = _first_word(rest)
    return _first_word(after)[0] if word == "VERBOSE" else word


def _skip(sql: str) -> str:
    found = SKIPPED.match(sql)
    return sql[found.end() :] if found else sql


def _refused(word: str) -> str:
    return strings.REFUSED.format(word=word[:40], allowed=", ".join(READING))
