"""The pages for people: what they show, in which language, and that nothing is loaded from elsewhere."""

import json
import re
import shutil
import string
from pathlib import Path

import pytest

from catalog.contract import SUFFIX
from catalog.odcs import load_contracts
from catalog.settings import BUNDLED_CONTRACTS
from ingest_gateway import accept, words
from ingest_gateway.examples import event, examples
from ingest_gateway.streams import Served
from tests.unit.test_gateway_app import Client

HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
STREAMS = load_contracts(BUNDLED_CONTRACTS)


@pytest.fixture
def client(tmp_path: Path) -> Client:
    shutil.copytree(BUNDLED_CONTRACTS, tmp_path, dirs_exist_ok=True)
    return Client(tmp_path)


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("language", words.LANGUAGES)
def test_each_language_has_each_string_with_the_same_places(language: str) -> None:
    english, other = words.words("en").strings, words.words(language).strings
    assert list(other) == list(english)
    assert {key: places(text) for key, text in other.items()} == {key: places(text) for key, text in english.items()}
    assert all(other.values())
    if language != "en":
        assert not [key for key in english if key.startswith("e_") and english[key] == other[key]]


@pytest.mark.parametrize(
    ("query", "accept", "language"),
    [
        (None, "", "en"),
        (None, "fr-CH, fr;q=0.9, en;q=0.8", "fr"),
        (None, "de, es;q=0.5, fr;q=0.7", "fr"),
        (None, "fr;q=0, es", "es"),
        (None, "es-419;q=nonsense, *", "en"),
        ("es", "fr", "es"),
        ("xx", "fr", "fr"),
    ],
)
def test_the_language_is_what_was_asked_for(query: str | None, accept: str, language: str) -> None:
    assert words.chosen(query, accept).language == language


@pytest.mark.parametrize(
    ("header", "page"),
    [
        ("", False),
        ("*/*", False),
        ("text/html,application/xhtml+xml,*/*;q=0.8", True),
        ("application/json, text/html;q=0.1", False),
        ("text/html;level=1;q=0.9, application/json;q=0.5", True),
        ("text/html;q=0, */*", False),
        ("application/*, text/html", False),
        ("text/html;q=x", False),
    ],
)
def test_a_page_is_for_those_who_want_one(header: str, page: bool) -> None:
    assert accept.wants_html(header) is page


def test_numbers_are_written_as_the_language_does() -> None:
    assert [words.words(name).number(1234.5) for name in words.LANGUAGES] == ["1,234.5", "1.234,5", "1\u202f234,5"]
    assert words.words("en").number(0.000001) == "0.000001"


@pytest.mark.parametrize("name", STREAMS)
def test_the_example_of_a_bundled_stream_keeps_its_contract(name: str) -> None:
    served = Served.of(STREAMS[name])
    assert not served.checker.violations(event(served))
    assert set(served.checker.schema["properties"]) == set(event(served))
    shown = examples(served, "https://gateway.example/")
    for program in (shown.curl, shown.python, shown.javascript):
        assert "https://gateway.example" in program
    compile(shown.python, "example", "exec")


@pytest.mark.parametrize("path", ["/", "/v1/streams/orders", "/v1/streams/users", "/nowhere", "/v1/streams/ordres"])
def test_pages_load_nothing_from_elsewhere(client: Client, path: str) -> None:
    answer = client.get(path, headers=HTML)
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "script" not in answer.headers["content-security-policy"]
    assert "Accept-Language" in answer.headers["vary"]
    loaded = re.findall(r'<(?:link|script|img|iframe)[^>]+(?:src|href)="([^"]*)"', answer.text)
    assert loaded
    assert all(address.startswith("/assets/") for address in loaded)
    assert "<script" not in answer.text
    assert "style=" not in answer.text
    for address in loaded:
        asset = client.get(address)
        assert asset.status_code == 200
        assert "immutable" in asset.headers["cache-control"]


def test_there_are_no_other_assets(client: Client) -> None:
    assert client.get("/assets/site.py").status_code == 404
    assert client.get("/assets/..%2Fsite.py").status_code == 404


def test_a_language_that_was_chosen_goes_on_in_links(client: Client) -> None:
    page = client.get("/?lang=fr", headers=HTML).text
    assert '<html lang="fr">' in page
    assert 'href="/forms/orders?lang=fr"' in page
    assert client.get("/?lang=fr", headers=HTML).headers["content-language"] == "fr"
    page = client.get("/", headers={**HTML, "accept-language": "fr"}).text
    assert '<html lang="fr">' in page
    assert 'href="/forms/orders"' in page


def test_a_stream_has_a_page_and_a_document(client: Client) -> None:
    document = client.get("/v1/streams/orders").json()
    assert document["examples"]["event"]["product_id"] == "WHEY001"
    assert json.dumps("http://gateway/v1/streams/orders/events") in document["examples"]["javascript"]
    page = client.get("/v1/streams/orders", headers=HTML).text
    for part in ("Ordered at", "From 1 to 10,000.", "curl -i", "const answer", "What to know", "WHEY001"):
        assert part in page


def test_a_problem_is_a_page_for_browsers(client: Client) -> None:
    answer = client.get("/v1/streams/ordres?lang=es", headers=HTML)
    assert answer.status_code == 404
    assert "¿Quería decir orders?" in answer.text


def test_what_a_contract_says_is_text(tmp_path: Path) -> None:
    contract = (BUNDLED_CONTRACTS / f"orders{SUFFIX}").read_text()
    (tmp_path / f"orders{SUFFIX}").write_text(
        contract.replace("businessName: Orders", "businessName: <script>alert(1)</script>").replace(
            "description: One order of one product.", "description: '\"><img src=x>'"
        )
    )
    client = Client(tmp_path)
    for path in ("/", "/v1/streams/orders"):
        page = client.get(path, headers=HTML).text
        assert "<script" not in page
        assert "<img src=x" not in page
        assert "&lt;script&gt;" in page
