"""Tally: the progress of a bulk job."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from jaxcal.bulk.input.input_problem import Problem
from jaxcal.bulk.input.partition import PartitionKey


@dataclass
class Progress:
    """Where a job stands.

    Attributes:
        surfaces: that have a row, those of parts that an earlier run wrote included.
        fresh: of them, those of this run.
        failed: of those, fits that did not converge and surfaces that could not be fitted.
        parts: written.
        resumed: of them, by an earlier run.
        problems: found in the input so far.
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


@dataclass
class Tally:
    """Progress and problems of a run; parts may end in any order.

    Attributes:
        size: bytes of the input.
        observe: called after every part.
        progress: so far.
        finished: whether all parts are done.

    Example:
        >>> tally = Tally(100, lambda progress: print(progress.surfaces, progress.failed, progress.share))
        >>> tally.count(PartitionKey(0, 4, "", bytes_read=50), converged=3)
        4 1 0.5
    """

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

    def count(self, cut: PartitionKey, converged: int | None) -> None:
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
