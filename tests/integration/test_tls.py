"""Every way between the parts, encrypted by settings alone, with an authority that nobody else knows."""

import asyncio
import json
import ssl
from collections import ChainMap
from pathlib import Path

import httpx
import pytest

from catalog import kafka_client, query
from catalog.errors import SluiceError
from catalog.lake import prepare
from infra.demo.generate import users
from infra.native import encryption
from tests.certificates import serial_shown, write_pair, write_signed
from tests.stack import WAIT, Stack

pytestmark = pytest.mark.stack


def test_all_ways_are_encrypted_by_setting(folder: Path, fresh: Stack) -> None:
    ways = [write_signed(folder, way) for way in map(encryption.variables, encryption.WAYS)]
    fresh.settings = dict(ChainMap(*ways), SLUICE_TRINO_AUTHENTICATION="password")
    fresh.up("postgres", "minio", "kafka", "trino", "gateway", "stream", "maintenance", "ui")
    lake = fresh.lake()
    addresses = (lake.kafka_security_protocol, lake.s3_endpoint, lake.trino_url, lake.gateway_url)
    assert [address.split(":")[0] for address in addresses] == ["SASL_SSL", "https", "https", "https"]
    fresh.sluice("send", "-", "--stream", "users", stdin=json.dumps(next(iter(users(1)))))
    reports = json.loads(fresh.sluice("verify", "--wait", WAIT, "--json"))
    assert {report["stream"]: report["totals"]["silver"] for report in reports if report["ok"]}["users"] == 1
    assert query.rows(lake, "select count(*) as rows from silver.users") == [{"rows": 1}], "Trino reads the files"
    explorer = fresh.env()["SLUICE_UI_URL"]
    assert explorer.startswith("https://")
    assert httpx.get(explorer, verify=ssl.create_default_context(cafile=fresh.settings["SLUICE_UI_CA"])).is_success
    fresh.sluice("maintain", "--json")  # Java's way to the object store, of a process of its own
    told: dict[str, dict[str, object]] = {
        "certificate that is not trusted": {"kafka_ca": None},
        "may want encryption": {"kafka_security_protocol": "SASL_PLAINTEXT", "kafka_ca": None},
        "wrong password": {"kafka_password": "not-it"},
    }
    for words, change in told.items():
        reason = asyncio.run(kafka_client.refusal(lake.model_copy(update=change)))
        assert words in str(reason)
    assert asyncio.run(kafka_client.refusal(lake)) is None
    write_pair(folder / "other.crt", folder / "other.key")
    for stranger in (None, folder / "other.crt"):
        with pytest.raises(SluiceError, match=r"certificate that is not trusted: name the file .* by SLUICE_S3_CA"):
            prepare(lake.model_copy(update={"s3_ca": stranger}))


def test_a_new_certificate_of_the_object_store_counts_after_its_restart(folder: Path, fresh: Stack) -> None:
    fresh.settings = write_signed(folder, encryption.variables("minio"))
    fresh.up("minio")
    port = int(fresh.env()["SLUICE_PORT_MINIO"])
    before = serial_shown(port)
    certificate, key, authority = (Path(fresh.settings[name]) for name in encryption.variables("minio"))
    serial = write_pair(certificate, key)
    authority.write_bytes(certificate.read_bytes())
    assert serial != before
    fresh.sluice("restart", "minio")
    assert serial_shown(port) == serial
