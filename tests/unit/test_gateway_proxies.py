"""What a proxy that is trusted says of who asks, in either form; what a stranger says counts for nothing."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_gateway.addresses import Proxies, networks
from tests.unit.test_gateway_app import Client

TRUSTED = networks("10.0.0.0/8, fd00::/8")
HTML = {"accept": "text/html"}


def asked_by(peer: str, **headers: str) -> dict[str, Any]:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "scheme": "http", "client": (peer, 1234), "headers": raw}


@pytest.mark.parametrize(
    ("peer", "header", "address", "scheme"),
    [
        ("10.0.0.1", "for=1.2.3.4;proto=https", "1.2.3.4", "https"),
        ("10.0.0.1", 'For="1.2.3.4:5678"; Proto=HTTPS ;by=10.0.0.1', "1.2.3.4", "https"),
        ("10.0.0.1", 'for="[2001:db8::1]:5678"', "2001:db8::/64", "http"),
        ("10.0.0.1", "for=9.9.9.9;proto=https, for=1.2.3.4", "1.2.3.4", "http"),  # a stranger wrote the first
        ("10.0.0.1", "for=1.2.3.4;proto=https, for=10.0.0.9;proto=http", "1.2.3.4", "https"),
        ("10.0.0.1", "for=_hidden;proto=https", "10.0.0.1", "https"),
        ("10.0.0.1", "for=unknown", "10.0.0.1", "http"),
        ("10.0.0.1", "proto=gopher;for=1.2.3.4", "1.2.3.4", "http"),
        ("10.0.0.1", ";;=,,;", "10.0.0.1", "http"),
        ("203.0.113.9", "for=1.2.3.4;proto=https", "203.0.113.9", "http"),
    ],
)
def test_forwarded_is_read_from_its_end(peer: str, header: str, address: str, scheme: str) -> None:
    told = Proxies(TRUSTED, "forwarded")
    scope = asked_by(peer, forwarded=header, x_forwarded_for="8.8.8.8", x_forwarded_proto="https")
    assert (told.client(scope), told.scheme(scope)) == (address, scheme)


@pytest.mark.parametrize(
    ("peer", "fors", "protos", "scheme"),
    [
        ("10.0.0.1", "1.2.3.4", "https", "https"),
        ("10.0.0.1", "1.2.3.4, 10.0.0.9", "https, http", "https"),  # the outer proxy spoke http to the inner one
        ("10.0.0.1", "9.9.9.9, 1.2.3.4", "https, http", "http"),  # a stranger wrote the first of both
        ("10.0.0.1", "1.2.3.4, 10.0.0.9", "https", "https"),
        ("10.0.0.1", "", "https", "https"),
        ("10.0.0.1", "1.2.3.4", "", "http"),
        ("10.0.0.1", "1.2.3.4", "wss", "http"),
        ("203.0.113.9", "1.2.3.4", "https", "http"),
    ],
)
def test_the_scheme_is_what_the_outermost_trusted_proxy_heard(peer: str, fors: str, protos: str, scheme: str) -> None:
    scope = asked_by(peer, x_forwarded_for=fors, x_forwarded_proto=protos, forwarded="for=8.8.8.8;proto=https")
    assert Proxies(TRUSTED).scheme(scope) == scheme
    assert Proxies(networks("")).scheme(scope) == "http"


@given(st.lists(st.text(max_size=30), max_size=4), st.sampled_from(["forwarded", "x-forwarded"]))
def test_no_header_raises(lines: list[str], kind: str) -> None:
    names = (b"forwarded", b"x-forwarded-for", b"x-forwarded-proto")
    scope = {
        "scheme": "http",
        "client": ("10.0.0.1", 1),
        "headers": [(name, line.encode()) for name in names for line in lines],
    }
    told = Proxies(TRUSTED, kind)
    assert told.client(scope)
    assert told.scheme(scope) in ("http", "https")


def test_links_and_cookies_are_those_of_the_outside(folder: Path) -> None:
    """The test's client asks from 127.0.0.1."""
    behind, beside = Client(folder, trusted_proxies="127.0.0.1"), Client(folder)
    headers = {"x-forwarded-proto": "https", **HTML}
    assert "; secure" in behind.get("/forms/orders", headers=headers).headers["set-cookie"].lower()
    assert "https://gateway" in behind.get("/v1/streams/orders", headers=headers).text
    assert "; secure" not in beside.get("/forms/orders", headers=headers).headers["set-cookie"].lower()
    assert "https://gateway" not in beside.get("/v1/streams/orders", headers=headers).text
