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

from jaxcal import _compiling
from jaxcal._compiling import LOGGER, announced
from jaxcal._quick_jit import QuickJit, never
from jaxcal.report.compilation_spinner import CompilationSpinner


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
    assert _compiling._here.timer is None
    assert _compiling._here.what is None
    assert _compiling._at_work == set()


def test_the_cache_is_offered_once_and_only_where_it_is_off(
    said: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_compiling._Said, "offer", False)
    for what, offer in (("a", False), ("b", True), ("c", True)):
        with announced(str):
            _compiling._say(what, offer)
    assert ["enable_compilation_cache()" in message for message in said.messages] == [False, True, False]
    _compiling._at_work.clear()


def test_two_threads_that_compile_the_same_say_it_once(said: pytest.LogCaptureFixture) -> None:
    _compiling._say("the same", False)
    _compiling._say("the same", False)
    assert len(said.messages) == 1
    _compiling._at_work.clear()


@pytest.mark.parametrize(("terminal", "turns"), [(True, True), (True, False), (False, True)])
def test_a_terminal_shows_what_is_compiled_and_a_pipe_nothing(terminal: bool, turns: bool) -> None:
    file = io.StringIO()
    spinner = CompilationSpinner(Console(file=file, force_terminal=terminal, width=100), turns=turns)
    before = LOGGER.level
    LOGGER.addHandler(spinner)
    LOGGER.setLevel(logging.INFO)
    try:
        _compiling._say("Bates, fit", False)
        assert spinner.text == ("compiling Bates, fit, for the first time" if terminal else "")
        _compiling._here.timer = threading.Timer(1.0, print)
        _compiling._here.words = "Bates, fit"
        _compiling._stop(1.0)
        assert spinner.text == ""
    finally:
        LOGGER.removeHandler(spinner)
        LOGGER.setLevel(before)
    assert ("compiling Bates, fit" in file.getvalue()) is terminal
    assert spinner._status is None
