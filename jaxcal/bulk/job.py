"""Job: files in, files out."""

import os
import threading
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax

from jaxcal.bulk.engines.local_engine import LocalEngine
from jaxcal.bulk.engines.progress import Progress, Tally
from jaxcal.bulk.input.input_files import Source, find_source
from jaxcal.bulk.input.input_problem import BulkError, OutOfMemoryError, Problem, told
from jaxcal.bulk.output.dataset import Store
from jaxcal.bulk.settings import Settings
from jaxcal.bulk.summary import Summary, summarize
from jaxcal.market.tables.layouts import LAYOUTS


@runtime_checkable
class Engine(Protocol):
    """What runs a job: `LocalEngine` or `RayEngine`. The numbers do not depend on it."""

    def run(self, source: Source, settings: Settings, store: Store, tally: Tally, stop: threading.Event) -> None:
        """Write all parts that are not done; see `LocalEngine.run`."""
        ...


def run_job(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    settings: Settings = Settings(),
    *,
    engine: Engine = LocalEngine(),
    restart: bool = False,
    observe: Callable[[Progress], None] = lambda progress: None,
    stop: threading.Event | None = None,
) -> Summary:
    """Calibrate a model to every surface of a file or folder of quotes, and write a dataset of parquet files.

    Every part is written atomically. A killed job resumes when it is started again with the same settings and the same
    input, and the dataset is the same as without the interruption.

    Args:
        source: a file that `read_quotes` reads, or a folder of them; see `find_source`.
        out: folder of the result: a parquet dataset with one row a surface, and in `_quotes` one with a row a quote
            where `settings.quotes` asks for it.
        settings: everything that determines the numbers.
        engine: what runs the job: this process, or with `RayEngine` a Ray cluster. The dataset is the same.
        restart: discard what is in `out`.
        observe: called after every part.
        stop: once it is set, the job ends after the current part.

    Returns:
        What was done, counted by outcome, and the problems of the input.

    Raises:
        ValueError: `settings.free` names what is not a parameter of the model.
        BulkError: the job cannot start or continue: `out` belongs to another job, there is nothing to read, the
            disk is full; Ray cannot be reached.
        OutOfMemoryError: which is a `BulkError` and a `MemoryError`.

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
    _ = settings.spec  # raises
    found = find_source(source)
    target = Path(out)
    _check_apart(found.root, target)
    stopped = stop or threading.Event()
    if not (fingerprint := found.digest(stopped)):
        return summarize([], [], interrupted=True)
    with Store.open(target, _record(found, fingerprint, settings), restart=restart) as store:
        tally = Tally(found.size, observe)
        try:
            engine.run(found, settings, store, tally, stopped)
            summary = summarize(
                store.tables(),
                [*tally.problems, *_changed(found)],
                resumed=tally.progress.resumed,
                damaged=len(store.damaged),
                interrupted=stopped.is_set() and not tally.finished,
            )
            if not summary.interrupted:
                store.finish(summary.record(), summary.problems)
        except MemoryError as error:
            raise OutOfMemoryError(
                f"there is not enough memory ({told(error)}); {len(store.done)} parts are kept: give the command again "
                "where there is more, or start anew with a smaller --part-size"
            ) from None
        except OSError as error:
            raise BulkError(
                f"{target} cannot be written to: {error.strerror or error}; {len(store.done)} parts are kept: the same "
                "command resumes the job"
            ) from None
    return summary


def _record(source: Source, fingerprint: str, settings: Settings) -> dict[str, Any]:
    """What must be the same for a job to resume."""
    given = {"files": len(source.files), "bytes": source.size, "fingerprint": fingerprint}
    return {"version": version("jaxcal"), "settings": settings.record(), "input": given}


def _changed(source: Source) -> list[Problem]:
    """A problem for every file that was changed while the job read it."""
    sentence = "it was changed while the job was at work, which may have read either: begin again with --restart"
    return [Problem(name, "file", sentence) for name in source.changed()]


def _check_apart(source: Path, out: Path) -> None:
    a, b = source.resolve(), out.resolve()
    if b == a or b.is_relative_to(a) or (a.is_dir() and a.is_relative_to(b)):
        raise BulkError(f"the result cannot be written to {out}: it and the input {source} must lie apart")
