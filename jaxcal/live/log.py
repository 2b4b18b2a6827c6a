"""LiveLog: the recalibrations of a live session as JSON lines and parquet."""

import json
from pathlib import Path
from types import TracebackType

import pandas as pd

from jaxcal.live.recalibration import Recalibration

_ROWS = 500


class LiveLog:
    """Files of a session in a folder: `recalibrations.jsonl`, a line each as soon as it is there, and parquet.

    Parquet comes in parts of 500 rows in a folder of its own, `recalibrations/part-000000.parquet` and so on, and the
    last part when the log is closed; each is written whole before it gets its name. A folder that has files of an
    earlier session keeps them: lines are added, and the numbers go on.

    Args:
        folder: made if need be.

    Raises:
        OSError: the folder cannot be made or written to.
    """

    def __init__(self, folder: Path) -> None:
        self._parts = folder / "recalibrations"
        self._parts.mkdir(parents=True, exist_ok=True)
        self._lines = (folder / "recalibrations.jsonl").open("a+", encoding="utf-8")
        self._end_line()
        self._rows: list[dict[str, object]] = []
        numbers = [path.stem.rpartition("-")[2] for path in self._parts.glob("part-*.parquet")]
        self._part = 1 + max((int(number) for number in numbers if number.isdigit()), default=-1)

    def _end_line(self) -> None:
        """An earlier session may have been killed in the middle of a line: the next one begins by itself."""
        if self._lines.tell() > 0:
            with open(self._lines.name, "rb") as file:  # noqa: PTH123  (the same file)
                file.seek(-1, 2)
                if file.read() != b"\n":
                    self._lines.write("\n")

    def write(self, step: Recalibration) -> None:
        """Keep a recalibration.

        Raises:
            OSError: the disk is full, or the folder gone.
        """
        row = step.row()
        self._lines.write(json.dumps(row, allow_nan=False) + "\n")
        self._lines.flush()
        self._rows.append(row)
        if len(self._rows) >= _ROWS:
            self._write_part()

    def close(self) -> None:
        """Write what is left."""
        self._lines.close()
        if self._rows:
            self._write_part()

    def __enter__(self) -> "LiveLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write_part(self) -> None:
        path = self._parts / f"part-{self._part:06d}.parquet"
        table = pd.DataFrame(self._rows)
        table["time"] = pd.to_datetime(table["time"], format="ISO8601")
        # a column without any number yet is one of numbers all the same, so that all files have one schema
        empty = table.columns[table.isna().all()]
        table[empty] = table[empty].astype(float)
        unfinished = self._parts / f".{path.name}"  # readers of folders pass over names that begin with a dot
        table.to_parquet(unfinished, index=False, write_page_checksum=True)
        unfinished.rename(path)
        self._rows, self._part = [], self._part + 1
