"""`sluice keys`: who may submit and read."""

import difflib
import json
import os
import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from catalog.contract import SUFFIX
from catalog.errors import SluiceError
from catalog.settings import lake_settings
from ingest_gateway.api_keys import ApiKey, changing, is_scope, new_key, read_keys

UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
File = Annotated[
    Path | None, typer.Option("--file", help="The gateway's file of keys. Default: SLUICE_GATEWAY_KEYS, else this stack's.")
]  # fmt: skip
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class Verb(StrEnum):
    """What a key may do with a stream."""

    SUBMIT = "submit"
    READ = "read"


keys = typer.Typer(
    name="keys",
    help="API keys: who may submit to which stream, and read its contract. A running gateway follows within seconds.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@keys.command()
def add(
    name: Annotated[str, typer.Argument(help="Whose key it is; for people, may be there twice.")],
    stream: Annotated[
        list[str] | None,
        typer.Option("--stream", "-s", help="Stream, or beginning of streams' names with * after it. May be repeated."),
    ] = None,
    verb: Annotated[list[Verb] | None, typer.Option("--verb", "-v", help="May be repeated. Default: submit.")] = None,
    expires: Annotated[
        str | None, typer.Option(help="When it ends: 90d, 12h, or a date like 2027-01-31. Default: never.")
    ] = None,
    file: File = None,
    as_json: Json = False,
) -> None:
    """Make a key. Its text is shown now and never again: only a hash of it is kept.

    To replace a key without a gap, add the new one, give it to its owner, then revoke the old one.
    """
    if not stream:
        raise SluiceError("Say for which streams: --stream orders, or --stream '*' for all")
    scopes = [f"{each}:{_checked(one)}" for one in stream for each in verb or [Verb.SUBMIT]]
    if not name.strip() or not name.isprintable() or len(name) > 100:
        raise SluiceError("A key's name is 1 to 100 characters that can be printed")
    with changing(_path(file)) as known:
        key, text = new_key(name, scopes, _moment(expires) if expires else None)
        known.append(key)
    if as_json:
        print(json.dumps({**_facts(key), "key": text}))
        return
    typer.echo(f"{key.id} may {', '.join(scopes)}. Its key, shown only now:", err=True)
    print(text)


@keys.command("list")
def list_keys(file: File = None, as_json: Json = False) -> None:
    """Show all keys, without their secrets."""
    known = read_keys(_path(file)).keys
    if as_json:
        print(json.dumps([_facts(key) for key in known], indent=1))
        return
    table = Table("id", "name", "may", "made", "ends", box=None, pad_edge=False, header_style="bold")
    for key in known:
        table.add_row(key.id, key.name, " ".join(key.scopes), f"{key.created:%Y-%m-%d}", _end(key))
    Console().print(table)


@keys.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id, from `sluice keys list`.")],
    after: Annotated[str | None, typer.Option(help="Let it end later: 1h, 7d. Default: at once.")] = None,
    file: File = None,
    as_json: Json = False,
) -> None:
    """End a key. What it sent stays, and stays under its id."""
    with changing(_path(file)) as known:
        place = next((n for n, key in enumerate(known) if key.id == key_id), None)
        if place is None:
            raise SluiceError(f"There is no key {key_id}; `sluice keys list` shows them")
        key = known[place]
        if after is None:
            del known[place]
        else:
            end = _moment(after)
            end = min(end, key.expires) if key.expires else end
            known[place] = ApiKey(
                id=key.id, name=key.name, hash=key.hash, scopes=key.scopes, created=key.created, expires=end
            )
    if as_json:
        print(json.dumps({"id": key_id, "revoked": after is None}))
    else:
        print(f"{key_id} ({key.name}) is revoked" if after is None else f"{key_id} ({key.name}) ends in {after}")


def _path(file: Path | None) -> Path:
    named = file or os.environ.get("SLUICE_GATEWAY_KEYS")
    if not named:
        raise SluiceError(
            "Where are the keys? Name the gateway's file by --file or SLUICE_GATEWAY_KEYS, or `sluice up` first"
        )
    return Path(named)


def _checked(stream: str) -> str:
    if not is_scope(f"{Verb.SUBMIT}:{stream}"):
        raise SluiceError(f"{stream!r} is no stream's name, and no beginning of one with * after it")
    folder = lake_settings().contracts
    names = [path.name.removesuffix(SUFFIX) for path in folder.glob(f"*{SUFFIX}")]
    if not stream.endswith("*") and stream not in names:
        close = difflib.get_close_matches(stream, names, n=1)
        hint = f"did you mean {close[0]}?" if close else f"{folder} has {', '.join(sorted(names)) or 'none'}"
        raise SluiceError(f"There is no stream {stream}; {hint}")
    return stream


def _moment(text: str) -> datetime:
    now = datetime.now(UTC).replace(microsecond=0)
    if found := re.fullmatch(r"([1-9][0-9]{0,4})([mhdw])", text):
        return now + int(found[1]) * UNITS[found[2]]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise SluiceError(f"{text!r} is no time: write it like 90d, 12h or 2027-01-31") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if moment <= now:
        raise SluiceError(f"{text} is over already")
    return moment


def _end(key: ApiKey) -> str:
    if key.expires is None:
        return "never"
    return "expired" if key.expired(datetime.now(UTC)) else f"{key.expires:%Y-%m-%d %H:%M} UTC"


def _facts(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "scopes": list(key.scopes),
        "created": key.created.isoformat(),
        "expires": key.expires.isoformat() if key.expires else None,
        "expired": key.expired(datetime.now(UTC)),
    }
