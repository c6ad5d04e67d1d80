"""The shape of a stream's payloads: from the columns' pointers to one type that msgspec decodes into, and back to columns."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import msgspec

from catalog.contract import Column
from stream_jobs.types import json_type, or_null

Pointer = tuple[str | int, ...]


class Node:
    """A place in the payload: a column, or what holds columns."""

    def __init__(self) -> None:
        self.column: Column | None = None
        self.children: dict[str | int, Node] = {}

    def place(self, column: Column, pointer: Pointer) -> None:
        """Add a column below."""
        if not pointer:
            self.column = column
            return
        self.children.setdefault(pointer[0], Node()).place(column, pointer[1:])

    def struct(self) -> Any:
        """A struct whose fields `f0`, `f1` … are the members that the contract names; all others are passed over."""
        fields: list[Any] = []
        names: dict[str, str] = {}
        for number, (name, child) in enumerate(self.children.items()):
            field = f"f{number}"
            names[field] = str(name)
            kind, default = child.member()
            fields.append((field, kind, default))
        return msgspec.defstruct("Payload", fields, rename=names, gc=False, frozen=True)

    def below(self) -> Iterator[Column]:
        """The columns here and below."""
        if self.column is not None:
            yield self.column
        for child in self.children.values():
            yield from child.below()

    @property
    def is_list(self) -> bool:
        """Whether the contract takes members of a list here."""
        return any(isinstance(key, int) for key in self.children)

    def member(self) -> tuple[Any, Any]:
        """The type of what stands here, and what counts where nothing does."""
        if self.column is not None:
            return or_null(json_type(self.column)), None
        if self.is_list:
            return list[self.element()] | None, None  # type: ignore[misc]
        kind = self.struct()
        return kind, kind()

    def element(self) -> Any:
        """The type of an array's members: theirs if all columns in it agree, else text that is read one by one."""
        columns = [child.column for child in self.children.values()]
        kinds = [json_type(column) for column in columns if column is not None]
        same = len(kinds) == len(columns) and all(kind == kinds[0] for kind in kinds)
        return or_null(kinds[0]) if same else _Uneven

    def spread(self, held: list[Any]) -> dict[str, list[Any]]:
        """For each column below, its values, from the structs (or lists, or values) that were decoded here."""
        if self.column is not None:
            return {self.column.name: held}
        if self.is_list and self.element() is _Uneven:
            return {column.name: [None] * len(held) for column in self.below()}
        if self.is_list:
            parts = [_at(held, int(index)) for index in self.children]
        else:
            parts = [_field(number)(held) for number in range(len(self.children))]
        found: dict[str, list[Any]] = {}
        for child, part in zip(self.children.values(), parts, strict=True):
            found |= child.spread(part)
        return found


@cache
def _field(number: int) -> Callable[[list[Any]], list[Any]]:
    """Gets the field `f<number>` of all structs. Compiled, which takes a third of `attrgetter`'s time."""
    getter: Callable[[list[Any]], list[Any]] = eval(f"lambda structs: [struct.f{number:d} for struct in structs]")
    return getter


def _at(lists: list[Any], index: int) -> list[Any]:
    return [held[index] if held is not None and index < len(held) else None for held in lists]


class _Uneven(msgspec.Struct, tag="never in a payload"):
    """No member of a list is this: a payload that has the list is read one by one."""
