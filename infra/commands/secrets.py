"""`sluice secrets`: make the passwords of a stack in containers."""

import base64
import re
import secrets as randomness
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
import yaml

from catalog.errors import SluiceError
from infra.native.config import CHECKOUT
from infra.private_files import write_private

EXAMPLE = CHECKOUT / ".env.example"
NAME = "sluice-secrets"
LOCAL = ("localhost", "127.0.0.1")  # as `kubectl port-forward` has them
PLAIN = re.compile(r"[A-Za-z0-9_.~-]+")  # what stands for itself wherever a password is put


@dataclass(frozen=True)
class Pair:
    """A key and its certificate, which nobody else signed: for Kubernetes, where no step can hand one on."""

    variable: str  # holds both in the file, base64
    secret: str
    names: tuple[str, ...]


TRINO = Pair("TRINO_TLS", "trino-tls", ("trino", *LOCAL))
OTHERS = (
    Pair("SERVERS_TLS", "servers-tls", ("broker", "minio", "postgres", *LOCAL)),
    Pair("GATEWAY_TLS", "gateway-tls", ("gateway", *LOCAL)),
    Pair("METRICS_TLS", "metrics-tls", ("gateway", "stream", "maintenance", "verify-watch", "gold", *LOCAL)),
)


def secrets(
    file: Annotated[Path, typer.Option(help="Where they are kept.")] = CHECKOUT / ".env",
    kubernetes: Annotated[
        bool,
        typer.Option(
            "--kubernetes", help="Print them as Secrets for `kubectl apply -f -`, with a certificate for Trino."
        ),
    ] = False,
    tls: Annotated[
        bool,
        typer.Option(
            "--tls", help="With --kubernetes: also a certificate for each of the components that end in -tls."
        ),
    ] = False,
) -> None:
    """Write a random password for each that .env.example names and the file does not have yet. Those that it has stay.

    Exit code: 0 done, 1 the file can't be read or written, 2 wrong usage.
    """
    if tls and not kubernetes:
        raise typer.BadParameter("--tls makes Secrets: it belongs to --kubernetes")
    pairs = (TRINO, *(OTHERS if tls else ()))
    try:
        text = file.read_text() if file.exists() else EXAMPLE.read_text()
        complete = filled(text, EXAMPLE.read_text())
        _refuse_others(complete, file)
        if kubernetes:
            for pair in pairs:
                complete = with_certificate(complete, pair)
        write_private(file, complete)
    except UnicodeDecodeError:
        raise SluiceError(f"{file} is not UTF-8 text: name another file with --file") from None
    except OSError as failure:
        raise SluiceError(f"{file}: {failure.strerror}: name another file with --file") from None
    if kubernetes:
        manifests = [manifest(complete), *(certificate_manifest(complete, pair) for pair in pairs)]
        print(yaml.safe_dump_all(manifests, sort_keys=False), end="")
    else:
        print(f"{file} holds the passwords; keep it to yourself.")


def filled(text: str, example: str) -> str:
    """The text with a random value for each name of the example that has none or that it lacks; other lines stay as they are."""
    known, wanted = _values(text), _values(example)
    lines = [*text.splitlines(), *(f"{name}=" for name in wanted if name not in known)]
    return "".join(f"{_with_value(line, wanted)}\n" for line in lines)


def _with_value(line: str, wanted: Container[str]) -> str:
    empty = [name for name, value in _values(line).items() if not value and name in wanted]
    return f"{empty[0]}={randomness.token_hex(20)}" if empty else line


def _values(text: str) -> dict[str, str]:
    """Name → value, as Compose reads them: without quotes around, and without `export` before."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.lstrip().startswith("#"))
    return {name.strip().removeprefix("export ").strip(): _unquoted(value.strip()) for name, _, value in pairs}


def _unquoted(value: str) -> str:
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if quoted else value


def _refuse_others(text: str, file: Path) -> None:
    """Raises SluiceError for a password that would mean something else, or break, in one of the places that it is put into."""
    values = _values(text)
    for name in _values(EXAMPLE.read_text()):
        if not PLAIN.fullmatch(values[name]):
            raise SluiceError(
                f"{file}: {name} may hold only letters, digits and . _ ~ - (it is put into addresses, SQL and other servers' "
                "settings, where the rest means something): change it, or empty it for a random one"
            )


def manifest(text: str) -> dict[str, object]:
    """A Secret with what the example names; other lines of the file are settings of Compose."""
    values, names = _values(text), _values(EXAMPLE.read_text())
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": NAME, "labels": {"app.kubernetes.io/part-of": "sluice"}},
        "type": "Opaque",
        "stringData": {name: values[name] for name in names},
    }


def with_certificate(text: str, pair: Pair) -> str:
    """The text with this key and certificate, made if it has none or one that is about to end."""
    from infra.access import certificate  # imported late: cryptography takes its time

    kept = _values(text).get(pair.variable, "")
    if kept and certificate.serves(_pem(kept)[1], pair.names):
        return text
    made = base64.b64encode("".join(certificate.self_signed(pair.names)).encode()).decode()
    lines = [line for line in text.splitlines() if not line.startswith(f"{pair.variable}=")]
    return "".join(f"{line}\n" for line in [*lines, f"{pair.variable}={made}"])


def certificate_manifest(text: str, pair: Pair) -> dict[str, object]:
    """The Secret from which a server takes its certificate, and those who ask it whom to trust: as cert-manager writes it."""
    key, public = _pem(_values(text)[pair.variable])
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": pair.secret, "labels": {"app.kubernetes.io/part-of": "sluice"}},
        "type": "kubernetes.io/tls",
        "stringData": {"tls.key": key, "tls.crt": public, "ca.crt": public},
    }


def _pem(pair: str) -> tuple[str, str]:
    text = base64.b64decode(pair).decode()
    cut = text.index("-----BEGIN CERTIFICATE-----")
    return text[:cut], text[cut:]
