"""Who may do what, as it is written for the servers."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from infra.access.accounts import ACCOUNTS, OPERATOR, AdminSettings
from infra.access.object_store import policy, signed
from infra.native import config


def test_no_policy_but_the_owners_reaches_beyond_the_warehouse() -> None:
    for account in ACCOUNTS:
        for statement in policy(account, "s3://lake/warehouse")["Statement"]:
            for resource in statement["Resource"]:
                if account.name != OPERATOR:
                    assert resource == "arn:aws:s3:::lake" or resource.startswith("arn:aws:s3:::lake/warehouse/")
                    assert not any("*" in action for action in statement["Action"])


def test_signature_is_the_one_of_the_standard() -> None:
    headers = signed("http://h:9000/p", b"", "a", "s", "us-east-1", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert headers["x-amz-date"] == "20260102T030405Z"
    assert headers["x-amz-content-sha256"] == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert "Credential=a/20260102/us-east-1/s3/aws4_request" in headers["authorization"]


def test_every_account_has_a_setting_for_its_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = config.choose(tmp_path, {})
    for name, value in config.administration(stack).items():
        monkeypatch.setenv(name, value)
    passwords = AdminSettings().passwords
    assert set(passwords) == {account.name for account in ACCOUNTS}
    assert len(set(passwords.values())) == len(ACCOUNTS)


def test_a_stack_of_before_accounts_has_their_passwords_too(tmp_path: Path) -> None:
    config.save(config.choose(tmp_path, {}))
    document = json.loads(config.settings_file(tmp_path).read_text())
    assert set(document["passwords"]) == {"postgres", "lake", "s3"}
    first, again = config.load(tmp_path), config.load(tmp_path)
    assert first
    assert again
    assert first.password("stream") == again.password("stream") != first.password("trino")
