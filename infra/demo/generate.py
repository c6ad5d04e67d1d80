"""Orders and users for the demo: the same records each time, and no real person, shop or product in them."""

import random
import re
import unicodedata
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from infra.demo.places import COUNTRIES, Country

Record = dict[str, Any]

# Fixed, so that the demo's events keep their bytes, and with them their ids, from one run to the next.
START = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)

LINES = {"WHEY": 2499, "CASE": 2899, "CREA": 1399, "BCAA": 1899, "OMEGA": 1099, "VITD": 699, "PREW": 2199, "BARS": 249}
PRODUCTS = tuple((f"{line}{n:03}", cents + 300 * (n - 1)) for line, cents in LINES.items() for n in range(1, 6))
RESEND_EVERY, LATE_EVERY, TEST_EVERY, LARGE_EVERY = 100, 200, 625, 833


def orders(count: int = 5_000, seed: int = 7, start: datetime = START) -> Iterator[Record]:
    """`count` records spread over the hour after `start`, in the order of arrival.

    Each 100th repeats an earlier record to the byte (a shop that sent again after a time-out), each 200th was placed 10 to
    40 minutes before it arrives. A few are of a test product or of more than 1,000 pieces: contract rules quarantine them.
    """
    dice = random.Random(seed)
    recent: list[Record] = []
    for n in range(1, count + 1):
        if n % RESEND_EVERY == 0 and recent:
            yield recent[dice.randrange(len(recent))]
            continue
        moment = start + timedelta(hours=1) * ((n - 1) / count)
        if n % LATE_EVERY == LATE_EVERY // 2 + 1:
            moment -= timedelta(seconds=dice.randint(600, 2_400))
        order = _order(dice, n, moment)
        yield order
        # A resend is of a good order, so that quarantine holds each bad one once.
        if n % TEST_EVERY and n % LARGE_EVERY:
            recent = [*recent[-50:], order]


def _order(dice: random.Random, n: int, moment: datetime) -> Record:
    # Few products make most of the sales, as in a real shop.
    product, cents = PRODUCTS[min(int(dice.expovariate(1 / 9)), len(PRODUCTS) - 1)]
    quantity = dice.choices((1, 2, 3, 6, 12, dice.randint(20, 400)), (55, 22, 10, 7, 4, 2))[0]
    if n % TEST_EVERY == 0:
        product = f"TEST{dice.randint(1, 9):03}"
    if n % LARGE_EVERY == 0:
        quantity = dice.choice((1_200, 2_500, 10_000))
    order: Record = {
        "order_id": str(_uuid(dice)),
        "product_id": product,
        "quantity": quantity,
        "timestamp": _iso(moment + timedelta(milliseconds=dice.randrange(700))),
    }
    if dice.random() >= 0.02:
        order |= {"unit_price": cents / 100, "currency": "EUR"}
    return order


def users(count: int = 1_000, seed: int = 11, start: datetime = START, updates: int = 300) -> Iterator[Record]:
    """`count` users in their first state, then `updates` later states; one in five of these overtakes an older state."""
    dice = random.Random(seed)
    people = [_user(dice, n, start + timedelta(seconds=n)) for n in range(count)]
    yield from people
    overtaking = min(updates // 5, count // 2)
    singles = min(updates - 2 * overtaking, count - overtaking)
    chosen = dice.sample(people, overtaking + singles)
    later = start + timedelta(seconds=count)
    for n, person in enumerate(chosen):
        first = _changed(dice, person, later + timedelta(seconds=4 * n))
        if n < overtaking:
            yield _changed(dice, first, later + timedelta(seconds=4 * n + 2))
        yield first


def _user(dice: random.Random, n: int, moment: datetime) -> Record:
    country = dice.choices(COUNTRIES, [c.share for c in COUNTRIES])[0]
    gender = dice.choices(("female", "male", "other", None), (47, 46, 4, 3))[0]
    names = {"female": country.female, "male": country.male}.get(gender or "", country.female + country.male)
    first, last = dice.choice(names), dice.choice(country.family)
    username = f"{_ascii(first)}.{_ascii(last)}{n}"
    born = date(1943, 1, 1) + timedelta(days=dice.randrange(64 * 365))
    user: Record = {
        "user_id": str(_uuid(dice)), "first_name": first, "last_name": last, "gender": gender, **_home(dice, country),
        "email": f"{username}@{dice.choice(('example.com', 'example.org', 'example.net'))}", "username": username,
        "date_of_birth": born.isoformat() if dice.random() >= 0.02 else None,
        "registered": _iso(moment - timedelta(seconds=dice.randrange(3 * 365 * 86_400))),
        "phone": _digits(dice, country.phone) if dice.random() >= 0.05 else None,
        "picture": f"https://example.com/portraits/{n}.jpg",
        "updated_at": _iso(moment),
    }  # fmt: skip
    return {name: value for name, value in user.items() if value is not None}


def _changed(dice: random.Random, user: Record, moment: datetime) -> Record:
    country = next(c for c in COUNTRIES if c.name == user["country"])
    change = dice.choice(("home", "email", "phone"))
    if change == "home":
        moved = {name: value for name, value in user.items() if name != "state"} | _home(dice, country)
        changed = {name: value for name, value in moved.items() if value is not None}
    elif change == "email":
        changed = user | {"email": f"{user['username']}.{dice.randint(1, 99)}@example.org"}
    else:
        changed = user | {"phone": _digits(dice, country.phone)}
    return changed | {"updated_at": _iso(moment)}


def _home(dice: random.Random, country: Country) -> Record:
    city = dice.choice(country.cities)
    street = country.street.format(n=dice.randint(1, 240), s=dice.choice(country.streets))
    return {
        "address": street, "city": city.name, "state": city.state, "country": country.name,
        "postcode": dice.choice(city.postcodes),
    }  # fmt: skip


def write_ndjson(records: Iterable[Record], path: Path) -> int:
    """Write one JSON object a line; the number of lines."""
    count = 0
    with path.open("wb") as out:
        for record in records:
            out.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))
            count += 1
    return count


def _uuid(dice: random.Random) -> uuid.UUID:
    return uuid.UUID(int=dice.getrandbits(128), version=4)


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _digits(dice: random.Random, template: str) -> str:
    return re.sub("#", lambda _: str(dice.randrange(10)), template)


def _ascii(name: str) -> str:
    spelt = name.lower().replace("ß", "ss").replace("ı", "i").replace("ø", "o")
    plain = unicodedata.normalize("NFKD", spelt).encode("ascii", "ignore").decode()
    return re.sub("[^a-z0-9]", "", plain)
