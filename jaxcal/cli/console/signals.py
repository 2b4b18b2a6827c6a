"""stopped_by_signals: an interrupt that ends a command between two pieces of its work, so that what is done is kept."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from jaxcal.cli.console.terminal import complain

INTERRUPTED = 130  # exit code: what a shell makes of an interrupt


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
