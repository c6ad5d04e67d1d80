"""The HTTP interface is what its OpenAPI document says, whoever speaks it: generated requests, CloudEvents' own SDK, people."""

import contextlib
import json
import re
import secrets
import subprocess
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from cloudevents.core.bindings import http as binding
from cloudevents.core.bindings import kafka
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import CHECKS
from schemathesis.generation import GenerationMode

from catalog.contract import SUFFIX
from catalog.settings import BUNDLED_CONTRACTS
from ingest_gateway.bodies import TAKEN
from tests.gateway import SLOWEST, Gateway, running_gateway
from tests.stack import CHECKOUT, Stack, eventually, patient

pytestmark = pytest.mark.stack
KITCHEN_SINK = CHECKOUT / "tests" / "contracts" / f"kitchen_sink{SUFFIX}"


@pytest.fixture(scope="module")
def gateway(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running_gateway(stack, tmp_path_factory.mktemp("contracts"), max_events="50", max_depth="20") as running:
        yield running


def serve(gateway: Gateway, contract: Path) -> str:
    """A stream by a contract that is there already, under a name of its own."""
    name = f"{contract.name.removesuffix(SUFFIX)}_{secrets.token_hex(3)}"
    gateway.make_topic(name)
    (gateway.contracts / f"{name}{SUFFIX}").write_text(contract.read_text())
    eventually(lambda: name in gateway.ready()["contracts"]["served"], 20, f"{name} served")
    gateway.await_status("ready")
    return name


@pytest.fixture(scope="module")
def sink(gateway: Gateway) -> str:
    return serve(gateway, KITCHEN_SINK)


@pytest.fixture(scope="module")
def orders(gateway: Gateway) -> str:
    return serve(gateway, BUNDLED_CONTRACTS / f"orders{SUFFIX}")


@schemathesis.serializer("application/x-ndjson")
def lines(context: Any, value: Any) -> Any:
    return value.encode("utf-8", "replace") if isinstance(value, str) else json.dumps(value).encode()


CHECKED = {
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance",
    "response_headers_conformance",
}  # fmt: skip
BOUNDED = settings(
    max_examples=120, deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


def exercise(operation: Any, mode: GenerationMode, examples: int) -> Counter[tuple[str, int]]:
    """Ask for one operation as its description allows, or doesn't. Kinds of bodies and statuses that were answered."""
    checks = [check for check in CHECKS.get_all() if check.__name__ in CHECKED]
    assert len(checks) == len(CHECKED)
    seen: Counter[tuple[str, int]] = Counter()

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(BOUNDED, max_examples=examples)
    def ask(case: Any) -> None:
        answer = case.call(timeout=SLOWEST)
        case.validate_response(answer, checks=checks)
        seen[case.media_type or "", answer.status_code] += 1

    with contextlib.suppress(Unsatisfiable):  # what has no parameters can't be asked for wrongly
        ask()
    return seen


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_generated_requests_get_answers_that_are_declared(
    gateway: Gateway, sink: str, orders: str, mode: GenerationMode
) -> None:
    schema = schemathesis.openapi.from_url(f"{gateway.url}/openapi.json")
    seen: Counter[tuple[str, int]] = Counter()
    for found in schema.get_all_operations():
        operation: Any = found.ok()  # type: ignore[union-attr]
        if operation.method == "post":
            seen += exercise(operation, mode, 100)
        else:
            exercise(operation, mode, 10)
    assert {202, 422} <= {status for _, status in seen}
    assert len({kind for kind, _ in seen}) == 6
    if mode is GenerationMode.POSITIVE:  # what keeps a stream's schema is taken
        assert {status for kind, status in seen if "json" in kind and "ndjson" not in kind} == {202}
    gateway.await_status("ready")


def envelope(number: int) -> CloudEvent:
    attributes = {
        "id": f"sdk-{number}",
        "source": "/sdk",
        "type": "order.placed",
        "specversion": "1.0",
        "tenant": "Zoë 1",
    }
    order = {
        "order_id": str(uuid.UUID(int=number)),
        "product_id": "WHEY001",
        "quantity": number,
        "timestamp": "2026-11-20T10:15:30Z",
    }
    return CloudEvent(attributes, order)


def test_events_of_the_cloudevents_sdk_are_taken_in_each_mode(gateway: Gateway, orders: str) -> None:
    form = JSONFormat()
    batch = b"[%b]" % b",".join(form.write(envelope(number)) for number in (3, 4))
    messages = [
        binding.to_binary(envelope(1), form),
        binding.to_structured(envelope(2), form),
        binding.HTTPMessage({"content-type": "application/cloudevents-batch+json"}, batch),
    ]
    ids = []
    for message in messages:
        answer = gateway.post(orders, message.body, dict(message.headers))
        assert answer.status_code == 202, answer.text
        ids += [event["id"] for event in answer.json()["events"]]
    assert ids == [f"sdk-{number}" for number in (1, 2, 3, 4)]
    kept = {record.headers["ce_id"].decode(): record for record in gateway.records(orders)}
    for number in (1, 2, 3, 4):
        record, sent = kept[f"sdk-{number}"], envelope(number)
        assert json.loads(record.value) == sent.get_data()
        assert record.headers["ce_source"] == b"/sdk"
        assert record.headers["ce_type"] == b"order.placed"
        assert record.headers["ce_tenant"].decode() == "Zoë 1"


def test_a_record_is_a_cloudevent_for_the_sdk(gateway: Gateway, orders: str) -> None:
    sent = envelope(7).get_data()
    assert gateway.post(orders, json.dumps(sent).encode(), {"idempotency-key": "k7"}).status_code == 202
    [record] = [record for record in gateway.records(orders) if record.headers["ce_id"] == b"k7"]
    message = kafka.KafkaMessage(headers=record.headers, key=record.key, value=record.value)
    event = kafka.from_binary(message, JSONFormat(), CloudEvent)
    assert (event.get_id(), event.get_data()) == ("k7", sent)


SCALARS = [
    b"1",
    b"-0",
    b"1e400",
    b"NaN",
    b'"a"',
    b'"\\ud800"',
    b"null",
    b"\xff",
    b"123456789012345678901234567890",
    b"",
]
MEMBERS = st.sampled_from([b'"order_id"', b'"data"', b'"id"', b"x"])
NEARLY_JSON = st.recursive(
    st.sampled_from(SCALARS),
    lambda inner: st.lists(inner, max_size=4).map(lambda parts: b"[%b]" % b",".join(parts))
    | st.lists(st.tuples(MEMBERS, inner), max_size=4).map(lambda pairs: b"{%b}" % b",".join(map(b":".join, pairs))),
    max_leaves=30,
)  # fmt: skip
BROKEN = st.binary(max_size=300) | st.text(max_size=200).map(lambda text: text.encode()) | NEARLY_JSON
HEADERS = st.fixed_dictionaries(
    {"content-type": st.sampled_from([*TAKEN, "multipart/form-data; boundary=b", "text/json; charset=latin-1", "image/png"])},
    optional={
        "content-encoding": st.sampled_from(["gzip", "zstd", "identity", "br"]),
        "idempotency-key": st.sampled_from(["k", '"k"', "a b", "x" * 201]),
        "ce-id": st.sampled_from(["1", "%C3%A9", "x" * 201]),
        "ce-specversion": st.sampled_from(["1.0", "0.3"]),
        "prefer": st.sampled_from(["return=minimal", ";;", "wait=0"]),
        "authorization": st.sampled_from(["Bearer x", "Basic eDp5", "x"]),
    },
)  # fmt: skip
DECLARED = {202, 207, 400, 401, 408, 413, 415, 422}


def test_no_body_makes_the_gateway_fail(gateway: Gateway, orders: str) -> None:
    statuses: Counter[int] = Counter()
    with httpx.Client(base_url=gateway.url, timeout=SLOWEST) as client:

        @given(BROKEN, HEADERS)
        @settings(BOUNDED, max_examples=1000)
        def send(body: bytes, headers: dict[str, str]) -> None:
            answer = client.post(f"/v1/streams/{orders}/events", content=body, headers=headers)
            assert answer.status_code in DECLARED, (headers, body, answer.text)
            assert answer.json()
            statuses[answer.status_code] += 1

        send()
    assert {202, 400, 415, 422} <= set(statuses)
    gateway.await_status("ready")
    assert "request failed" not in gateway.log.read_text()


def test_the_programs_that_a_stream_shows_send_an_event(
    gateway: Gateway, orders: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = httpx.get(f"{gateway.url}/v1/streams/{orders}", timeout=SLOWEST).json()["examples"]
    exec(compile(shown["python"], "example", "exec"), {})
    assert capsys.readouterr().out.startswith("accepted ")
    done = subprocess.run(
        ["bash", "-c", shown["curl"]], capture_output=True, text=True, timeout=patient(60), check=True
    )
    assert " 202 " in done.stdout.splitlines()[0]
    sent = [
        json.loads(r.value)
        for r in gateway.records(orders)
        if r.headers["ce_id"].decode() == shown["event"]["order_id"]
    ]
    assert sent == [shown["event"]] * 2


def test_a_form_that_is_sent_is_a_record_like_any_other(gateway: Gateway, sink: str) -> None:
    with httpx.Client(base_url=gateway.url, headers={"accept": "text/html"}, timeout=SLOWEST) as browser:
        hidden = dict(
            re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', browser.get(f"/forms/{sink}").text)
        )
        texts = {"code": "ZZ1", "count": "7", "price": "0.10", "size": "small", "fragile": "false", "packed_at": "2026-07-01T12:00",
                 "lat": "1", "lon": "2", "_zone": "Europe/Zurich", **hidden}  # fmt: skip
        answers = [browser.post(f"/forms/{sink}", data=texts) for _ in range(2)]
        wrong = browser.post(f"/forms/{sink}", data={**texts, "code": "zz"})
    assert [answer.status_code for answer in (*answers, wrong)] == [202, 202, 422]
    records = [record for record in gateway.records(sink) if record.key == b"ZZ1"]
    assert {record.value for record in records} == {
        b'{"code":"ZZ1","count":7,"price":0.10,"size":"small","fragile":false,"packed_at":"2026-07-01T12:00:00+02:00","geo":{"at":[2,1]}}'
    }
    [event_id] = {record.headers["ce_id"].decode() for record in records}
    for answer, record in zip(answers, records, strict=True):
        assert event_id in answer.text
        assert f"partition {record.partition}, offset {record.offset}" in answer.text
