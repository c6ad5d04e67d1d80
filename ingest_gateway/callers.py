"""Who asks, what they may, and the answers to those who may not."""

from dataclasses import dataclass

from ingest_gateway.problems import Problem

REALM = 'Bearer realm="sluice"'


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who asks. `producer` is the name under which bronze keeps what they send; `scopes` what they may."""

    producer: bytes
    scopes: frozenset[str] = frozenset()
    beginnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, producer: str, scopes: frozenset[str]) -> "Caller":
        """A caller with scopes like `submit:orders`, `read:iot_*` or `submit:*`."""
        return cls(producer.encode(), scopes, tuple(scope[:-1] for scope in scopes if scope.endswith("*")))

    def may(self, verb: str, stream: str) -> bool:
        """Whether they may submit to a stream, or read its contract."""
        scope = f"{verb}:{stream}"
        return scope in self.scopes or any(scope.startswith(beginning) for beginning in self.beginnings)


ANONYMOUS = Caller(b"anonymous")


def unauthorized(slug: str, detail: str) -> Problem:
    """A 401 for a key or token that is there and is of no use."""
    return Problem(401, slug, detail, headers={"www-authenticate": f'{REALM}, error="invalid_token"'})


def denied(caller: Caller, verb: str, stream: str) -> Problem:
    """A 401 for somebody who said nothing of themselves, a 403 for a caller without the scope."""
    if caller is ANONYMOUS:
        detail = f"To {verb} {stream[:100]} takes an API key: Authorization: Bearer …, or X-API-Key"
        return Problem(401, "no-key", detail, headers={"www-authenticate": REALM})
    detail = f"This key or token has no scope {verb}:{stream[:100]}"
    challenge = f'{REALM}, error="insufficient_scope"'
    return Problem(403, "no-scope", detail, headers={"www-authenticate": challenge})
