"""PartFile: a part of a result as files, written atomically, with checksums by which damage is found."""

import contextlib
import hashlib
import json
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from jaxcal.bulk.input.input_problem import BulkError

# Readers of partitioned datasets skip names that begin with an underscore: the folder itself is the dataset.
SUMMARY, QUOTES, CHECKSUMS = "_summary.json", "_quotes", "_checksums"
_PART = re.compile(r"part-(\d{6,})\.parquet")
_LINE = re.compile(r"([0-9a-f]{64})  (\S+)\n")
_ROWS = b"jaxcal.part"  # where a file of parquet keeps the digest of the rows that it was made from


class DamagedError(ValueError):
    """A file of a part that is not as it was written."""


def part_name(number: int) -> str:
    """Name of the file of a part."""
    return f"part-{number:06d}.parquet"


def part_number(name: str) -> int | None:
    """The number of the part whose file has this name; None where it is no such name.

    Example:
        >>> part_number("part-000012.parquet"), part_number("part-12.parquet")
        (12, None)
    """
    match = _PART.fullmatch(name)
    return None if match is None else int(match[1])


def checksums_name(number: int) -> str:
    """Name of the file that has the checksums of a part, in the form of `sha256sum`."""
    return f"{CHECKSUMS}/part-{number:06d}.sha256"


@contextlib.contextmanager
def whole(folder: Path, scratch: Path, name: str) -> Iterator[Path]:
    """A path to write to, renamed into the folder once all is on the disk."""
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
    name = part_name(number)
    tables = {name: surfaces} | ({} if quotes is None else {f"{QUOTES}/{name}": quotes})
    lines = []
    with contextlib.ExitStack() as stack:  # names are taken last in, first out: checksums, quotes, surfaces
        for target, table in tables.items():
            unfinished = stack.enter_context(whole(path, scratch, target))
            marked = table.replace_schema_metadata({_ROWS: digest.encode()})
            pq.write_table(marked, unfinished, write_page_checksum=True)
            lines.append(f"{_sha256(unfinished)}  {target}\n")
        stack.enter_context(whole(path, scratch, checksums_name(number))).write_text("".join(lines), "ascii")


def is_part(path: Path) -> bool:
    """Whether the metadata of a file say that a bulk job wrote it."""
    try:
        return _ROWS in (pq.read_schema(path).metadata or {})
    except (OSError, ValueError, pa.ArrowException):
        return False


def check_part(path: Path, number: int, *, quotes: bool) -> str:
    """The digest of the rows that a part was made from, if all of it is as it was written.

    Raises:
        DamagedError: a file is missing, is not as it was written, or has no checksum.
    """
    if quotes:
        name = f"{QUOTES}/{part_name(number)}"
        try:
            found = _sha256(path / name)
        except OSError as error:
            raise DamagedError(f"{name} cannot be read: {error.strerror or error}") from None
        _check(name, found, checksums(path, number))
    return (read_part(path, number).schema.metadata or {}).get(_ROWS, b"").decode()


def read_part(path: Path, number: int, *, quotes: bool = False) -> pa.Table:
    """The rows of a part, if its file is as it was written.

    Raises:
        DamagedError: the file is missing, is not as it was written, or has no checksum.
    """
    name = part_name(number)
    name = f"{QUOTES}/{name}" if quotes else name
    try:
        content = (path / name).read_bytes()
    except OSError as error:
        raise DamagedError(f"{name} cannot be read: {error.strerror or error}") from None
    _check(name, hashlib.sha256(content).hexdigest(), checksums(path, number))
    with pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True) as file:
        return file.read()


def read_dataset(path: str | os.PathLike[str], *, quotes: bool = False) -> pa.Table:
    """Read the result of a bulk job; every byte of it is compared with the checksums that the job wrote.

    Args:
        path: folder of the result.
        quotes: read the table of quotes, in place of that of surfaces.

    Returns:
        The rows, part by part: of a job that has not ended, those that are written.

    Raises:
        BulkError: a file is missing or not as it was written, or there is no result.

    Example:
        >>> import pathlib, tempfile
        >>> import pyarrow as pa
        >>> from jaxcal.bulk.output.partition_files import read_dataset
        >>> from jaxcal.bulk.output.dataset import Store
        >>> folder = pathlib.Path(tempfile.mkdtemp()) / "fits"
        >>> with Store.open(folder, {}) as store:
        ...     store.write(0, "", pa.table({"x": [1.0]}), None)
        >>> read_dataset(folder).to_pandas()
             x
        0  1.0
        >>> part = folder / "part-000000.parquet"
        >>> _ = part.write_bytes(part.read_bytes().replace(b"x", b"y"))
        >>> read_dataset(folder)
        Traceback (most recent call last):
        jaxcal.bulk.input.input_problem.BulkError: ...: part-000000.parquet is not as it was written: ...
    """
    folder = Path(path)
    try:
        numbers = sorted(number for entry in folder.iterdir() if (number := part_number(entry.name)) is not None)
        tables = [read_part(folder, number, quotes=quotes) for number in numbers]
        if (folder / SUMMARY).exists() and not quotes:
            expected = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))["surfaces"]
            if (found := sum(len(table) for table in tables)) != expected:
                raise DamagedError(f"{SUMMARY} tells of {expected} surfaces, and there are {found}")
    except (DamagedError, OSError, ValueError, KeyError, TypeError) as error:
        raise BulkError(f"{folder}: {error}: give the command of the job again, which makes it anew") from None
    if not tables:
        raise BulkError(f"{folder}: there is no part of a result in it")
    return pa.concat_tables(tables)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksums(path: Path, number: int) -> dict[str, str]:
    """Checksums of a part, by the names of its files; none where they cannot be read."""
    try:
        text = (path / checksums_name(number)).read_text("ascii")
    except (OSError, ValueError):
        return {}
    return {match[2]: match[1] for match in _LINE.finditer(text)}


def _check(name: str, found: str, written: dict[str, str]) -> None:
    if written.get(name) != found:
        raise DamagedError(f"{name} is not as it was written")
