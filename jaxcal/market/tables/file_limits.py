"""How large a file of quotes may be, unpacked, to be read whole; larger ones are refused before they are read."""

import gzip
import zlib
from pathlib import Path

import pyarrow.parquet

LARGEST = 1 << 31  # bytes of text; a table takes two to five times as much memory
LARGEST_TABLE = 50_000_000  # rows of a parquet file, whose columns may be packed a thousandfold
_RATIO = 1032  # deflate packs no tighter
_PIECE = 1 << 22


class UnreadableFileError(ValueError):
    """A file that cannot be read as what it is called: a sentence about it, without its name."""

    def of(self, name: str) -> str:
        """The sentence with the name of the file."""
        sentence = str(self)
        return f"{name} {sentence.removeprefix('it ')}" if sentence.startswith("it ") else f"{name}: {sentence}"


def oversize(path: Path, *, largest: int = LARGEST) -> str:
    """Why a file is too large to be read whole, or nothing.

    Args:
        path: a CSV file, plain or in gzip, or a parquet file. A gzip file that could hold too much is unpacked piece by
            piece to see, and no further than `largest`.
        largest: bytes when unpacked.

    Returns:
        A sentence; empty where the file is not too large, or too damaged to say.

    Raises:
        OSError: there is no such file, or it may not be read.
    """
    name, size = path.name.lower(), path.stat().st_size
    if name.endswith((".parquet", ".pq")):
        return _of_parquet(path, largest)
    if name.endswith(".gz"):
        if size * _RATIO <= largest or not _unpacks_beyond(path, largest):
            return ""
    elif size <= largest:
        return ""
    return f"it holds more than {largest:,} bytes unpacked, {_REMEDY}"


_REMEDY = "too many to read whole: cut it into parts, or use jaxcal bulk"


def _unpacks_beyond(path: Path, largest: int) -> bool:
    total = 0
    try:
        with gzip.open(path) as file:
            while piece := file.read(_PIECE):
                total += len(piece)
                if total > largest:
                    return True
    except (OSError, EOFError, zlib.error):  # damaged: the reader will say so
        return False
    return False


def _of_parquet(path: Path, largest: int) -> str:
    try:
        metadata = pyarrow.parquet.read_metadata(path)
    except (OSError, ValueError, pyarrow.ArrowException):  # damaged: the reader will say so
        return ""
    unpacked = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    if unpacked > largest:
        return f"it holds more than {largest:,} bytes unpacked, {_REMEDY}"
    return f"it holds {metadata.num_rows:,} rows, {_REMEDY}" if metadata.num_rows > LARGEST_TABLE else ""
