"""BulkProgress: where a bulk job stands, as a bar on a terminal and as plain lines elsewhere."""

import time

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from jaxcal.bulk.engines.progress import Progress

_SECONDS = 10.0  # between two plain lines


class BulkProgress:
    """An observer of `run_job`, to be used in a `with` statement.

    Example:
        >>> import io
        >>> file = io.StringIO()
        >>> with BulkProgress(Console(file=file)) as observe:
        ...     observe(Progress(surfaces=2048, fresh=1024, failed=3, share=0.5, seconds=2.0, seconds_left=4.0))
        >>> print(file.getvalue().strip())
        50 %: 2,048 surfaces, 512 a second, 3 failed, 0:00:04 left
    """

    def __init__(self, console: Console) -> None:
        """Show it on this console."""
        self._console = console
        self._said = -_SECONDS
        self._bar = Bar(BarColumn(), TextColumn("{task.description}"), console=console, auto_refresh=True)
        self._task = self._bar.add_task("reading", total=1.0)

    def __enter__(self) -> "BulkProgress":
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._bar.stop()

    def __call__(self, progress: Progress) -> None:
        """Show where the job stands."""
        line = progress_line(progress)
        if self._console.is_terminal:
            self._bar.update(self._task, completed=progress.share, description=line)
        elif time.monotonic() - self._said >= _SECONDS:
            self._said = time.monotonic()
            self._console.print(line, highlight=False, soft_wrap=True)


def progress_line(progress: Progress) -> str:
    """Where a job stands, in a line.

    Example:
        >>> progress_line(Progress(surfaces=100, parts=1, resumed=1, share=0.25))
        '25 %: 100 surfaces, all done before'
    """
    p = progress
    words = [f"{p.surfaces:,} surfaces"]
    if p.fresh and p.seconds > 0.0:
        words += [f"{p.fresh / p.seconds:,.0f} a second", f"{p.failed:,} failed"]
    elif p.resumed:
        words.append("all done before")
    if p.problems:
        words.append(f"{p.problems:,} problems in the input")
    if p.seconds_left is not None:
        minutes, seconds = divmod(round(p.seconds_left), 60)
        words.append(f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d} left")
    return f"{100.0 * p.share:.0f} %: {', '.join(words)}"
