"""`sluice users`: who may ask Trino."""

import json
import os
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from catalog.errors import SluiceError
from infra.access.trino_users import PARTS, ROLES, User, changing, new_user, read_users

Folder = Annotated[
    Path | None,
    typer.Option("--folder", help="Where Trino reads who may come in. Default: SLUICE_TRINO_ACCESS, else this stack's."),
]  # fmt: skip
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class Role(StrEnum):
    """What a person may see."""

    READER = "reader"
    ENGINEER = "engineer"


users = typer.Typer(
    name="users",
    help="People who ask Trino by SQL. Readers see gold, and silver with masks; engineers see everything. Nobody of them writes. "
    "A running Trino follows within seconds.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@users.command()
def add(
    name: Annotated[str, typer.Argument(help="Small letters, digits and . _ @ -")],
    role: Annotated[Role, typer.Option("--role", "-r", help="What they may see.")] = Role.READER,
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """Let somebody in. The password is shown now and never again: only a hash of it is kept.

    Example: sluice users add ana --role engineer
    """
    user, password = new_user(name, role)
    with changing(_path(folder)) as known:
        if any(one.name == name for one in known):
            raise SluiceError(f"There is a user {name} already: `sluice users passwd {name}` gives a new password")
        known.append(user)
    _tell(user, password, as_json)


@users.command("list")
def list_users(folder: Folder = None, as_json: Json = False) -> None:
    """Show who may come in, and as what."""
    known = [user for user in read_users(_path(folder)) if user.name not in PARTS]
    if as_json:
        print(json.dumps([_facts(user) for user in known], indent=1))
        return
    table = Table("name", "role", box=None, pad_edge=False, header_style="bold")
    for user in known:
        table.add_row(user.name, _role(user))
    Console().print(table)


@users.command()
def passwd(
    name: Annotated[str, typer.Argument(help="Whose password.")], folder: Folder = None, as_json: Json = False
) -> None:
    """Give a new password; the old one ends."""
    with changing(_path(folder)) as known:
        place = _place(known, name)
        fresh, password = new_user(name, Role.READER)
        known[place] = replace(known[place], hash=fresh.hash)
        user = known[place]
    _tell(user, password, as_json)


@users.command()
def revoke(
    name: Annotated[str, typer.Argument(help="Who may not come in any more.")],
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """Let somebody out. A query that runs goes on to its end."""
    with changing(_path(folder)) as known:
        del known[_place(known, name)]
    print(json.dumps({"name": name, "revoked": True}) if as_json else f"{name} may not come in any more")


def _place(known: list[User], name: str) -> int:
    place = next((n for n, user in enumerate(known) if user.name == name and name not in PARTS), None)
    if place is None:
        raise SluiceError(f"There is no user {name}; `sluice users list` shows them")
    return place


def _path(folder: Path | None) -> Path:
    named = folder or os.environ.get("SLUICE_TRINO_ACCESS")
    if not named:
        raise SluiceError(
            "Where are Trino's users? Name the folder by --folder or SLUICE_TRINO_ACCESS, or `sluice up` first"
        )
    return Path(named)


def _role(user: User) -> str:
    return next((role for role, group in ROLES.items() if group == user.group), user.group or "none")


def _facts(user: User) -> dict[str, Any]:
    return {"name": user.name, "role": _role(user)}


def _tell(user: User, password: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps({**_facts(user), "password": password}))
        return
    typer.echo(f"{user.name} is a {_role(user)}. The password, shown only now:", err=True)
    print(password)
