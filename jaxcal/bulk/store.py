"""Store: the folder of a bulk job's result, a lock, a record of the settings, and parts, whole or absent."""

import contextlib
import csv
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from jaxcal.bulk.problem import BulkError, Problem

# Readers of partitioned datasets pass over names that begin with an underscore: the folder itself is the dataset.
RECORD, SUMMARY, PROBLEMS, QUOTES = "_job.json", "_summary.json", "_problems.csv", "_quotes"
_LOCK, _UNFINISHED = "_lock", "_unfinished"
_PART = re.compile(r"part-(\d{6,})\.parquet")
_DIGEST = b"jaxcal.part"


class Store:
    """An open result folder; close it, or use it in a `with` statement.

    Attributes:
        path: the folder.
        done: for every part that is written, the digest of what it was made from.
        damaged: parts that were found damaged and removed, to be made again.
        resumed: whether the folder had a job of these settings already.
        scratch: folder of what is not finished. It is of this run alone and goes with it, so that a process that has
            outlived its run can no longer put anything into the result.

    Example:
        >>> import pathlib, tempfile
        >>> import pyarrow as pa
        >>> from jaxcal.bulk.store import Store
        >>> with Store.open(pathlib.Path(tempfile.mkdtemp()) / "out", {"model": "Heston"}) as store:
        ...     store.write(0, "digest", pa.table({"x": [1.0]}), None)
        ...     store.done
        {0: 'digest'}
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
        """Make the folder, or take up the job that is in it.

        Args:
            path: the folder.
            record: of settings and input, with plain values; it must equal that of the job in the folder.
            restart: remove the job that is in the folder first.

        Raises:
            BulkError: another job is at work there, the record is another one, the folder holds something else, or it
                cannot be written to.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock = (path / _LOCK).open("a")
        except OSError as error:
            raise BulkError(f"{path} cannot be written to: {error.strerror or error}") from None
        store = cls(path, lock)
        try:
            if not _locked(lock):
                raise BulkError(f"another job is at work in {path}: wait for it, or name another folder")
            store._begin(dict(record), restart)
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
        """Let the next job in."""
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
        """The rows of all surfaces, part by part."""
        for number in sorted(self.done):
            yield _read(self.path / part_name(number))

    def finish(self, summary: Mapping[str, Any], problems: Iterable[Problem]) -> None:
        """Write the summary and the problems; parts beyond those of the input do not exist."""
        with _whole(self.path, self.scratch, PROBLEMS) as unfinished, unfinished.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["source", "what", "sentence"])
            writer.writerows([problem.source, problem.what, problem.sentence] for problem in problems)
        self._write_json(SUMMARY, summary)
        shutil.rmtree(self.path / _UNFINISHED, ignore_errors=True)

    def _begin(self, record: dict[str, Any], restart: bool) -> None:
        known = self._known_files()
        strange = [name for name in sorted(_names(self.path)) if name not in known]
        if strange and not (self.path / RECORD).exists():
            raise BulkError(f"{self.path} holds other things ({strange[0]}): name a new or an empty folder")
        if restart:
            for name in known - {_LOCK}:
                _remove(self.path / name)
        shutil.rmtree(self.path / _UNFINISHED, ignore_errors=True)
        self.scratch.mkdir(parents=True)
        if (self.path / RECORD).exists():
            self._compare(record)
            self.resumed = True
            self._find_parts(record["settings"]["quotes"])
        else:
            for name in known - {_LOCK, _UNFINISHED}:  # parts without a record are of no job
                _remove(self.path / name)
            self._write_json(RECORD, record)
        (self.path / SUMMARY).unlink(missing_ok=True)  # present only beside a whole result
        (self.path / PROBLEMS).unlink(missing_ok=True)

    def _known_files(self) -> set[str]:
        parts = {name for name in _names(self.path) if _PART.fullmatch(name)}
        return parts | {RECORD, SUMMARY, PROBLEMS, QUOTES, _LOCK, _UNFINISHED}

    def _compare(self, record: dict[str, Any]) -> None:
        try:
            before = json.loads((self.path / RECORD).read_text(encoding="utf-8"))
            changes = [text for name in record for text in _changes(name, before[name], record[name])]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BulkError(f"{self.path / RECORD} cannot be read ({error}): give --restart to begin again") from None
        if changes:
            raise BulkError(
                f"{self.path} holds a job with other settings or another input ({'; '.join(changes)}): "
                "give them as they were to go on with it, --restart to replace it, or another folder"
            )

    def _find_parts(self, quotes: bool) -> None:
        for name in sorted(_names(self.path)):
            if not (match := _PART.fullmatch(name)):
                continue
            number = int(match[1])
            try:
                digest = _read_digest(self.path / name)
                if quotes and _read_digest(self.path / QUOTES / name) != digest:
                    raise ValueError("the quotes are of another part")
            except (OSError, ValueError, KeyError):
                self.damaged.append(number)
                _remove(self.path / name)
                _remove(self.path / QUOTES / name)
            else:
                self.done[number] = digest

    def _write_json(self, name: str, value: Mapping[str, Any]) -> None:
        with _whole(self.path, self.scratch, name) as unfinished:
            unfinished.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def part_name(number: int) -> str:
    """Name of the file of a part."""
    return f"part-{number:06d}.parquet"


def write_part(
    path: Path, scratch: Path, number: int, digest: str, surfaces: pa.Table, quotes: pa.Table | None
) -> None:
    """Write a part into a result folder, from any process: see `Store.write`.

    Args:
        path, scratch: of the open `Store`.
        number, digest: of the part.
        surfaces, quotes: its rows.

    Raises:
        OSError: the disk is full, or the like; or the run is over.
    """
    tables = {f"{QUOTES}/{part_name(number)}": quotes, part_name(number): surfaces}
    for name, table in tables.items():
        if table is not None:
            marked = table.replace_schema_metadata({_DIGEST: digest.encode()})
            with _whole(path, scratch, name) as unfinished:
                pq.write_table(marked, unfinished)


@contextlib.contextmanager
def _whole(folder: Path, scratch: Path, name: str) -> Iterator[Path]:
    """A path to write to, which takes its name only when all is on the disk."""
    target = folder / name
    unfinished = scratch / f"{target.name}.{uuid.uuid4().hex}"  # a part may be written twice at once
    try:
        yield unfinished
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        target.parent.mkdir(exist_ok=True)
        unfinished.replace(target)
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)


def _read(path: Path) -> pa.Table:
    with pq.ParquetFile(path) as file:  # not read_table, which takes folders named a=b above it for columns
        return file.read()


def _read_digest(path: Path) -> str:
    """The digest of a part, if the part can be read to its end."""
    table = _read(path)
    return (table.schema.metadata or {})[_DIGEST].decode()


def _names(path: Path) -> list[str]:
    return [entry.name for entry in path.iterdir()]


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _changes(name: str, before: Any, now: Any) -> list[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        return [text for key in {**before, **now} for text in _changes(key, before.get(key), now.get(key))]
    return [] if before == now else [f"{name} was {before}, is {now}"]


def _locked(file: IO[str]) -> bool:
    """Lock a file until it is closed or the process ends, however it ends; False if another process has it."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # pyright: ignore[reportAttributeAccessIssue]
        except OSError:
            return False
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
