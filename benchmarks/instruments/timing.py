"""Timing of several runners that take turns in one process."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from benchmarks.peers import Fit, Outcome

TURN_SECONDS = 0.3  # a turn repeats a fast fit for about this long, so that it is not timed with another's cold caches


@dataclass(frozen=True)
class Timing:
    """One runner on one surface: seconds of the `first` fit, `wall` and `cpu` of every later one, what it found."""

    first: float
    wall: tuple[float, ...]
    cpu: tuple[float, ...]
    outcome: Outcome

    @property
    def warm(self) -> float:
        """Median wall seconds of a fit once everything is compiled."""
        return median(self.wall)

    @property
    def cpu_seconds(self) -> float:
        """Median CPU seconds of a fit, all threads of the process together."""
        return median(self.cpu)

    @property
    def compile(self) -> float:
        """Seconds the first fit took beyond a warm one."""
        return max(self.first - self.warm, 0.0)


def first_fit(fit: Fit) -> tuple[float, Outcome]:
    """Seconds of the first fit, with all that is compiled in it, and its outcome."""
    began = time.perf_counter()
    outcome = fit()
    return time.perf_counter() - began, outcome


def turn(fit: Fit, wall: list[float], cpu: list[float]) -> None:
    """One untimed fit to warm the caches, then timed ones for `TURN_SECONDS`, at least one."""
    fit()
    end = time.perf_counter() + TURN_SECONDS
    while True:
        began, began_cpu = time.perf_counter(), time.process_time()
        fit()
        cpu.append(time.process_time() - began_cpu)
        wall.append(time.perf_counter() - began)
        if time.perf_counter() > end:
            return


def take_turns(fits: dict[str, Fit], rounds: int, say: Callable[[str], None]) -> dict[str, Timing]:
    """Time each fit's first call, then `rounds` rounds in which all take a turn, every other round backwards."""
    firsts: dict[str, tuple[float, Outcome]] = {}
    for name, fit in fits.items():
        say(f"first fit: {name}")
        firsts[name] = first_fit(fit)
    wall: dict[str, list[float]] = {name: [] for name in fits}
    cpu: dict[str, list[float]] = {name: [] for name in fits}
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        for name in list(fits)[:: 1 if number % 2 == 0 else -1]:
            turn(fits[name], wall[name], cpu[name])
    return {n: Timing(firsts[n][0], tuple(wall[n]), tuple(cpu[n]), firsts[n][1]) for n in fits}
