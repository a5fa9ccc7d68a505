"""Every error that a user can meet, drawn once.

    BpfreeError
    ├── RequestError    the request is wrong: exit status 2
    └── WorldError      the world is at fault: exit status 1
        └── DataError   a data file is absent, damaged or cannot be fetched

Each message is one line that says what is wrong and what to do. The command line prints it without a traceback.
"""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

Row = TypeVar("Row")


class BpfreeError(Exception):
    """Base of all errors that are shown to the user as one line."""

    exit_status = 1


class RequestError(BpfreeError):
    """The user asked for something that does not exist or is out of range."""

    exit_status = 2


class WorldError(BpfreeError):
    """Something outside the request failed: a disk, a download, a device."""


class DataError(WorldError):
    """A data file is absent, damaged or cannot be fetched."""


def unknown(kind: str, name: str, known: Iterable[str]) -> RequestError:
    """The error for a name that is not in a table, with the nearest names that are."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    if near:
        return RequestError(f"unknown {kind} '{name}': did you mean {' or '.join(near)}?")
    return RequestError(f"unknown {kind} '{name}': choose from {', '.join(known)}")


def find(kind: str, name: str, table: Mapping[str, Row]) -> Row:
    """The row of a table.

    Raises
    ------
    RequestError
        It has no row of that name; the message suggests the nearest.
    """
    if name not in table:
        raise unknown(kind, name, table)
    return table[name]
