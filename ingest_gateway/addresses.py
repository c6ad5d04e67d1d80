"""Whose address a request comes from: the peer's, or what a proxy that is trusted says of it."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.types import Scope

Networks = frozenset[str]
MOST_HEADER = 512  # bytes, from the end: some dozen proxies; what a stranger wrote before them may be of any length


def networks(text: str) -> Networks:
    """Addresses and networks of a comma-separated list. Raises ValueError."""
    found = [part.strip() for part in text.split(",") if part.strip()]
    return frozenset(str(ip_network(part, strict=False)) for part in found)


def client(scope: Scope, trusted: Networks) -> str:
    """The address nearest to us that is no trusted proxy, in the form under which it is counted.

    Of IPv6 the network: a subscriber has 2**64 addresses. Only a trusted peer's X-Forwarded-For is read, from its end:
    whatever stands before the first address that is not trusted was written by a stranger.
    """
    peer = scope["client"][0] if scope.get("client") else ""
    if not trusted:
        return _counted(peer)
    lines = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    return _forwarded(peer, b",".join(lines)[-MOST_HEADER:], trusted)


@lru_cache(maxsize=4096)
def _counted(text: str) -> str:
    address = _parsed(text)
    if address is None:
        return text or "unknown"
    return str(IPv6Network((address, 64), strict=False)) if isinstance(address, IPv6Address) else str(address)


@lru_cache(maxsize=4096)
def _forwarded(peer: str, header: bytes, trusted: Networks) -> str:
    hops = [hop.strip() for hop in header.decode("latin-1").split(",") if hop.strip()]
    nearest = peer
    while hops and _within(nearest, trusted):
        further = _bare(hops.pop())
        if _parsed(further) is None:
            break
        nearest = further
    return _counted(nearest)


def _within(text: str, trusted: Networks) -> bool:
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
