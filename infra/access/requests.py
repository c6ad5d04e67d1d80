"""Requests of Kafka's administration that the client library has no call for, or does not know (KIP-554, KIP-290)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import CompactArray, CompactBytes, CompactString, Int8, Int16, Int32, Schema, TaggedFields

# Numbers of the protocol.
SCRAM = {"SCRAM-SHA-256": 1, "SCRAM-SHA-512": 2}
OPERATIONS = {"all": 2, "read": 3, "write": 4, "describe": 8, "describe_configs": 10, "idempotent_write": 12}
TOPIC, CLUSTER = 2, 4
LITERAL, PREFIXED = 3, 4
DENY, ALLOW = 2, 3
ANY = 1


class Acl(NamedTuple):
    """One rule, in the order in which the protocol has its fields."""

    resource: int
    name: str
    pattern: int
    principal: str
    host: str
    operation: int
    permission: int


class AlterUserScramCredentialsResponse_v0(Response):  # noqa: N801 - as the library names versions
    """One result a user."""

    API_KEY = 51
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "results",
            CompactArray(
                ("user", CompactString("utf-8")),
                ("error_code", Int16),
                ("error_message", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class AlterUserScramCredentialsRequest_v0(RequestStruct):  # noqa: N801
    """What the broker keeps of a password: salted and hashed by the client, so that the password itself is never sent."""

    FLEXIBLE_VERSION = True
    API_KEY = 51
    API_VERSION = 0
    RESPONSE_TYPE = AlterUserScramCredentialsResponse_v0
    SCHEMA = Schema(
        (
            "deletions",
            CompactArray(("name", CompactString("utf-8")), ("mechanism", Int8), ("tags", TaggedFields)),
        ),
        (
            "upsertions",
            CompactArray(
                ("name", CompactString("utf-8")),
                ("mechanism", Int8),
                ("iterations", Int32),
                ("salt", CompactBytes),
                ("salted_password", CompactBytes),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class AlterUserScramCredentialsRequest(Request[AlterUserScramCredentialsRequest_v0]):
    """`upsertions`: user, mechanism, iterations, salt, salted password."""

    API_KEY = 51

    def __init__(self, upsertions: Sequence[tuple[str, int, int, bytes, bytes]]) -> None:
        self._upsertions = upsertions

    def build(self, request_struct_class: type[AlterUserScramCredentialsRequest_v0]) -> Any:
        return request_struct_class([], [(*one, {}) for one in self._upsertions], {})


def acls_of(principal: str) -> DescribeAclsRequest:
    """Every rule that names the principal."""
    return DescribeAclsRequest(ANY, None, ANY, principal, None, ANY, ANY)


def create(acl: Acl) -> CreateAclsRequest:
    return CreateAclsRequest(*acl)


def delete(acl: Acl) -> DeleteAclsRequest:
    """This very rule and no other."""
    return DeleteAclsRequest(*acl)
