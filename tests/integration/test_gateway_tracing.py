"""A request's trace, from the caller over the gateway's span at a collector to the record in Kafka."""

from pathlib import Path

import pytest

from tests.collector import running_collector
from tests.gateway import reading, running_gateway
from tests.stack import Stack, eventually

pytestmark = pytest.mark.stack


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_record_carries_the_gateways_span(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: str
) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with running_collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "front-door")
        with running_gateway(stack, tmp_path, workers=workers) as gateway:
            stream = gateway.stream("gw_traced")
            answer = gateway.post(stream, reading("a", 1), {"traceparent": caller})
            assert answer.status_code == 202
            eventually(lambda: any("POST" in span.name for _, span in collector.spans), 60, "the span")
            [(resource, span)] = [found for found in collector.spans if "POST" in found[1].name]
            [record] = gateway.records(stream)
    assert resource["service.name"] == "front-door"
    assert span.parent_span_id.hex() == caller.split("-")[2]
    assert record.headers["traceparent"].decode() == f"00-{caller.split('-')[1]}-{span.span_id.hex()}-01"
