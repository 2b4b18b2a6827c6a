"""Stage: the steps of a bulk job as they run in other processes, one after the other.

What goes from one stage to the next is a table with one row and one column of bytes: a part on its way, or a `Failure`,
or the `End` of the input. A stage changes what is for it and passes on the rest. No exception leaves a stage, so that a
part that fails takes no other part with it.
"""

import errno
import pickle
import socket
import uuid
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa

from jaxcal.bulk.input.cleaned_partition import CleanedPartition, clean_partition
from jaxcal.bulk.input.input_files import Source
from jaxcal.bulk.input.input_problem import BulkError, told
from jaxcal.bulk.input.partition import PartitionKey
from jaxcal.bulk.input.partition_rows import PartitionRows, read_partitions
from jaxcal.bulk.output.fitted_partition import FittedPartition, fit_partition
from jaxcal.bulk.output.partition_files import write_part
from jaxcal.bulk.settings import Settings
from jaxcal.compilation.compilation_cache import enable_compilation_cache

MOST_TRIES = 5  # of a part whose worker is lost


@dataclass(frozen=True)
class Written:
    """A part that is written.

    Attributes:
        cut: which part.
        converged: number of its fits that converged.
    """

    cut: PartitionKey
    converged: int


@dataclass(frozen=True)
class Failure:
    """What could not be done.

    Attributes:
        number: of the part; None if the job as a whole cannot continue.
        error: why.
    """

    number: int | None
    error: BulkError | OSError


@dataclass(frozen=True)
class End:
    """The end of the input.

    Attributes:
        parts: number of them.
    """

    parts: int


Item = PartitionKey | PartitionRows | CleanedPartition | FittedPartition | Written | Failure | End


def to_row(item: Item) -> pa.Table:
    """A table with one row that holds the item.

    Example:
        >>> from_row(to_row(End(3)))
        End(parts=3)
    """
    return pa.table({"item": pa.array([pickle.dumps(item, pickle.HIGHEST_PROTOCOL)], pa.large_binary())})


def from_row(table: pa.Table) -> Any:
    """The item in a table with one row."""
    (content,) = table["item"].to_pylist()
    return pickle.loads(content)


@dataclass(frozen=True)
class Read:
    """The first stage: whatever it is given, it gives out the parts of the input, and the end.

    Attributes:
        source: the input.
        settings: of the job.
        done: for every part that is written, its digest.
        version: of the library, for all stages.
    """

    source: Source
    settings: Settings
    done: dict[int, str]
    version: str

    def __call__(self, _: pa.Table) -> Iterator[pa.Table]:
        """One table for every part."""
        number = -1
        try:
            if (found := version("jaxcal")) != self.version:
                raise BulkError(f"{_here()} has jaxcal {found}, the job was started with {self.version}")
            if not self.source.root.exists():
                raise BulkError(f"{self.source.root} is not there on {_here()}: {_SHARED}")
            for part in read_partitions(self.source, self.settings, self.done):
                number = part.number if isinstance(part, PartitionKey) else part.cut.number
                yield to_row(part)
            yield to_row(End(number + 1))
        except Exception as error:
            yield to_row(Failure(None, _told(error, "the input cannot be read further")))


@dataclass(frozen=True)
class Clean:
    """The second stage: rows to surfaces."""

    settings: Settings

    def __call__(self, batch: pa.Table) -> pa.Table:
        """The partition of the part in the table."""
        return _changed(batch, PartitionRows, lambda part: clean_partition(part, *self.settings.making))


class Fit:
    """The third stage, which keeps the programs that it has compiled: surfaces to rows of the result."""

    def __init__(self, settings: Settings, scratch: Path, version: str, cache: str | None) -> None:
        """Get ready.

        Args:
            settings: of the job.
            scratch: of the open `Store`, where workers leave a marker file while they fit a part.
            version: of the library that the job was started with; a worker that has another one does nothing.
            cache: folder for compiled programs, which need not be shared, or None.
        """
        self._settings, self._scratch, self._version = settings, scratch, version
        if cache is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # where it cannot be written to, everything is compiled here
                enable_compilation_cache(cache)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """The result of the partition in the table."""
        return _changed(batch, CleanedPartition, self._fit)

    def _fit(self, partition: CleanedPartition) -> FittedPartition:
        if (found := version("jaxcal")) != self._version:
            raise BulkError(f"{_here()} has jaxcal {found}, the job was started with {self._version}")
        if not self._scratch.is_dir():
            raise BulkError(f"{self._scratch} is not there on {_here()}: {_SHARED}")
        # A part that kills its workers must not be tried indefinitely.
        begun = f"begun-{partition.cut.number}"
        if (lost := len(list(self._scratch.glob(f"{begun}.*")))) >= MOST_TRIES:
            raise RuntimeError(f"{lost} workers were lost over it, perhaps for want of memory")
        mark = self._scratch / f"{begun}.{uuid.uuid4().hex}"
        mark.touch()
        try:
            return fit_partition(partition, self._settings)
        finally:
            mark.unlink(missing_ok=True)


@dataclass(frozen=True)
class Write:
    """The last stage: rows of the result to files.

    Attributes:
        path, scratch: of the open `Store`.
    """

    path: Path
    scratch: Path

    def __call__(self, batch: pa.Table) -> pa.Table:
        """What is written."""
        return _changed(batch, FittedPartition, self._write)

    def _write(self, result: FittedPartition) -> Written:
        if not self.scratch.is_dir():
            raise BulkError(f"{self.path} is not there on {_here()}: {_SHARED}")
        cut = result.cut
        write_part(self.path, self.scratch, cut.number, cut.digest, result.surfaces, result.quotes)
        return Written(cut, result.converged)


_SHARED = "input and result must lie on a file system that all machines share, under the same path"


def _changed(batch: pa.Table, kind: type, change: Callable[[Any], Item]) -> pa.Table:
    item = from_row(batch)
    if not isinstance(item, kind):
        return batch
    number: int = item.cut.number  # type: ignore[attr-defined]
    try:
        return to_row(change(item))
    except BulkError as error:  # the next part would fail too
        return to_row(Failure(None, BulkError(str(error))))
    except Exception as error:
        if kind is FittedPartition and isinstance(error, OSError):
            return to_row(Failure(None, OSError(error.errno or errno.EIO, error.strerror or str(error))))
        return to_row(Failure(number, _told(error, f"part {number} cannot be done")))


def _told(error: Exception, what: str) -> BulkError:
    """The error in a sentence that can be sent to any process."""
    if isinstance(error, BulkError):
        return BulkError(str(error))
    return BulkError(f"{what}: {told(error)}")


def _here() -> str:
    return f"machine {socket.gethostname()}"
