"""Which Java is used, and how it is told whom to believe."""

from pathlib import Path

import pytest

from catalog.errors import SluiceError
from catalog.java import java_home
from catalog.trust import for_java
from infra.access.certificate import self_signed


def test_the_java_that_is_named_is_used_before_the_systems(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SLUICE_JAVA", raising=False)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    assert java_home() is None
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "image"))
    assert java_home() == tmp_path / "image"
    monkeypatch.setenv("SLUICE_JAVA", str(tmp_path / "named" / "bin" / "java"))
    assert java_home() == tmp_path / "named"


def test_without_a_keytool_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text(self_signed(["minio"])[1])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert for_java(None, "SLUICE_S3_CA", None, tmp_path / "store") == []
    with pytest.raises(SluiceError, match=r"SLUICE_S3_CA=.* keytool: set JAVA_HOME"):
        for_java(tmp_path / "ca.crt", "SLUICE_S3_CA", None, tmp_path / "store")
