"""Store: the folder of a bulk job's result, a lock, a record of the settings, and parts, written atomically."""

import contextlib
import json
import re
import shutil
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import pandas as pd
import pyarrow as pa

from jaxcal.bulk.input.input_problem import BulkError, Problem
from jaxcal.bulk.output.partition_files import (
    CHECKSUMS,
    QUOTES,
    SUMMARY,
    DamagedError,
    check_part,
    checksums,
    checksums_name,
    is_part,
    part_name,
    part_number,
    read_part,
    whole,
    write_part,
)
from jaxcal.market.tables.csv_file import write_csv

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

RECORD, PROBLEMS = "_job.json", "_problems.csv"
FORMAT = 2  # of the folder: 1 had no checksums, and knew its input by sizes and modification times
_LOCK, _UNFINISHED = "_lock", "_unfinished"
_RUN = re.compile(r"[0-9a-f]{32}")  # a folder of what a run has not finished
_CHECKSUMS = re.compile(r"part-(\d{6,})\.sha256")


class Store:
    """An open result folder; close it, or use it in a `with` statement.

    Attributes:
        path: the folder.
        done: for every part that is written, the digest of what it was made from.
        damaged: parts that were found damaged and removed, to be computed again.
        resumed: whether the folder had a job of these settings already.
        scratch: folder of what is not finished. It belongs to this run and is removed with it, so that a process that
            outlives its run can no longer write into the result.
    """

    def __init__(self, path: Path, lock: IO[str]) -> None:
        """Use `open`."""
        self.path, self._lock = path, lock
        self.done: dict[int, str] = {}
        self.damaged: list[int] = []
        self.resumed = False
        self.scratch = path / _UNFINISHED / uuid.uuid4().hex

    @classmethod
    def open(cls, path: Path, record: Mapping[str, Any], *, restart: bool = False) -> "Store":
        """Make the folder, or resume the job that is in it.

        Nothing is ever removed but what a job wrote: its parts are those that have checksums.

        Args:
            path: the folder.
            record: of settings and input, with plain values; it must equal that of the job in the folder.
            restart: remove the job that is in the folder first.

        Raises:
            BulkError: another job is running there, the record is another one, the folder holds something else, or it
                cannot be written to.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
            _refuse_others(path)  # before anything is put there
            lock = (path / _LOCK).open("a")
        except OSError as error:
            raise BulkError(f"{path} cannot be written to: {error.strerror or error}") from None
        store = cls(path, lock)
        try:
            if not _locked(lock):
                raise BulkError(f"another job is at work in {path}: wait for it, or name another folder")
            store._begin({"format": FORMAT, **record}, restart)
        except OSError as error:
            store.close()
            raise BulkError(f"{path} cannot be written to: {error.strerror or error}") from None
        except BaseException:
            store.close()
            raise
        return store

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the lock."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        self._lock.close()

    def write(self, number: int, digest: str, surfaces: pa.Table, quotes: pa.Table | None) -> None:
        """Write a part: first whole under another name, then renamed, quotes before surfaces.

        Raises:
            OSError: the disk is full, or the like; the part is then absent.
        """
        write_part(self.path, self.scratch, number, digest, surfaces, quotes)
        self.done[number] = digest

    def tables(self) -> Iterator[pa.Table]:
        """The rows of all surfaces, part by part.

        Raises:
            BulkError: a part is no longer as it was written.
        """
        for number in sorted(self.done):
            try:
                yield read_part(self.path, number)
            except DamagedError as error:
                raise BulkError(f"{self.path}: {error}: the same command makes it again") from None

    def finish(self, summary: Mapping[str, Any], problems: Iterable[Problem]) -> None:
        """Write the summary and the problems; parts beyond those of the input do not exist."""
        rows = [(problem.source, problem.what, problem.sentence) for problem in problems]
        with whole(self.path, self.scratch, PROBLEMS) as unfinished:
            write_csv(pd.DataFrame(rows, columns=["source", "what", "sentence"]), unfinished)
        self._write_json(SUMMARY, summary)
        shutil.rmtree(self.path / _UNFINISHED, ignore_errors=True)

    def _begin(self, record: dict[str, Any], restart: bool) -> None:
        _refuse_others(self.path)
        shutil.rmtree(self.path / _UNFINISHED, ignore_errors=True)
        self.scratch.mkdir(parents=True)
        if restart:
            self._remove_job()
        elif (self.path / RECORD).exists():
            self._compare(record)
            self.resumed = True
            self._find_parts(record["settings"]["quotes"])
        (self.path / SUMMARY).unlink(missing_ok=True)  # present only beside a whole result
        (self.path / PROBLEMS).unlink(missing_ok=True)
        if not self.resumed:
            self._write_json(RECORD, record)  # in place of that of a job that was removed

    def _remove_job(self) -> None:
        """Remove all that a job wrote but its record, which says whose the rest is until there is another one."""
        own = _parts_of_job(self.path)
        for number in own:
            (self.path / part_name(number)).unlink(missing_ok=True)
            (self.path / QUOTES / part_name(number)).unlink(missing_ok=True)
        for number in own:
            (self.path / checksums_name(number)).unlink(missing_ok=True)
        for name in (QUOTES, CHECKSUMS):
            with contextlib.suppress(OSError):  # it is not there, or holds something else
                (self.path / name).rmdir()

    def _compare(self, record: dict[str, Any]) -> None:
        try:
            before = json.loads((self.path / RECORD).read_text(encoding="utf-8"))
            if before.get("format") != record["format"]:
                raise BulkError(
                    f"{self.path} holds a job that another version of jaxcal began: give --restart to begin it again, "
                    "or name another folder"
                )
            changes = [text for name in record for text in _changes(name, before[name], record[name])]
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise BulkError(f"{self.path / RECORD} cannot be read ({error}): give --restart to start anew") from None
        if changes:
            raise BulkError(
                f"{self.path} holds a job with other settings or another input ({'; '.join(changes)}): "
                "give the same ones to resume it, --restart to replace it, or another folder"
            )

    def _find_parts(self, quotes: bool) -> None:
        for number in sorted(_parts_of_job(self.path)):
            if not (self.path / part_name(number)).exists():
                continue  # the run ended between its checksums and the part
            try:
                self.done[number] = check_part(self.path, number, quotes=quotes)
            except DamagedError:
                self.damaged.append(number)
                (self.path / part_name(number)).unlink(missing_ok=True)
                (self.path / QUOTES / part_name(number)).unlink(missing_ok=True)

    def _write_json(self, name: str, value: Mapping[str, Any]) -> None:
        with whole(self.path, self.scratch, name) as unfinished:
            unfinished.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _parts_of_job(path: Path) -> set[int]:
    """Numbers of the parts that a job wrote into a folder, or was about to write: those that have checksums."""
    found = {int(match[1]) for name in _names(path / CHECKSUMS) if (match := _CHECKSUMS.fullmatch(name))}
    if found or not (path / RECORD).exists():
        return found
    numbers = {name: part_number(name) for name in _names(path)}  # format 1 had no checksums
    return {number for name, number in numbers.items() if number is not None and is_part(path / name)}


def _refuse_others(path: Path) -> None:
    """Raise where a folder holds files of no job, or parts that the job in it did not write."""
    names = _names(path)
    if RECORD in names:
        own = _parts_of_job(path)
        strange = [name for name in names if (number := part_number(name)) is not None and number not in own]
        for name in _names(path / QUOTES):
            number, full = part_number(name), f"{QUOTES}/{name}"
            if number is not None and full not in checksums(path, number) and not is_part(path / full):
                strange.append(full)
        if strange:
            raise BulkError(
                f"{path} holds {min(strange)}, which the job in it did not write: move it away, or name another folder"
            )
        return
    strange = [name for name in names if name not in (_LOCK, _UNFINISHED)]
    strange += [f"{_UNFINISHED}/{name}" for name in _names(path / _UNFINISHED) if not _RUN.fullmatch(name)]
    if strange:
        raise BulkError(f"{path} holds other things ({min(strange)}) and no job: name a new or an empty folder")


def _names(path: Path) -> list[str]:
    """Names of what is in a folder; none where there is no such folder."""
    try:
        return [entry.name for entry in path.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _changes(name: str, before: Any, now: Any) -> list[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        return [text for key in {**before, **now} for text in _changes(key, before.get(key), now.get(key))]
    return [] if before == now else [f"{name} was {before}, is {now}"]


def _locked(file: IO[str]) -> bool:
    """Lock a file until it is closed or the process ends, however it ends; False if another process has it."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # the second on Windows
        return False
    return True
