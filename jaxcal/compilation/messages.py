"""A compilation that takes a while says so: to the logger "jaxcal", before a person wonders why nothing happens."""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import jax.monitoring

LOGGER = logging.getLogger("jaxcal")
_OFFER = (
    " Call jc.enable_compilation_cache() at the start of a program, and later processes need not compile it again; "
    "docs/first_call.md says more."
)
# Events of JAX: a program has been lowered, which comes just before it is compiled or read from disk; it is there; it
# was read from disk.
_LOWERED, _THERE = "/jax/core/compile/jaxpr_to_mlir_module_duration", "/jax/core/compile/backend_compile_duration"
_FROM_DISK = "/jax/compilation_cache/cache_hits"
_SOON = 0.2  # seconds after the lowering: what is compiled by then is not worth a word
_DISK = 1.0  # the same where JAX may find the program on disk, which takes up to about that long
_PATIENCE = 1.0  # seconds that a call waits for a handler to have said its last word


class _Here(threading.local):
    """What this thread is about."""

    what: Callable[[], str] | None = None
    notice: "_Notice | None" = None
    read_from_disk = 0


class Programs(NamedTuple):
    """Of this process so far: how many were compiled, and how many read from disk."""

    compiled: int
    read: int


class _Said:
    offer = False


class _Counted:
    there = 0  # by JAX, compiled or read
    read_by_jax = 0
    read_by_us = 0


_here, _lock = _Here(), threading.Lock()
_at_work: set[str] = set()


@contextmanager
def announced(what: Callable[[], str]) -> Iterator[None]:
    """If something is compiled meanwhile for longer than a moment, the logger is told what: a warning when it has
    become clear, since nothing less is shown by default, and an `INFO` when it is done.
    """
    before, _here.what = _here.what, what
    try:
        yield
    finally:
        _here.what = before
        _stop()


def describe(task: str, args: Any) -> str:
    """Words for the program of a task: of which model, for arrays of which shape.

    Example:
        >>> import numpy as np
        >>> import jaxcal as jc
        >>> describe("fit", (jc.BlackScholes(0.2), np.zeros((8, 16))))
        'BlackScholes, fit for arrays of 8 x 16'
    """
    model = next((type(arg).__name__ for arg in args if hasattr(type(arg), "bounds")), "a program")
    shapes = [leaf.shape for leaf in jax.tree.leaves(args) if getattr(leaf, "shape", ())]
    largest = max(shapes, key=lambda shape: (len(shape), shape), default=())
    return f"{model}, {task}" + (f" for arrays of {' x '.join(map(str, largest))}" if largest else "")


def num_read_from_disk() -> int:
    """How many programs JAX has read from its cache on disk in this thread."""
    return _here.read_from_disk


def num_programs() -> Programs:
    """How many programs this process has compiled, and how many it has read from disk; those of others included."""
    return Programs(_Counted.there - _Counted.read_by_jax, _Counted.read_by_jax + _Counted.read_by_us)


def count_read() -> None:
    """A program was read from disk without JAX."""
    with _lock:
        _Counted.read_by_us += 1


class _Notice:
    """Of one compilation: that it takes a while, and that it is over. A thread of its own says both, in this order: a
    handler may wait for a lock that the compiling thread holds, by a call of this library too.
    """

    def __init__(self, what: str, delay: float, offer: bool) -> None:
        self._what, self._delay, self._offer = what, delay, offer
        self._over = threading.Event()
        self._seconds: float | None = None
        self._thread = threading.Thread(target=self._speak, daemon=True)
        with contextlib.suppress(RuntimeError):  # no thread can be started when Python is about to end
            self._thread.start()

    def end(self, seconds: float | None) -> None:
        """It took so many seconds; or was interrupted."""
        self._seconds = seconds
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(_PATIENCE)

    def _speak(self) -> None:
        if self._over.wait(self._delay):
            return
        what = self._what
        with _lock:
            if what in _at_work:  # another thread says it
                return
            _at_work.add(what)
            offer = self._offer and not _Said.offer
            _Said.offer |= offer
        try:
            words = "compiling %s, for the first time. This takes seconds, the next such call milliseconds.%s"
            LOGGER.warning(words, what, _OFFER if offer else "", extra={"compiling": what})
            self._over.wait()
        finally:
            with _lock:
                _at_work.discard(what)
        if self._seconds is None:
            LOGGER.info("did not finish compiling %s", what, extra={"compiled": what})
        else:
            LOGGER.info("compiled %s, in %.1f s", what, self._seconds, extra={"compiled": what})


def _on_duration(event: str, duration_secs: float, **_: Any) -> None:
    if event == _LOWERED and _here.what is not None and _here.notice is None:
        folder: str | None = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
        _here.notice = _Notice(_here.what(), _DISK if folder else _SOON, offer=folder is None)
    elif event == _THERE:
        with _lock:
            _Counted.there += 1
        _stop(duration_secs)


def _on_event(event: str, **_: Any) -> None:
    if event == _FROM_DISK:
        _here.read_from_disk += 1
        with _lock:
            _Counted.read_by_jax += 1


def _stop(seconds: float | None = None) -> None:
    notice, _here.notice = _here.notice, None
    if notice is not None:
        notice.end(seconds)


jax.monitoring.register_event_duration_secs_listener(_on_duration)
jax.monitoring.register_event_listener(_on_event)
