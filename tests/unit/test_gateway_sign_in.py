"""A key in a browser: asked for as a password, good for pages and forms, and for nothing that another site could send."""

import base64
import shutil
from pathlib import Path

import pytest

from catalog.settings import BUNDLED_CONTRACTS
from ingest_gateway.api_keys import changing, new_key
from tests.unit.test_gateway_app import Client
from tests.unit.test_gateway_form_pages import Page

HTML = {"accept": "text/html"}
ORDER = {"order_id": "0b1f6f0e-5a3c-4d57-9a51-3f2b7c1d9e42", "product_id": "WHEY001", "quantity": "1",
         "timestamp": "2026-05-05T12:13:14"}  # fmt: skip


@pytest.fixture
def client(tmp_path: Path) -> Client:
    shutil.copytree(BUNDLED_CONTRACTS, tmp_path / "contracts")
    return Client(
        tmp_path / "contracts", authentication="required", keys=tmp_path / "keys.json", spool=tmp_path / "spool"
    )


def password(folder: Path, *scopes: str, user: str = "anybody") -> dict[str, str]:
    key, text = new_key("somebody", scopes, None)
    with changing(folder / "keys.json") as known:
        known.append(key)
    return basic(text, user)


def basic(text: str, user: str = "anybody") -> dict[str, str]:
    return {**HTML, "authorization": "Basic " + base64.b64encode(f"{user}:{text}".encode()).decode()}


def test_a_browser_asks_for_a_key_and_a_program_is_told_of_bearer(client: Client) -> None:
    page = client.get("/forms/orders", headers=HTML)
    assert (page.status_code, page.headers["www-authenticate"].split()[0]) == (401, "Basic")
    assert "/sign-in" in page.text
    program = client.get("/v1/streams/orders")
    assert (program.status_code, program.headers["www-authenticate"].split()[0]) == (401, "Bearer")


def test_the_list_offers_to_sign_in(client: Client, tmp_path: Path) -> None:
    page = client.get("/", headers=HTML)
    assert page.status_code == 200
    assert "Sign in with a key" in page.text
    assert "/forms/orders" not in page.text
    assert client.get("/sign-in", headers=HTML).status_code == 401
    headers = password(tmp_path, "submit:orders")
    answer = client.get("/sign-in", headers=headers)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    page = client.get("/", headers=headers)
    assert "/forms/orders" in page.text
    assert "/forms/users" not in page.text
    assert "Sign in with a key" not in page.text


def test_a_form_is_taken_with_a_key_for_its_stream(client: Client, tmp_path: Path) -> None:
    headers = password(tmp_path, "submit:orders", user="Zoë")
    opened = client.get("/forms/orders", headers=headers)
    assert opened.status_code == 200
    cookie = opened.headers["set-cookie"].partition(";")[0]
    filled = {**Page(opened).hidden, **ORDER}
    assert client.post("/forms/orders", data=filled, headers={**headers, "cookie": cookie}).status_code == 202
    assert client.post("/forms/orders", data=filled, headers=headers).status_code == 403  # without the form's token
    reading = password(tmp_path, "read:orders")
    assert client.post("/forms/orders", data=filled, headers={**reading, "cookie": cookie}).status_code == 403
    for others in (client.get("/forms/users", headers=headers), client.get("/forms/orders", headers=reading)):
        assert others.status_code == 403
    assert client.get("/v1/streams/orders", headers=reading).status_code == 200


@pytest.mark.parametrize("authorization", ["Basic", "Basic !", "Basic eDp5", basic("sluice_0_x")["authorization"]])
def test_what_is_no_key_is_asked_for_again(client: Client, authorization: str) -> None:
    answer = client.get("/forms/orders", headers={**HTML, "authorization": authorization})
    assert (answer.status_code, answer.headers["www-authenticate"].split()[0]) == (401, "Basic")


def test_a_password_counts_for_nothing_where_events_are_submitted(client: Client, tmp_path: Path) -> None:
    headers = password(tmp_path, "submit:*", "read:*")
    assert client.post("/v1/streams/orders/events", data=ORDER, headers=headers).status_code == 401
