"""Source: the files of a bulk job's input, in an order that does not depend on the file system."""

import hashlib
import os
import stat
import threading
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from jaxcal.bulk.input.input_problem import BulkError
from jaxcal.market.tables import text_table, workbook
from jaxcal.venues.read_quotes import ENDINGS

_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"  # what writers of partitioned datasets put for a missing value
_PIECE = 1 << 20  # bytes that are read at a time


@dataclass(frozen=True)
class SourceFile:
    """One file of quotes.

    Attributes:
        path: where it is.
        name: relative to the input, with forward slashes.
        size: bytes.
        modified: time of the last change, nanoseconds.
        columns: columns that folders named `column=value` give to every row of the file.
    """

    path: Path
    name: str
    size: int
    modified: int
    columns: tuple[tuple[str, str | None], ...] = ()

    @property
    def is_parquet(self) -> bool:
        """By its extension."""
        return self.name.lower().endswith((".parquet", ".pq"))

    @property
    def is_csv(self) -> bool:
        """By its extension."""
        return self.name.lower().endswith(text_table.ENDINGS)

    @property
    def is_workbook(self) -> bool:
        """By its extension."""
        return self.name.lower().endswith(workbook.ENDINGS)


@dataclass(frozen=True)
class Source:
    """The input of a bulk job.

    Attributes:
        root: the file or folder that was named.
        files: in the order in which they are read: by name, folder by folder.
        ignored: number of files whose extension is none of `ENDINGS`.
    """

    root: Path
    files: tuple[SourceFile, ...]
    ignored: int = 0

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def is_folder(self) -> bool:
        """Whether files tell surfaces apart that name no underlying."""
        return self.root.is_dir()

    @property
    def fingerprint(self) -> str:
        """A hash of the names and contents of the files: another one means another input."""
        return self.digest(threading.Event())

    def digest(self, stop: threading.Event) -> str:
        """The same, unless `stop` is set before all files are read: then nothing.

        It is SHA-256 of every byte, 0.7 seconds of CPU time a gigabyte: sizes and modification times do not
        reveal a file that was restored, or rewritten by a program that keeps them.
        """
        found = hashlib.sha256()
        for file in self.files:
            if (content := _content(file.path, stop)) is None:
                return ""
            found.update(f"{file.name}\0{content}\n".encode())
        return found.hexdigest()[:16]

    def changed(self) -> list[str]:
        """Names of files whose size or modification time has changed since they were listed."""
        return [file.name for file in self.files if file.modified and _signs(file.path) != (file.size, file.modified)]


def find_source(path: str | os.PathLike[str]) -> Source:
    """List the input: a file that `read_quotes` reads, or a folder with any number of them, at any depth.

    Names that begin with `.` or `_` are skipped, as is the custom in partitioned datasets. A folder named
    `column=value` gives its files that column, where they do not have it themselves.

    Args:
        path: file or folder.

    Returns:
        The files, sorted by name, folder by folder, and with them broken links and folders that cannot be listed: a job
        reports them when it reads them. No file is opened, so that 100,000 of them take a second or two.

    Raises:
        BulkError: there is no such file or folder, or nothing in it to read.
    """
    root = Path(path)
    try:
        if root.is_file():
            if not root.name.lower().endswith(ENDINGS):
                raise BulkError(f"{root}: only files that end in {', '.join(ENDINGS)} are read")
            status = root.stat()
            return Source(root, (SourceFile(root, _readable(root.name), status.st_size, status.st_mtime_ns),))
        if not root.is_dir():
            raise BulkError(f"{root}: there is no such file or folder")
        files, ignored = _walk(root)
    except OSError as error:
        raise BulkError(f"{root} cannot be listed: {error}") from None
    if not files:
        raise BulkError(f"{root}: no file in it ends in {', '.join(ENDINGS)}")
    return Source(root, tuple(files), ignored)


def _walk(root: Path) -> tuple[list[SourceFile], int]:
    """All files below `root`, sorted by the parts of their names, and the number of other files."""
    found: list[tuple[tuple[str, ...], os.stat_result | None]] = []
    ignored, endings = 0, ENDINGS
    folders: list[tuple[str, ...]] = [()]
    while folders:
        parents = folders.pop()
        try:
            entries = list(os.scandir(root.joinpath(*parents)))
        except OSError:
            if not parents:
                raise
            found.append((parents, None))  # reading it will say why
            continue
        for entry in entries:
            if entry.name.startswith((".", "_")):
                continue
            name = (*parents, entry.name)
            if entry.is_dir():
                folders.append(name)
            elif not entry.name.lower().endswith(endings):
                ignored += 1
            elif (status := _status(entry)) is None or stat.S_ISREG(status.st_mode):
                found.append((name, status))
            else:  # a pipe or the like would block
                ignored += 1
    found.sort(key=lambda pair: pair[0])
    files = [
        SourceFile(
            root.joinpath(*parts),
            _readable("/".join(parts)),
            0 if status is None else status.st_size,
            0 if status is None else status.st_mtime_ns,
            _columns(parts[:-1]),
        )
        for parts, status in found
    ]
    return files, ignored


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    """None for a broken link, and where permission is denied."""
    try:
        return entry.stat()
    except OSError:
        return None


def _readable(name: str) -> str:
    """The name of a file, where bytes that are not UTF-8 are escaped: it goes into tables and sentences."""
    return name.encode(errors="backslashreplace").decode()


def _content(path: Path, stop: threading.Event) -> str | None:
    """A hash of what is in a file, or why it cannot be opened; None once `stop` is set."""
    found = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_PIECE):
                if stop.is_set():
                    return None
                found.update(chunk)
    except OSError as error:  # reading it will say so
        return f"error {error.errno}"
    return found.hexdigest()


def _signs(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _columns(folders: tuple[str, ...]) -> tuple[tuple[str, str | None], ...]:
    pairs = (folder.partition("=") for folder in folders if "=" in folder)
    return tuple((name, None if value == _NO_VALUE else unquote(value)) for name, _, value in pairs)
