"""The form of a stream: what it asks, what its texts mean, and what it says where they are wrong."""

import asyncio
import json
import re
import shutil
from collections.abc import Iterator, MutableMapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.contract import SUFFIX, Column, Limits
from catalog.odcs import load_contract
from ingest_gateway import fields as form_fields
from ingest_gateway import words
from ingest_gateway.explain import explain
from ingest_gateway.fields import fields, flat
from ingest_gateway.filled import Filled, zones
from ingest_gateway.problems import Problem
from ingest_gateway.streams import Served
from tests.stack import CHECKOUT
from tests.unit.test_gateway_app import Client

HTML = {"accept": "text/html"}
SINK = CHECKOUT / "tests" / "contracts" / f"kitchen_sink{SUFFIX}"
SERVED = Served.of(load_contract(SINK))
FIELDS = fields(SERVED.stream)
GOOD = {
    "code": "AB12", "count": "3", "size": "small", "fragile": "true", "packed_at": "2026-05-05T12:13", "lat": "1.5", "lon": "2",
}  # fmt: skip


@pytest.fixture
def client(tmp_path: Path) -> Client:
    shutil.copy(SINK, tmp_path)
    return Client(tmp_path)


@pytest.fixture
def keeping(tmp_path: Path) -> Client:
    """A gateway that can keep events, though there is no Kafka."""
    (tmp_path / "contracts").mkdir()
    shutil.copy(SINK, tmp_path / "contracts")
    return Client(tmp_path / "contracts", spool=tmp_path / "spool")


def meant(texts: dict[str, str], zone: str = "UTC") -> Any:
    """The event of a form, and what is wrong with it."""
    filled = Filled.of([*texts.items(), ("_zone", zone)], FIELDS)
    events, skipped = filled.event(FIELDS)
    assert not skipped
    return events.values[0]


def widgets() -> dict[str, str]:
    return {field.name: field.widget for field in flat(FIELDS)}


def test_each_kind_of_column_has_its_widget() -> None:
    assert widgets() == {
        "code": "text", "count": "number", "price": "number", "ratio": "number", "size": "radio", "grade": "select",
        "fragile": "radio", "insured": "radio", "packed_on": "date", "packed_at": "datetime-local", "scanned": "datetime-local",
        "weighed": "datetime-local", "opens": "time", "mail": "email", "page": "url", "token": "text", "notes": "textarea",
        "tags": "lines", "readings": "lines", "address.street": "text", "address.floor": "number", "lines": "json",
        "extra": "json", "lat": "number", "lon": "number",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "facts", "attributes"),
    [
        ("integer", {"limits": Limits(minimum=1, exclusive_maximum=100)}, {"step": "1", "min": "1", "max": "99"}),
        ("integer", {"limits": Limits(minimum=0.5, exclusive_minimum=1, maximum=9.5)}, {"step": "1", "min": "2", "max": "9"}),
        ("integer", {"limits": Limits(minimum=3, multiple_of=2)}, {"step": "1", "min": "3"}),
        ("integer", {"limits": Limits(minimum=4, multiple_of=2)}, {"step": "2", "min": "4"}),
        ("integer", {"physical_type": "int"}, {"step": "1"}),
        ("number", {"limits": Limits(minimum=0.005, multiple_of=0.01)}, {"step": "any", "min": "0.005"}),
        ("number", {"physical_type": "decimal(5,2)"}, {"step": "0.01", "min": "-1000", "max": "1000"}),
        ("number", {}, {"step": "any"}),
    ],
)  # fmt: skip
def test_a_browser_never_stops_a_number_that_the_schema_takes(
    kind: str, facts: dict[str, Any], attributes: dict[str, str]
) -> None:
    assert form_fields._number_limits(Column("n", kind, pointer=("n",), **facts)) == attributes


LINE = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=9)
MOMENT = st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2200, 1, 1)).map(
    lambda moment: moment.replace(microsecond=0)
)
ZONES = st.sampled_from(["UTC", "Europe/Zurich", "America/St_Johns", "Asia/Kathmandu", "Pacific/Chatham"])


@given(
    st.integers(1, 99), st.decimals(0, 10**7, places=2), st.booleans(), MOMENT, ZONES, st.dates(date(2020, 1, 1)),
    st.times().map(lambda at: at.replace(microsecond=0)), st.lists(LINE, min_size=1, max_size=3, unique=True),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1), st.sampled_from(["1", "6"]),
)  # fmt: skip
@settings(max_examples=80)
def test_what_is_typed_into_a_form_is_what_the_api_takes(
    count: int, price: Decimal, fragile: bool, moment: datetime, zone: str, day: date, opens: time, tags: list[str],
    notes: str, grade: str,
) -> None:  # fmt: skip
    moment = (
        moment.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC).astimezone(ZoneInfo(zone))
    )  # one that the clocks showed
    if moment.fold:
        return  # of two the first is meant
    local = moment.replace(tzinfo=None).isoformat()
    texts = {
        **GOOD, "count": str(count), "price": str(price), "fragile": str(fragile).lower(), "packed_at": local, "scanned": local,
        "weighed": local, "packed_on": day.isoformat(), "opens": opens.isoformat(), "tags": "\r\n".join(tags), "notes": notes,
        "grade": grade, "address.street": "1 Road", "extra": '{"a": [1, null]}',
    }  # fmt: skip
    value = meant(texts, zone)
    assert not [v for v in SERVED.checker.violations(value) if v.pointer not in ("/notes",)]
    assert (value["count"], value["fragile"], value["grade"]) == (count, fragile, int(grade))
    assert Decimal(repr(value.get("price"))) == price
    assert datetime.fromisoformat(value["packed_at"]) == moment
    assert value["scanned"] == value["weighed"] * 1000 == round(moment.timestamp() * 1000)
    assert (value["packed_on"], value["opens"], value["tags"]) == (day.isoformat(), opens.isoformat(), tags)
    assert value.get("notes") == (notes or None)
    assert value["geo"] == {"at": [2, 1.5]}
    assert (value["address"], value["extra"]) == ({"street": "1 Road"}, {"a": [1, None]})


@given(st.dictionaries(st.sampled_from([*widgets(), "_id", "_zone", "_token", "other"]), st.text(max_size=20)))
def test_any_texts_make_an_event_or_a_problem(texts: dict[str, str]) -> None:
    try:
        filled = Filled.of(list(texts.items()), FIELDS)
        events, _ = filled.event(FIELDS)
    except Problem:
        return
    json.loads(events.payloads[0])
    found = SERVED.checker.violations(events.values[0])
    for language in words.LANGUAGES:
        beside, general = explain(found, FIELDS, filled.given, words.words(language))
        assert bool(found) == bool(beside or general)
        assert set(beside) <= set(widgets())
        for field in flat(FIELDS):
            if field.name in filled.given:
                filled.shown(field, words.words(language))


WRONG = {
    "code": ("x", "Does not have the expected form. Example: AB12"),
    "count": ("100", "Must be less than 100."),
    "price": ("-0.5", "Must be 0 or more."),
    "ratio": ("0", "Must be more than 0."),
    "size": ("huge", "Choose one of these: small, medium, large."),
    "grade": ("7", "Choose one of these: 1, 2, 3, 4, 5, 6."),
    "fragile": ("perhaps", "Choose yes or no."),
    "packed_on": ("2026-02-30", "Enter a date that exists, such as 2026-04-30."),
    "packed_at": ("2026-02-30T10:00", "Enter a date and time that exist."),
    "scanned": ("yesterday", "Enter a date and time that exist."),
    "opens": ("25:00", "Does not have the expected form (10:15)."),
    "mail": ("name", "Enter an e-mail address, such as name@example.com."),
    "page": ("page", "Enter a full address, such as https://example.com/page."),
    "token": ("1", "Enter a UUID, such as 0b1f6f0e-5a3c-4d57-9a51-3f2b7c1d9e42."),
    "notes": ("x" * 2001, "Is too long: the greatest number of characters is 2,000."),
    "tags": ("a\nb\nc\nd", "Too many values: the greatest number is 3."),
    "readings": ("1\ntwo", "Enter a number."),
    "address.floor": ("1.5", "Enter a whole number."),
    "lines": ("[", "Enter a list, such as [1, 2]."),
    "extra": ("[]", 'Enter a JSON object, such as {"a": 1}.'),
    "lat": ("91", "Must be 90 or less."),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_beside_its_field_in_each_language(name: str) -> None:
    text, message = WRONG[name]
    filled = Filled.of([*{**GOOD, "address.street": "1 Road", name: text}.items()], FIELDS)
    found = SERVED.checker.violations(filled.event(FIELDS)[0].values[0])
    said = {language: explain(found, FIELDS, filled.given, words.words(language)) for language in words.LANGUAGES}
    assert said["en"] == ({name: message}, [])
    assert said["es"][0].keys() == said["fr"][0].keys() == {name}
    assert len({beside[name] for beside, _ in said.values()}) == 3


@pytest.mark.parametrize("missing", [["lat"], ["lon"], ["lat", "lon"], ["code", "size"], ["address.street"]])
def test_what_is_missing_is_said_beside_its_field_wherever_it_goes(missing: list[str]) -> None:
    texts = {**GOOD, "address.street": "1 Road", "address.floor": "1"}
    filled = Filled.of([(name, "" if name in missing else text) for name, text in texts.items()], FIELDS)
    found = SERVED.checker.violations(filled.event(FIELDS)[0].values[0])
    assert explain(found, FIELDS, filled.given, words.words("fr")) == (
        dict.fromkeys(missing, "Ce champ est obligatoire."),
        [],
    )


def test_the_same_entry_of_one_form_is_one_event() -> None:
    opened = Filled.of([*GOOD.items()], FIELDS)
    again = Filled.of([*GOOD.items(), ("_id", opened.id)], FIELDS)
    changed = Filled.of([*{**GOOD, "count": "4"}.items(), ("_id", opened.id)], FIELDS)
    other = Filled.of([*GOOD.items()], FIELDS)
    ids = [form.event_id(form.event(FIELDS)[0].payloads[0]) for form in (opened, again, changed, other)]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


def test_a_line_is_an_item_whatever_it_looks_like() -> None:
    assert meant({**GOOD, "tags": "[x]"})["tags"] == ["[x]"]
    assert meant({**GOOD, "tags": " a \r\n\r\nb", "readings": "1\n2.50"})["readings"] == [1, 2.5]


def test_what_the_contract_has_no_more_is_kept_as_text() -> None:
    value = meant({**GOOD, "colour": "red", "empty": "", "_charset_": "utf-8"})
    assert value["colour"] == "red"
    assert {"empty", "_charset_"} & set(value) == set()


def test_zones_are_known_on_every_machine() -> None:
    assert {"UTC", "Europe/Zurich", "America/Argentina/Buenos_Aires"} <= zones()
    with pytest.raises(Problem, match="time zone"):
        Filled.of([("_zone", "Mars/Base")], FIELDS)


class Page(HTMLParser):
    """What assistive technology would find in a page."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.hidden: dict[str, str] = {}
        self.feed(answer.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        facts = {name: value or "" for name, value in attrs}
        self.elements.append((tag, facts))
        if facts.get("type") == "hidden":
            self.hidden[facts["name"]] = facts["value"]

    def all(self, *tags: str) -> Iterator[dict[str, str]]:
        return (facts for tag, facts in self.elements if tag in tags)


def test_every_control_has_a_label_and_every_reference_leads_somewhere(client: Client) -> None:
    page = Page(client.get("/forms/kitchen_sink", headers=HTML))
    ids = [facts["id"] for _, facts in page.elements if "id" in facts]
    assert len(ids) == len(set(ids))
    labelled = {facts["for"] for facts in page.all("label") if "for" in facts}
    controls = [c for c in page.all("input", "select", "textarea") if c.get("type") not in ("hidden", "radio")]
    assert {control["id"] for control in controls} == labelled
    described = {name for _, facts in page.elements for name in facts.get("aria-describedby", "").split()}
    assert described <= set(ids)
    names = {control["name"] for control in page.all("input", "select", "textarea")}
    assert names == {*widgets(), "_id", "_zone", "_token"}
    required = {control["name"] for control in page.all("input", "select", "textarea") if "required" in control}
    assert required == set(GOOD)  # the street of an address that may be left out is not asked for
    assert "<script" not in client.get("/forms/kitchen_sink").text


def posted(client: Client, texts: dict[str, str], **options: Any) -> httpx.Response:
    """Open the form, fill it in and send it, as a browser does."""
    opened = client.get("/forms/kitchen_sink", headers=HTML)
    cookie = opened.headers["set-cookie"].partition(";")[0]
    headers = {**HTML, "cookie": cookie, **options.pop("headers", {})}
    return client.post("/forms/kitchen_sink", data={**Page(opened).hidden, **texts}, headers=headers, **options)


def test_errors_are_shown_beside_the_fields_and_in_a_summary(keeping: Client) -> None:
    answer = posted(keeping, {**GOOD, "count": "0", "size": "huge", "code": "AB12", "_zone": "Asia/Kathmandu"})
    assert answer.status_code == 422
    page = Page(answer)
    wrong = [facts for facts in page.all("input", "fieldset") if "f-count-error" in facts.get("aria-describedby", "")]
    assert [facts["aria-invalid"] for facts in wrong] == ["true"]
    assert re.search('id="f-count-error"[^>]*>Must be 1 or more.', answer.text)
    targets = [facts["href"] for facts in page.all("a") if facts["href"].startswith("#f-")]
    assert targets == ["#f-count", "#f-size"]
    assert {target[1:] for target in targets} <= {facts.get("id") for _, facts in page.elements}
    assert 'value="AB12"' in answer.text
    assert '<option value="Asia/Kathmandu" selected>' in answer.text
    assert "This was not sent yet · Kitchen sink" in answer.text


def test_a_time_that_the_clocks_skipped_is_said_with_everything_else(keeping: Client) -> None:
    answer = posted(keeping, {**GOOD, "packed_at": "2026-03-29T02:30", "count": "0", "_zone": "Europe/Zurich"})
    assert answer.status_code == 422
    assert "In this time zone the clocks skipped this time." in answer.text
    assert "Must be 1 or more." in answer.text


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", ["Received", "kept, on its way", "May 5, 2026, 12:13:00", "1,234.5", "Yes"]),
        ("es", ["Recibido", "guardado, en camino", "5 de mayo de 2026, 12:13:00", "1.234,5", "Sí"]),
        ("fr", ["Bien reçu", "conservé, en route", "5 mai 2026, 12:13:00", "1\u202f234,5", "Oui"]),
    ],
)
def test_the_receipt_speaks_the_readers_language(keeping: Client, language: str, said: list[str]) -> None:
    texts = {**GOOD, "price": "1234.50", "notes": "<b>", "_zone": "Europe/Zurich"}
    answer = posted(keeping, texts, headers={"accept-language": language})
    assert answer.status_code == 202
    assert [part for part in said if part not in unescape(answer.text)] == []
    assert "&lt;b&gt;" in answer.text
    assert "zone=Europe/Zurich" in answer.text


def test_what_was_entered_is_kept_while_events_cannot_be_taken(client: Client) -> None:
    answer = posted(client, {**GOOD, "notes": '"<b>\r\n2', "size": "medium", "_zone": "Europe/Zurich", "grade": "6"})
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    page = Page(answer)
    assert {c["name"]: c["value"] for c in page.all("input") if c.get("value") and "type" in c}["code"] == "AB12"
    assert "&#34;&lt;b&gt;\n2</textarea>" in answer.text
    assert [c["value"] for c in page.all("input") if "checked" in c] == ["medium", "true", ""]
    assert '<option value="Europe/Zurich" selected>' in answer.text
    assert "Nothing is lost" in answer.text


@pytest.mark.parametrize("limit", ["rate_limit_by_address", "event_rate_limit_by_address"])
@pytest.mark.parametrize(
    ("language", "said"), [("en", "Nothing is lost"), ("es", "No se ha perdido nada"), ("fr", "Rien n’est perdu")]
)
def test_what_was_entered_is_kept_where_too_much_was_sent(tmp_path: Path, limit: str, language: str, said: str) -> None:
    """Each question has an application of its own here, so both come within one."""
    shutil.copy(SINK, tmp_path)
    allowed = {"rate_limit_by_address": "2/hour", "event_rate_limit_by_address": "1/hour"}[limit]
    gateway = Client(tmp_path, spool=tmp_path / "spool", **{limit: allowed})

    async def ask() -> list[httpx.Response]:
        app = gateway.make()
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client,
        ):
            opened = await client.get("/forms/kitchen_sink", headers=HTML)
            filled = {**Page(opened).hidden, **GOOD}
            headers = {**HTML, "accept-language": language}
            return [await client.post("/forms/kitchen_sink", data=filled, headers=headers) for _ in range(2)]

    first, second = asyncio.run(ask())
    assert (first.status_code, second.status_code) == (202, 429)
    assert int(second.headers["retry-after"]) > 0
    assert 'value="AB12"' in second.text
    assert said in unescape(second.text)


@pytest.mark.parametrize("cookie", [None, "sluice_form=", "sluice_form=other", "sluice_form=" + "A" * 32])
def test_a_form_that_is_not_ours_is_not_taken_but_kept(client: Client, cookie: str | None) -> None:
    hidden = Page(client.get("/forms/kitchen_sink", headers=HTML)).hidden
    headers = {**HTML, **({"cookie": cookie} if cookie else {})}
    answer = client.post("/forms/kitchen_sink?lang=fr", data={**hidden, **GOOD}, headers=headers)
    assert answer.status_code == 403
    assert "Ce formulaire n’était plus valable" in unescape(answer.text)
    assert 'value="AB12"' in answer.text


def test_a_form_from_another_site_is_not_taken(client: Client) -> None:
    assert posted(client, GOOD, headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert posted(client, GOOD, headers={"sec-fetch-site": "same-origin"}).status_code != 403


def test_the_cookie_is_for_forms_alone(client: Client) -> None:
    cookie = client.get("/forms/kitchen_sink", headers=HTML).headers["set-cookie"].lower()
    for word in ("httponly", "samesite=lax", "path=/forms"):
        assert word in cookie
    again = client.get("/forms/kitchen_sink", headers={**HTML, "cookie": cookie.partition(";")[0]})
    assert re.search(r"sluice_form=[^;]{32};", again.headers["set-cookie"])


def test_other_bodies_and_streams_are_problems(client: Client) -> None:
    assert client.post("/forms/kitchen_sink", json={}).status_code == 415
    assert client.post("/forms/kitchen_zink", data={}).json()["nearest"] == "kitchen_sink"
    assert client.get("/forms/kitchen_zink", headers=HTML).status_code == 404
    assert client.request("PUT", "/forms/kitchen_sink").status_code == 405


def test_who_goes_away_while_sending_is_no_failure(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    async def gone() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        assert message.get("status", 400) == 400

    async def run() -> None:
        app = client.make()
        scope = {"type": "http", "method": "POST", "path": "/forms/kitchen_sink", "query_string": b"", "headers": [
            (b"content-type", b"application/x-www-form-urlencoded")], "app": app}  # fmt: skip
        async with app.router.lifespan_context(app):
            await app(scope, gone, send)

    asyncio.run(run())
    assert "failed" not in caplog.text
