"""The OpenAPI document: complete, true to the contracts, and readable as a page."""

import re
import shutil
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import schemathesis

from catalog.odcs import load_contracts
from catalog.settings import BUNDLED_CONTRACTS
from ingest_gateway import bodies, openapi
from ingest_gateway.problems import TITLES
from ingest_gateway.settings import GatewaySettings
from ingest_gateway.streams import Served
from tests.unit.test_gateway_app import Client

SERVED = [Served.of(stream) for _, stream in sorted(load_contracts(BUNDLED_CONTRACTS).items())]
DOCUMENT = openapi.document(SERVED, GatewaySettings())
HTML = {"accept": "text/html"}


@pytest.fixture
def client(tmp_path: Path) -> Client:
    shutil.copytree(BUNDLED_CONTRACTS, tmp_path, dirs_exist_ok=True)
    return Client(tmp_path)


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for child in node.values():
            yield from nodes(child)
    elif isinstance(node, list):
        for child in node:
            yield from nodes(child)


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def inlined(node: Any) -> Any:
    """A schema without references, for a validator."""
    if isinstance(node, dict) and "$ref" in node:
        rest = {word: part for word, part in node.items() if word != "$ref"}
        return inlined({"allOf": [openapi.resolved(DOCUMENT, {"$ref": node["$ref"]}), rest]})
    if isinstance(node, dict):
        return {word: inlined(part) for word, part in node.items()}
    return [inlined(part) for part in node] if isinstance(node, list) else node


def test_it_is_openapi() -> None:
    schemathesis.openapi.from_dict(DOCUMENT).validate()
    with pytest.raises(Exception, match="info"):
        schemathesis.openapi.from_dict({**DOCUMENT, "info": {}}).validate()


def test_every_reference_leads_somewhere_and_every_part_is_used() -> None:
    used = {node["$ref"] for node in nodes(DOCUMENT) if "$ref" in node}
    parts = {
        f"#/components/{kind}/{name}" for kind, found in DOCUMENT["components"].items() for name in found
        if kind not in ("securitySchemes",)
    }  # fmt: skip
    assert used <= parts
    assert parts - used == {"#/components/responses/Problem405"}  # of methods that the document doesn't name


def test_every_stream_has_its_path_with_its_own_schema() -> None:
    for served in SERVED:
        name = served.stream.name
        operation = DOCUMENT["paths"][f"/v1/streams/{name}/events"]["post"]
        assert set(operation["requestBody"]["content"]) <= set(bodies.TAKEN)
        schema = DOCUMENT["components"]["schemas"][name]
        assert schema["properties"] == served.checker.schema["properties"]
    ids = [operation["operationId"] for _, _, operation in operations()]
    assert len(ids) == len(set(ids))


def test_every_status_that_a_submission_can_have_is_declared() -> None:
    for path, method, operation in operations():
        if method == "post":
            declared = {int(status) for status in operation["responses"]}
            assert declared == {202, 207, 422} | set(TITLES) - {405, 500}, path


def test_examples_keep_their_schemas() -> None:
    checked = 0
    for _, _, operation in operations():
        for body in operation.get("requestBody", {}).get("content", {}).values():
            validator = jsonschema_rs.Draft202012Validator(inlined(body["schema"]), validate_formats=True)
            for example in body.get("examples", {}).values():
                assert validator.is_valid(example["value"]), list(validator.iter_errors(example["value"]))
                checked += 1
    for schema in DOCUMENT["components"]["schemas"].values():
        validator = jsonschema_rs.Draft202012Validator(inlined(schema))
        assert all(validator.is_valid(example) for example in schema.get("examples", ()))
    assert checked == 5 * len(SERVED)


def test_what_the_gateway_answers_is_what_the_document_says(client: Client) -> None:
    for path in ("/v1/streams", "/v1/streams/orders", "/healthz", "/readyz"):
        answer = client.get(path)
        declared = openapi.resolved(DOCUMENT, DOCUMENT["paths"][path]["get"]["responses"][str(answer.status_code)])
        schema = inlined(declared["content"]["application/json"]["schema"])
        jsonschema_rs.Draft202012Validator(schema).validate(answer.json())


def test_keys_are_asked_for_as_the_settings_say(tmp_path: Path) -> None:
    required = openapi.document(SERVED, GatewaySettings(authentication="required", keys=tmp_path / "keys.json"))
    assert {} not in required["security"]
    assert {} in DOCUMENT["security"]


def test_the_document_and_its_page_show_the_same(client: Client) -> None:
    document = client.get("/openapi.json").json()
    assert document == DOCUMENT
    answer = client.get("/docs?lang=fr", headers=HTML)
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    page = unescape(answer.text)
    assert "Référence de l’API" in page
    for path, _, operation in operations():
        assert f"<code>{path}</code>" in page
        assert operation["summary"] in page
    anchors = set(re.findall(r' id="([^"]+)"', page))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= anchors
    assert "<script" not in page


def test_only_streams_that_the_reader_may_see_are_in_it(tmp_path: Path) -> None:
    (tmp_path / "contracts").mkdir()
    shutil.copytree(BUNDLED_CONTRACTS, tmp_path / "contracts", dirs_exist_ok=True)
    client = Client(tmp_path / "contracts", authentication="required", keys=tmp_path / "keys.json")
    document = client.get("/openapi.json").json()
    assert set(document["paths"]) == {"/v1/streams", "/healthz", "/readyz", "/metrics"}
    assert "orders" not in document["components"]["schemas"]
    assert "/v1/streams/orders" not in client.get("/docs", headers=HTML).text
