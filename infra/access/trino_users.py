"""Who may ask Trino: the files of its password authenticator and of its group provider, which it reads again when they change.

They are the truth themselves: `password.db` has a line `NAME:HASH` for each user, `group.txt` a line `GROUP:NAME,NAME`.
"""

import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from catalog.errors import SluiceError
from infra.access.accounts import OPERATOR
from infra.access.trino_rules import BUILDERS, ENGINEERS, EXPLORERS, OPERATORS, READERS
from infra.private_files import write_private

PASSWORDS, GROUPS = "password.db", "group.txt"
KEYSTORE, CERTIFICATE = "server.pem", "certificate.pem"
BUILDER, EXPLORER = "gold", "explorer"
# The accounts of parts, which have passwords of the stack.
PARTS = {OPERATOR: OPERATORS, BUILDER: BUILDERS, EXPLORER: EXPLORERS}
# What a person may be, and the group that has those rights.
ROLES = {"reader": READERS, "engineer": ENGINEERS}
NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,62}")
# Of PBKDF2-HMAC-SHA1, the one that Trino knows. Passwords are random, 160 bits: nobody searches them.
ITERATIONS = 20_000


@dataclass(frozen=True)
class User:
    """`group` is one of Trino's groups; None for a line that a person wrote without one."""

    name: str
    hash: str
    group: str | None


def hashed(password: str) -> str:
    """As Trino reads it: ITERATIONS:SALT:HASH, in hexadecimal."""
    salt = secrets.token_bytes(16)
    derived = hashlib.pbkdf2_hmac("sha1", password.encode(), salt, ITERATIONS, 32)
    return f"{ITERATIONS}:{salt.hex()}:{derived.hex()}"


def is_password(password: str, text: str) -> bool:
    """Whether the text of `hashed` was made from this password."""
    iterations, salt, derived = text.split(":")
    again = hashlib.pbkdf2_hmac("sha1", password.encode(), bytes.fromhex(salt), int(iterations), len(derived) // 2)
    return secrets.compare_digest(again.hex(), derived)


def new_user(name: str, role: str) -> tuple[User, str]:
    """(user, password). Raises SluiceError for a name that is none, or a part's."""
    if not NAME.fullmatch(name):
        raise SluiceError(f"{name!r} is no user's name: small letters, digits and . _ @ -, at most 63")
    if name in PARTS:
        raise SluiceError(f"{name!r} is the account of a part of the stack: choose another name")
    password = secrets.token_urlsafe(20)
    return User(name, hashed(password), ROLES[role]), password


def read_users(folder: Path) -> list[User]:
    """Those that the folder's files name, parts included. Raises SluiceError if the files can't be read."""
    try:
        hashes = dict(_lines(folder / PASSWORDS))
        groups = {name: group for group, names in _lines(folder / GROUPS) for name in names.split(",") if name}
    except (OSError, ValueError) as failure:
        reason = failure.strerror if isinstance(failure, OSError) else failure
        raise SluiceError(f"Trino's users in {folder} cannot be read: {reason}") from None
    return [User(name, text, groups.get(name)) for name, text in hashes.items()]


@contextmanager
def changing(folder: Path) -> Iterator[list[User]]:
    """The users as a list; what it holds at the end replaces both files. One writer at a time. Raises SluiceError."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as failure:
        raise SluiceError(f"Trino's users in {folder} cannot be changed: {failure.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        users = read_users(folder)
        before = list(users)
        yield users
        if users != before or not (folder / GROUPS).exists():
            members: dict[str, list[str]] = {}
            for user in users:
                if user.group:
                    members.setdefault(user.group, []).append(user.name)
            # Groups first: a user without a group may do nothing, one with a group and no password is nobody.
            write_private(folder / GROUPS, "".join(f"{group}:{','.join(names)}\n" for group, names in members.items()))
            write_private(folder / PASSWORDS, "".join(f"{user.name}:{user.hash}\n" for user in users))
    except OSError as failure:
        raise SluiceError(f"Trino's users in {folder} cannot be changed: {failure.strerror}") from None
    finally:
        os.close(lock)


def give_parts(users: list[User], passwords: Mapping[str, str]) -> None:
    """Let the parts in by these passwords; who is in by the same one already keeps the line."""
    known = {user.name: user for user in users}
    for name, password in passwords.items():
        user = known.get(name)
        if user and user.group == PARTS[name] and is_password(password, user.hash):
            continue
        if user:
            users.remove(user)
        users.append(User(name, hashed(password), PARTS[name]))


def _lines(file: Path) -> Iterator[tuple[str, str]]:
    if not file.exists():
        return
    for line in file.read_text().splitlines():
        if line and not line.startswith("#"):
            name, found, value = line.partition(":")
            if not found:
                raise ValueError(f"{file.name} has a line without a colon")
            yield name, value
