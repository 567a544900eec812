"""What an import of many independent items gives: the records, and beside them what was refused."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from guildbook.standards.place import Refusal

T = TypeVar("T")


class Imported(msgspec.Struct, Generic[T], frozen=True):
    """Records and refusals of one document, each in the order of the document.

    `not_carried` names columns or members that no field took.
    """

    records: tuple[T, ...]
    refusals: tuple[Refusal, ...]
    not_carried: tuple[str, ...] = ()
