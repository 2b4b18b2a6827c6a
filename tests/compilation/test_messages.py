"""What is said while something compiles: of what takes long, once, and of nothing else."""

import io
import logging
import threading
import time
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from jaxcal.cli.console.compilation_spinner import CompilationSpinner
from jaxcal.compilation import messages as _compiling
from jaxcal.compilation.messages import LOGGER
from jaxcal.compilation.quick_jit import QuickJit, never


def slow(seed: float, **options: Any) -> QuickJit:
    """A program that no cache has, of kernels that are all different."""

    def several(x: Any) -> Any:
        for i in range(40):
            x = jnp.sort(jnp.sin(x * (seed + i)) + x[: 1 + i].sum() * (x.shape[0] - i))
        return x

    return QuickJit(several, small=never, task="fit", **options)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(_compiling, "_DISK", 0.0)
    caplog.set_level(logging.INFO, "jaxcal")
    return caplog


def test_a_compilation_is_announced_and_a_warm_call_is_not(said: pytest.LogCaptureFixture) -> None:
    program = slow(time.time())
    x = np.linspace(0.0, 1.0, 64)
    first = program(x)
    levels = [
        (record.levelname, record.getMessage().split(", for the first")[0].split(", in ")[0]) for record in said.records
    ]
    what = "a program, fit for arrays of 64"
    assert levels == [("WARNING", f"compiling {what}"), ("INFO", f"compiled {what}")]
    said.clear()
    assert np.array_equal(program(x), first)
    assert said.records == []
    program(x[:32])  # another shape
    assert [record.levelname for record in said.records] == ["WARNING", "INFO"]


def test_nothing_is_said_of_what_is_there_in_a_moment(
    said: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_compiling, "_DISK", 60.0)
    slow(time.time())(np.ones(48))
    assert said.records == []


def test_programs_of_others_are_none_of_our_business(said: pytest.LogCaptureFixture) -> None:
    import jax

    jax.jit(slow(time.time()).__wrapped__)(np.ones(48))
    assert said.records == []


def test_a_function_that_fails_leaves_no_message_behind(said: pytest.LogCaptureFixture) -> None:
    def failing(x: Any) -> Any:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        QuickJit(failing)(1.0)
    assert _compiling._here.notice is None
    assert _compiling._here.what is None
    assert _compiling._at_work == set()


def spoken(what: str, seconds: float | None = 1.0, *, offer: bool = False) -> None:
    """All that is said of a compilation which takes long."""
    notice = _compiling._Notice(what, 0.0, offer)
    begun(what)
    notice.end(seconds)
    notice._thread.join()


def begun(what: str) -> None:
    deadline = time.monotonic() + 10.0
    while what not in _compiling._at_work:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_the_cache_is_offered_once_and_only_where_it_is_off(
    said: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_compiling._Said, "offer", False)
    for what, offer in (("a", False), ("b", True), ("c", True)):
        spoken(what, offer=offer)
    warnings = [record for record in said.records if record.levelname == "WARNING"]
    assert ["enable_compilation_cache()" in each.getMessage() for each in warnings] == [False, True, False]


def test_two_threads_that_compile_the_same_say_it_once(said: pytest.LogCaptureFixture) -> None:
    first = _compiling._Notice("the same", 0.0, False)
    begun("the same")
    second = _compiling._Notice("the same", 0.0, False)
    second._thread.join(10.0)
    assert not second._thread.is_alive()
    second.end(1.0)
    assert len(said.messages) == 1
    first.end(1.5)
    first._thread.join()
    assert said.messages[1:] == ["compiled the same, in 1.5 s"]
    assert _compiling._at_work == set()


def test_what_was_interrupted_is_not_called_compiled(said: pytest.LogCaptureFixture) -> None:
    spoken("Bates, fit", None)
    assert said.messages[1:] == ["did not finish compiling Bates, fit"]


def test_what_is_over_before_its_time_leaves_no_message(said: pytest.LogCaptureFixture) -> None:
    for delay in (0.001, 0.002, 0.003) * 20:  # about when it ends
        notice = _compiling._Notice("a race", delay, False)
        time.sleep(0.002)
        notice.end(0.0)
        notice._thread.join(10.0)
    assert said.messages[::2] == [m for m in said.messages if m.startswith("compiling")]
    assert said.messages[1::2] == [m for m in said.messages if m.startswith("compiled")]
    assert _compiling._at_work == set()


class Waiting(logging.Handler):
    """It needs a lock that the caller of the library holds meanwhile."""

    def __init__(self, lock: Any) -> None:
        super().__init__()
        self.wanted, self.heard = lock, []

    def emit(self, record: logging.LogRecord) -> None:
        with self.wanted:
            self.heard.append(record.levelname)


def test_a_handler_that_waits_for_the_caller_does_not_stop_it(
    said: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_compiling, "_PATIENCE", 0.05)
    lock = threading.Lock()
    handler = Waiting(lock)
    LOGGER.addHandler(handler)
    try:
        with lock:
            notice = _compiling._Notice("Bates, fit", 0.0, False)
            begun("Bates, fit")
            notice.end(1.0)
            assert handler.heard == []
        notice._thread.join(10.0)
        assert handler.heard == ["WARNING", "INFO"]
    finally:
        LOGGER.removeHandler(handler)


@pytest.mark.parametrize(("terminal", "turns"), [(True, True), (True, False), (False, True)])
def test_a_terminal_shows_what_is_compiled_and_a_pipe_nothing(terminal: bool, turns: bool) -> None:
    file = io.StringIO()
    spinner = CompilationSpinner(Console(file=file, force_terminal=terminal, width=100), turns=turns)
    before = LOGGER.level
    LOGGER.addHandler(spinner)
    LOGGER.setLevel(logging.INFO)
    try:
        LOGGER.warning("", extra={"compiling": "Bates, fit"})
        assert spinner.text == ("compiling Bates, fit, for the first time" if terminal else "")
        LOGGER.info("", extra={"compiled": "Bates, fit"})
        assert spinner.text == ""
        spoken("Bates, fit")
        assert spinner.text == ""
    finally:
        LOGGER.removeHandler(spinner)
        LOGGER.setLevel(before)
    assert ("compiling Bates, fit" in file.getvalue()) is terminal
    assert spinner._status is None
