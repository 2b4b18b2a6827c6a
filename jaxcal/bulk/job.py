"""Job: files in, files out, on this machine."""

import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import pyarrow as pa

from jaxcal.bulk.block import read_windows
from jaxcal.bulk.pack import Pack, pack_part
from jaxcal.bulk.part import Cut, Part, cut_parts
from jaxcal.bulk.problem import BulkError, Problem
from jaxcal.bulk.result import fit_pack
from jaxcal.bulk.settings import Settings
from jaxcal.bulk.source import Source, find_source
from jaxcal.bulk.store import Store
from jaxcal.bulk.summary import Summary, summarize
from jaxcal.calibration.arguments import free_names
from jaxcal.market.layouts import LAYOUTS

_AHEAD = 2  # parts that are read and cleaned while another one is fitted


@dataclass
class Progress:
    """Where a job stands.

    Attributes:
        surfaces: that have a row, those of parts that an earlier run wrote included.
        fresh: of them, those of this run.
        failed: of those, fits that did not converge and surfaces that could not be fitted.
        parts: written.
        resumed: of them, by an earlier run.
        problems: met in the input so far.
        share: of the input's bytes that are done, 0 to 1.
        seconds: since this run began.
        seconds_left: estimated from the share since this run began to fit, None before that.
    """

    surfaces: int = 0
    fresh: int = 0
    failed: int = 0
    parts: int = 0
    resumed: int = 0
    problems: int = 0
    share: float = 0.0
    seconds: float = 0.0
    seconds_left: float | None = None


def run_job(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    settings: Settings = Settings(),
    *,
    restart: bool = False,
    observe: Callable[[Progress], None] = lambda progress: None,
    stop: threading.Event | None = None,
) -> Summary:
    """Calibrate a model to every surface of a file or folder of quotes, and write a dataset of parquet files.

    What is written is written whole, part by part. A job that was killed goes on where it was when it is started
    again with the same settings and the same input, and the dataset is then the same as if it had not been.

    Args:
        source: a table of quotes (CSV or parquet), or a folder of them; see `find_source`.
        out: folder of the result: a parquet dataset with one row a surface, and in `_quotes` one with a row a quote
            where `settings.quotes` asks for it.
        settings: all that decides the numbers.
        restart: throw away what is in `out`.
        observe: called after every part.
        stop: once it is set, the job ends after the part at work.

    Returns:
        What was done, counted by outcome, and the problems of the input.

    Raises:
        ValueError: `settings.free` names what is not a parameter of the model.
        BulkError: the job cannot start, or cannot go on: `out` belongs to another job, there is nothing to read, the
            disk is full.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import pathlib, tempfile
        >>> import pandas as pd
        >>> import jaxcal as jc
        >>> from jaxcal.bulk.job import run_job
        >>> from jaxcal.bulk.settings import Settings
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> quotes = pd.DataFrame({"expiry": 0.5, "strike": [90.0, 100.0, 110.0], "iv": 0.2, "forward": 100.0})
        >>> pd.concat([quotes.assign(underlying=name) for name in "AB"]).to_csv(folder / "quotes.csv", index=False)
        >>> print(run_job(folder / "quotes.csv", folder / "fits", Settings(jc.BlackScholes)))
        2 surfaces: 2 converged
        >>> pd.read_parquet(folder / "fits")[["underlying", "sigma"]].round(6)
          underlying  sigma
        0          A    0.2
        1          B    0.2
    """
    if settings.venue is not None and settings.venue not in LAYOUTS:
        raise BulkError(f"venue {settings.venue!r} is not known; known layouts: {', '.join(LAYOUTS)}")
    if settings.precision != "float32" and not jax.config.jax_enable_x64:  # pyright: ignore[reportAttributeAccessIssue]
        raise BulkError(f'{settings.precision} needs jax.config.update("jax_enable_x64", True) at the start')
    free_names(settings.template, settings.free)
    found = find_source(source)
    target = Path(out)
    _check_apart(found.root, target)
    with Store.open(target, _record(found, settings), restart=restart) as store:
        tally = Tally(store, found.size, observe)
        stopped = stop or threading.Event()
        try:
            _run_here(found, settings, store, tally, stopped)
            summary = summarize(
                store.tables(),
                tally.problems,
                resumed=tally.progress.resumed,
                damaged=len(store.damaged),
                interrupted=stopped.is_set() and not tally.finished,
            )
            if not summary.interrupted:
                store.finish(summary.record(), summary.problems)
        except OSError as error:
            raise BulkError(
                f"{target} cannot be written to: {error.strerror or error}; {len(store.done)} parts are kept: the same "
                "command goes on with the rest"
            ) from None
    return summary


@dataclass
class Tally:
    """Progress and problems of a run; parts may end in any order."""

    store: Store
    size: int
    observe: Callable[[Progress], None]
    progress: Progress = field(default_factory=Progress)
    finished: bool = False
    _problems: dict[int, tuple[Problem, ...]] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)
    _bytes: int = 0  # at which the first part of this run began

    @property
    def problems(self) -> list[Problem]:
        """Of the input, in its order."""
        return [problem for number in sorted(self._problems) for problem in self._problems[number]]

    def is_done(self, cut: Cut) -> bool:
        """Whether an earlier run wrote the part; a BulkError if it was cut from other rows then."""
        digest = self.store.done.get(cut.number)
        if digest is None:
            return False
        if digest != cut.digest:
            raise BulkError(
                f"part {cut.number} was made from other rows than are read now, so that surfaces would be missing or "
                "there twice: give --restart to begin again"
            )
        return True

    def count(self, cut: Cut, converged: int | None) -> None:
        """A part is done: in this run with so many fits that converged, or in an earlier one."""
        p = self.progress
        p.surfaces, p.parts = p.surfaces + cut.size, p.parts + 1
        self._problems[cut.number] = cut.problems
        p.problems += len(cut.problems)
        p.share = max(p.share, cut.bytes_read / max(self.size, 1))
        p.seconds = time.monotonic() - self._began
        if converged is None:
            p.resumed += 1
            self._bytes = max(self._bytes, cut.bytes_read)
        else:
            p.fresh, p.failed = p.fresh + cut.size, p.failed + cut.size - converged
            done = p.share - self._bytes / max(self.size, 1)
            p.seconds_left = p.seconds * (1.0 - p.share) / done if done > 0.0 else None
        self.observe(p)


def converged_rows(table: pa.Table) -> int:
    """Number of surfaces of a table whose fit converged."""
    return sum(table["converged"].to_pylist())


def parts_of(source: Source, settings: Settings) -> Iterator[Part]:
    """The parts of the input, read one after the other."""
    return cut_parts(read_windows(source, settings.venue), settings.part_size)


def _run_here(source: Source, settings: Settings, store: Store, tally: Tally, stop: threading.Event) -> None:
    """Read and clean in one thread, fit in this one, write in a third: they overlap, with few parts in between."""
    packs: queue.Queue[Pack | Cut | BaseException | None] = queue.Queue(_AHEAD)
    abandoned = threading.Event()

    def put(item: Pack | Cut | BaseException | None) -> bool:
        while not abandoned.is_set():
            try:
                packs.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def read() -> None:
        try:
            for part in parts_of(source, settings):
                done = tally.is_done(part.cut)
                if not put(part.cut if done else pack_part(part, settings.rules)):
                    return
            put(None)
        except BaseException as error:  # raised again where the parts are asked for
            put(error)

    reader = threading.Thread(target=read, name="jaxcal-bulk-reader", daemon=True)
    reader.start()
    try:
        with ThreadPoolExecutor(1, thread_name_prefix="jaxcal-bulk-writer") as writer:
            writing: Future[None] | None = None
            while not stop.is_set():
                item = packs.get()
                if item is None:
                    tally.finished = True
                    break
                if isinstance(item, BaseException):
                    raise item
                if isinstance(item, Cut):
                    tally.count(item, None)
                    continue
                result = fit_pack(item, settings)
                if writing is not None:
                    writing.result()
                writing = writer.submit(_write, store, tally, result)
            if writing is not None:
                writing.result()
    finally:
        abandoned.set()
        reader.join()


def _write(store: Store, tally: Tally, result: Any) -> None:
    store.write(result.cut.number, result.cut.digest, result.surfaces, result.quotes)
    tally.count(result.cut, converged_rows(result.surfaces))


def _record(source: Source, settings: Settings) -> dict[str, Any]:
    """What must be the same for a job to go on."""
    given = {"files": len(source.files), "bytes": source.size, "fingerprint": source.fingerprint}
    return {"version": version("jaxcal"), "settings": settings.record(), "input": given}


def _check_apart(source: Path, out: Path) -> None:
    a, b = source.resolve(), out.resolve()
    if b == a or b.is_relative_to(a) or (a.is_dir() and a.is_relative_to(b)):
        raise BulkError(f"the result cannot be written to {out}: it and the input {source} must lie apart")
