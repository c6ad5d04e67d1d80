"""What a sender would rather have as an answer: `?verdicts=summary`, or `Prefer` (RFC 7240)."""

from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import parse_qs

from ingest_gateway.problems import Problem

LONGEST = 500  # what is longer is cut, so that remembering the usual ones costs no memory to speak of
PREFERENCES = ("respond-async", "return=minimal")  # both ask for no more than that all is well


@dataclass(frozen=True, slots=True)
class Preference:
    """Whether counts are enough, and the header that says which preference was followed."""

    summary: bool = False
    headers: tuple[tuple[bytes, bytes], ...] = ()


EACH = Preference()


def preference(query: bytes, prefer: str | None) -> Preference:
    """The parameter decides over the header; a preference that isn't known is ignored. Raises Problem 400."""
    if not query and prefer is None:
        return EACH
    return _preference(query[:LONGEST], prefer and prefer[:LONGEST])


@lru_cache(maxsize=256)
def _preference(query: bytes, prefer: str | None) -> Preference:
    asked = parse_qs(query.decode("latin-1")).get("verdicts", [""])[-1] if query else ""
    if asked not in ("", "each", "summary"):
        raise Problem(400, "verdicts", f"verdicts is {asked[:40]!r}; it may be each or summary")
    if asked == "each":
        return EACH
    for given in (prefer or "").lower().split(","):
        name = given.partition(";")[0].replace(" ", "").replace('"', "").strip()
        if name in PREFERENCES:
            return Preference(True, ((b"preference-applied", name.encode()),))
    return Preference(asked == "summary")
