"""Fetch Maven artifacts with the Apache Ivy that pyspark carries. No file names a registry: Ivy's own default is used, or the
user's settings file where `SLUICE_IVY_SETTINGS` names one (a company's mirror)."""

import importlib.util
import os
import ssl
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Event
from urllib.parse import urlsplit
from xml.sax.saxutils import quoteattr

from catalog.errors import SluiceError
from catalog.trust import java_options, key_store
from infra.native.tools import run_tool

# POMs are left out: what is needed is in the lock, file by file, and resolving them would take minutes.
SETTINGS_WITHOUT_POMS = """\
<ivysettings>
  <settings defaultResolver="central"/>
  <resolvers><ibiblio name="central" m2compatible="true" usepoms="false" useMavenMetadata="false" checksums=""/></resolvers>
</ivysettings>
"""
RETRIEVED = "[organisation]__[artifact]-[revision].[ext]"


def ivy_jar() -> Path:
    found = importlib.util.find_spec("pyspark")
    jars = (
        sorted(Path(found.submodule_search_locations[0], "jars").glob("ivy-*.jar"))
        if found and found.submodule_search_locations
        else []
    )
    if not jars:
        raise SluiceError(
            "pyspark's Ivy is missing: remove the environment (`sluice doctor` shows where) and start again"
        )
    return jars[0]


def retrieve(
    coordinates: Iterable[str],
    java: Path,
    own_trust: bool,
    work: Path,
    stop: Event,
    watch: Callable[[], None] | None = None,
    transitive: bool = False,
) -> list[Path]:
    """Fetch `group:name:version[:type]` into `work/files`, each named `group__name-version.type`.

    With `transitive`, all that they depend on comes too (slow: reads POMs). `own_trust` gives the JVM this machine's certificate
    authorities, for a Java that does not know them.
    """
    work.mkdir(parents=True, exist_ok=True)
    (work / "ivy.xml").write_text(_ivy_file(coordinates, transitive))
    (work / "settings.xml").write_text(SETTINGS_WITHOUT_POMS)
    named = os.environ.get("SLUICE_IVY_SETTINGS")
    settings = ["-settings", named] if named else [] if transitive else ["-settings", str(work / "settings.xml")]
    command = [
        str(java),
        "-Xmx256m",
        *_proxy_options(),
        *(_trust_options(work / "authorities.jks") if own_trust else []),
        *("-jar", str(ivy_jar()), *settings, "-ivy", str(work / "ivy.xml"), "-cache", str(work / "cache")),
        *("-retrieve", str(work / "files" / RETRIEVED), "-warn"),
    ]
    run_tool(command, work / "ivy.log", stop, watch=watch)
    return sorted((work / "files").iterdir())


def _ivy_file(coordinates: Iterable[str], transitive: bool) -> str:
    lines = []
    for coordinate in coordinates:
        group, name, version, *rest = coordinate.split(":")
        kind = rest[0] if rest else "jar"
        follow = transitive and not version.endswith("!") and not kind.endswith("!")
        version, kind = version.rstrip("!"), kind.rstrip("!")
        artifact = f"<artifact name={quoteattr(name)} type={quoteattr(kind)} ext={quoteattr(kind)}/>"
        mapping = "default->default" if follow else "default->master" if transitive else "default->*"
        lines.append(
            f"    <dependency org={quoteattr(group)} name={quoteattr(name)} rev={quoteattr(version)} conf={quoteattr(mapping)} "
            f'transitive="{str(follow).lower()}">{"" if follow else artifact}</dependency>'
        )
    return (
        '<ivy-module version="2.0">\n  <info organisation="sluice" module="servers"/>\n'
        '  <configurations><conf name="default"/></configurations>\n  <dependencies>\n'
        + "\n".join(lines)
        + "\n  </dependencies>\n</ivy-module>\n"
    )


def _proxy_options() -> list[str]:
    """Java does not read HTTPS_PROXY."""
    proxy = urlsplit(os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy") or "")
    return [f"-Dhttps.proxyHost={proxy.hostname}", f"-Dhttps.proxyPort={proxy.port or 8080}"] if proxy.hostname else []


def _trust_options(store: Path) -> list[str]:
    authorities = ssl.create_default_context().get_ca_certs(binary_form=True)
    if not authorities:
        return []
    store.write_bytes(key_store(authorities))
    return java_options(store)
