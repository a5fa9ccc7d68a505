"""The results folder of a study: records, tuned cells, the plan. A plain folder that merges by copying."""

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout
from pydantic import ValidationError

from bpfree.errors import WorldError
from bpfree.records import Document, Record, TunedCell

DocumentKind = TypeVar("DocumentKind", bound=Document)


class ResultsFolder:
    """`results/<study>/`: records, tuned cells, the resolved study. One driver writes; anyone may read.

    Every file is written under a temporary name and renamed, so that a killed driver leaves no half-written file.
    """

    def __init__(self, path: Path, option: str = "--results") -> None:
        self.path = path
        self.option = option
        """Of the command line, by which another folder can be chosen."""

    def lock(self) -> FileLock:
        """The lock that keeps two drivers off one study, already held.

        Raises
        ------
        WorldError
            Another process holds it, or the folder cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / "study.lock")
            lock.acquire(timeout=0)
            return lock
        except Timeout:
            raise WorldError(f"another bpfree process is working in {self.path}: wait for it or stop it") from None
        except OSError as error:
            raise unwritable(self.path, error, self.option) from None

    def check_writable(self) -> None:
        """Fail before the work, not after it.

        Raises
        ------
        WorldError
            The folder cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            raise unwritable(self.path, error, self.option) from None

    def write_text(self, name: str, text: str) -> Path:
        """Write a text of this folder in one step.

        Raises
        ------
        WorldError
            The folder cannot be written.
        """
        return self.write_bytes(name, text.encode())

    def write_bytes(self, name: str, content: bytes) -> Path:
        """Write a file of this folder in one step.

        Raises
        ------
        WorldError
            The folder cannot be written.
        """
        target = self.path / name
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
            temporary.replace(target)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise unwritable(self.path, error, self.option) from None
        return target

    def write(self, record: Record) -> Path:
        """Keep a record, and its trace beside it."""
        if record.trace is not None:
            self.write_bytes(f"runs/{record.id}/power.csv.gz", record.trace)
        return self.write_text(f"runs/{record.id}/record.json", record.model_dump_json(indent=1) + "\n")

    def record_path(self, run_id: str) -> Path:
        """Where the record of a run is kept."""
        return self.path / "runs" / run_id / "record.json"

    def trace_path(self, run_id: str) -> Path:
        """Where the samples of a run's GPU are kept, where there are any."""
        return self.record_path(run_id).with_name("power.csv.gz")

    def has(self, run_id: str) -> bool:
        """Whether there is a record of a run."""
        return self.record_path(run_id).is_file()

    def record(self, run_id: str) -> Record | None:
        """The record of a run, if there is one."""
        return read(Record, self.record_path(run_id)) if self.has(run_id) else None

    def records(self) -> Iterator[Record]:
        """All records, in the order of their ids; copies under other names are left out.

        Raises
        ------
        WorldError
            A record is damaged, or cannot be read.
        """
        runs = self.path / "runs"
        try:
            names = sorted(os.listdir(runs)) if runs.is_dir() else []
        except OSError as error:
            raise WorldError(f"{runs} cannot be read ({why(error)})") from None
        for name in names:
            path = f"{runs}/{name}/record.json"  # of thousands, Path objects take longer than to read what they name
            if os.path.isfile(path):
                record = read(Record, path)
                if record.id == name:
                    yield record

    def plan(self) -> dict[str, Any]:
        """What the driver kept of the plan, without final runs before the tuning has ended; empty if there is none.

        Raises
        ------
        WorldError
            The file is damaged.
        """
        path = self.path / "plan.json"
        return parsed(path, plan_of, ("final_runs",)) if path.is_file() else {}

    def finals(self) -> list[Record]:
        """The records of all planned final runs, once all have ended; else none."""
        records = [self.record(str(run)) for run in self.plan().get("final_runs", [])]
        ended = [record for record in records if record and record.final]
        return ended if len(ended) == len(records) else []

    def write_tuned(self, cell: TunedCell) -> None:
        """Fix the outcome of a cell's tuning."""
        self.write_text(f"tuned/{cell.cell}.json", cell.model_dump_json(indent=1) + "\n")

    def tuned(self, cell: str) -> TunedCell | None:
        """The outcome of a cell's tuning, if it has ended."""
        path = self.path / "tuned" / f"{cell}.json"
        if not path.exists():
            return None
        found = read(TunedCell, path)
        if found.cell != cell:  # its name says where it is written
            raise WorldError(f"{path} is of another cell, {found.cell}: delete it and the cell is tuned again")
        return found

    def tuned_cells(self) -> list[TunedCell]:
        """The outcomes of all cells whose tuning has ended."""
        return [read(TunedCell, path) for path in sorted(self.path.glob("tuned/*.json"))]


def read(kind: type[DocumentKind], path: Path | str) -> DocumentKind:
    """A document from its file.

    Raises
    ------
    WorldError
        The file is damaged.
    """
    try:
        with open(path, "rb") as file:
            return kind.model_validate_json(file.read())
    except (OSError, ValidationError) as error:
        raise WorldError(f"{path} cannot be read ({why(error)})") from None


def parsed(path: Path, parser: Callable[[str], dict[str, Any]], needed: Sequence[str]) -> dict[str, Any]:
    """A file of the folder that is no record.

    Raises
    ------
    WorldError
        It is damaged.
    """
    try:
        found = parser(path.read_text(encoding="utf-8"))
        return found | {name: found[name] for name in needed}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise WorldError(f"{path} cannot be read ({reason}): run the study again and it is written anew") from None


def plan_of(text: str) -> dict[str, Any]:
    """A plan from its file's text."""
    found: dict[str, Any] = json.loads(text)
    if not all(isinstance(run, str) for run in found["final_runs"]):
        raise ValueError("its final_runs are no ids")
    return found


def why(error: OSError | ValidationError) -> str:
    """What is wrong with a document, and what to do."""
    if isinstance(error, OSError):
        return f"{error.strerror}: check its permissions"
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    if place == "schema_version":
        return "it is of another version of bpfree: read it with that one"
    return f"{place or 'it'}: {first['msg']}: delete it and the run is made again"


def unwritable(path: Path, error: OSError, option: str) -> WorldError:
    """The error for a folder that cannot be written."""
    return WorldError(f"cannot write to {path} ({error.strerror or error}): choose another folder with {option}")
