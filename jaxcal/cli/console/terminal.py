"""Terminal: the one way by which anything reaches standard output and standard error.

Whatever data say, a line stays one printable line, and `rich` takes nothing in it for markup. Nothing here ends the
work: a reader that has gone, a full disk behind a redirection or an encoding without a letter cost what is shown, and
never the files that a command writes.
"""

import contextlib
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import typer
from rich.console import Console, RenderableType

from jaxcal._text import printable, shortened

INTERRUPTED = 130  # exit code: what a shell makes of an interrupt
_LONGEST_SENTENCE = 499  # letters of a sentence on standard error
_PIPE_WIDTH = 120  # columns of a table that no terminal shows
_GONE = (errno.EPIPE, errno.EINVAL)  # what a pipe without a reader says, here and on Windows


def say(text: str) -> None:
    """A line on standard output."""
    _write(sys.stdout, text)


def complain(text: str) -> None:
    """A line on standard error."""
    _write(sys.stderr, shortened(printable(text), _LONGEST_SENTENCE))


def show(renderable: RenderableType) -> None:
    """A table, or anything else of `rich`, on standard output."""
    console().print(renderable)


def console(*, error: bool = False) -> Console:
    """A console that takes nothing in a text for markup; on standard error if asked for.

    Example:
        >>> console().print("[red]A[/] :smile:")
        [red]A[/] :smile:
    """
    file: Any = _Stream("stderr" if error else "stdout")
    width = None if file.isatty() or os.environ.get("COLUMNS", "").isdigit() else _PIPE_WIDTH
    return Console(file=file, width=width, markup=False, emoji=False, highlight=False)


def refuse(reason: str) -> NoReturn:
    """End with exit code 2 and one sentence on standard error.

    Example:
        >>> try:
        ...     refuse("there is no such file")
        ... except typer.Exit as end:
        ...     print(end.exit_code)
        2
    """
    complain("jaxcal: " + " ".join(reason.split()))  # messages of other libraries have several lines
    raise typer.Exit(2)


def default_folder(source: Path, what: str) -> Path:
    """The folder for what a command makes of a file or folder, in the working directory.

    Example:
        >>> print(default_folder(Path("quotes/chain.csv.gz"), "fit"))
        chain-fit
    """
    stem = source.name.removesuffix(".gz").rpartition(".")[0] or source.name
    return Path(f"{stem}-{what}")


def write_or_refuse(write: Callable[[Path], dict[str, Path]], folder: Path) -> None:
    """Write files to a folder and say where they are; end with 2 where they cannot be written."""
    try:
        paths = write(folder)
    except OSError as error:
        refuse(f"the files cannot be written to {folder}: {error}")
    for path in paths.values():
        say(f"  {path}")


def prepare_streams() -> None:
    """Let standard output and error hold any text: letters that their encoding lacks become question marks.

    A stream that was closed before the start goes nowhere; else the first file to be opened would take its place.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    streams: tuple[Any, ...] = (sys.stdout, sys.stderr)
    for stream in streams:
        if getattr(stream, "errors", None) in ("strict", "surrogateescape"):
            with contextlib.suppress(AttributeError, OSError, ValueError):  # a stream of another program around this
                stream.reconfigure(errors="replace")


class _Stream:
    """Standard output or error for `rich`, as it is at the moment of writing."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def encoding(self) -> str:
        return getattr(self._target, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        target = self._target
        return target is not None and target.isatty()

    def fileno(self) -> int:
        return self._target.fileno()

    def write(self, text: str) -> int:
        _put(self._target, text)
        return len(text)

    def flush(self) -> None:
        """Every writing is."""

    @property
    def _target(self) -> Any:
        stream = getattr(sys, self._name)
        return getattr(stream, "rich_proxied_file", stream)  # `rich` puts its own in place while it shows a panel


def _write(stream: Any, text: str) -> None:
    _put(stream, printable(text) + "\n")


def _put(stream: Any, text: str) -> None:
    if stream is None:  # a program without a terminal
        return
    try:
        stream.write(text)
        stream.flush()
    except OSError as failure:
        _silence(stream)
        if failure.errno not in _GONE and stream is sys.stdout:
            complain(f"jaxcal: standard output cannot be written to ({failure.strerror}); the work goes on")


def _silence(stream: Any) -> None:
    """Whatever is written to this stream from now on goes nowhere, what it still holds included."""
    with contextlib.suppress(OSError, ValueError):  # a stream without a number
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


@contextlib.contextmanager
def stopped_by_signals(when: str) -> Iterator[threading.Event]:
    """An event that the first interrupt sets; the second one ends the process at once.

    Args:
        when: when the work then stops, for the sentence that says so.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def on_signal(number: int, _: FrameType | None) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)
        complain(f"jaxcal: stopping when {when}; once more stops at once")

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
