"""What Spark is started with, without starting it."""

from pathlib import Path

import pytest

from catalog.errors import SluiceError
from catalog.settings import LakeSettings, read_settings
from stream_jobs import session
from stream_jobs.settings import StreamSettings


def test_folders_with_blanks_in_their_names_reach_the_jvm_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "a lake"
    monkeypatch.setenv("SLUICE_STATE", str(state))
    monkeypatch.setenv("SLUICE_STREAM_JAVA_OPTIONS", "-XX:SharedArchiveFile='/home/ann b/spark.jsa' -Xss2m")
    told = session._configuration(read_settings(LakeSettings), read_settings(StreamSettings), ["/jars/a.jar"])
    java = told["spark.driver.extraJavaOptions"]
    assert "'-XX:SharedArchiveFile=/home/ann b/spark.jsa' -Xss2m" in java
    assert f"'-Dderby.system.home={state}/stream'" in java
    assert not any("s3." in name or "jdbc" in name for name in told), "no password may stand in the command line"


def test_options_with_half_a_quote_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_STREAM_JAVA_OPTIONS", "-Dname='half")
    with pytest.raises(
        SluiceError, match=r"SLUICE_STREAM_JAVA_OPTIONS=.*No closing quotation; expected options as in a"
    ):
        read_settings(StreamSettings)
