"""Whose address a request comes from: the peer's, or what a proxy that is trusted says of it."""

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.types import Scope

Networks = frozenset[str]
MOST_HEADER = 512  # bytes, from the end: some dozen proxies; what a stranger wrote before them may be of any length


@lru_cache(maxsize=16)
def networks(text: str) -> Networks:
    """Addresses and networks of a comma-separated list. Raises ValueError."""
    found = [part.strip() for part in text.split(",") if part.strip()]
    return frozenset(str(ip_network(part, strict=False)) for part in found)


@dataclass(frozen=True)
class Proxies:
    """Those that are trusted, and the header in which they say who asks.

    Only that one is read: the other a proxy passes on as a stranger wrote it.
    """

    trusted: Networks
    header: str = "x-forwarded"

    def client(self, scope: Scope) -> str:
        """The address nearest to us that is no trusted proxy, in the form under which it is counted.

        Of IPv6 the network: a subscriber has 2**64 addresses. The header is read from its end: whatever stands before the first
        address that is not trusted was written by a stranger.
        """
        peer = scope["client"][0] if scope.get("client") else ""
        return self._told(scope, peer)[0] if self.trusted else counted(peer)

    def scheme(self, scope: Scope) -> str:
        """How the caller speaks to the outermost proxy that is trusted: `https` where that says so, else as it is spoken here."""
        peer = scope["client"][0] if scope.get("client") else ""
        return (self._told(scope, peer)[1] if self.trusted else "") or scope.get("scheme", "http")

    def _told(self, scope: Scope, peer: str) -> tuple[str, str]:
        if self.header == "forwarded":
            return _forwarded(peer, _header(scope, b"forwarded"), self.trusted)
        return _x_forwarded(
            peer, _header(scope, b"x-forwarded-for"), _header(scope, b"x-forwarded-proto"), self.trusted
        )


def _header(scope: Scope, wanted: bytes) -> bytes:
    """The end of a header that may come in several lines."""
    return b",".join([value for name, value in scope["headers"] if name == wanted])[-MOST_HEADER:]


@lru_cache(maxsize=4096)
def counted(text: str) -> str:
    """The form under which an address is counted."""
    address = _parsed(text)
    if address is None:
        return text or "unknown"
    return str(IPv6Network((address, 64), strict=False)) if isinstance(address, IPv6Address) else str(address)


@lru_cache(maxsize=4096)
def _x_forwarded(peer: str, fors: bytes, protos: bytes, trusted: Networks) -> tuple[str, str]:
    """The client's address, and the scheme that the proxy nearest to it names. A single scheme is the outermost proxy's."""
    hops, schemes = _listed(fors), _listed(protos)
    nearest, passed = peer, 0
    while is_trusted(nearest, trusted):
        passed += 1
        if not hops or _parsed(further := _bare(hops.pop())) is None:
            break
        nearest = further
    scheme = schemes[-min(passed, len(schemes))] if passed and schemes else ""
    return counted(nearest), _known(scheme)


@lru_cache(maxsize=4096)
def _forwarded(peer: str, header: bytes, trusted: Networks) -> tuple[str, str]:
    """The same from RFC 7239's header, whose elements each say what one proxy saw."""
    elements = _listed(header)
    nearest, scheme = peer, ""
    while elements and is_trusted(nearest, trusted):
        pairs = dict(_pair(part) for part in elements.pop().split(";"))
        scheme = _known(pairs.get("proto", "")) or scheme
        further = _bare(pairs.get("for", ""))
        if _parsed(further) is None:  # an obfuscated name, or `unknown`
            break
        nearest = further
    return counted(nearest), scheme


def _listed(header: bytes) -> list[str]:
    return [part.strip() for part in header.decode("latin-1").split(",") if part.strip()]


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name.strip().lower(), value.strip().strip('"')


def _known(scheme: str) -> str:
    return scheme.lower() if scheme.lower() in ("http", "https") else ""


@lru_cache(maxsize=4096)
def is_trusted(text: str, trusted: Networks) -> bool:
    """Whether an address is one of these."""
    address = _parsed(text)
    return address is not None and any(address in ip_network(network) for network in trusted)


def _bare(hop: str) -> str:
    """Without the port that some proxies add."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
