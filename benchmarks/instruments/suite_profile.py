"""What the tests compile: a pytest plugin that counts programs and CPU seconds, by test file and by program.

`python -m pytest -p benchmarks.instruments.suite_profile PATHS` puts the files that ran into
`results/suite_profile.csv`, the heaviest first, and writes their programs to `suite_programs.csv` beside it. The
figures are those of a cold cache where the cache is cold: `JAXCAL_TEST_CACHE=FOLDER` names an empty one.
"""

import csv
import os
import time
from collections import defaultdict
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import pytest

RESULTS = Path(__file__).parents[1] / "results"
BY_FILE = ("file", "tests", "compiled", "read", "xla", "trace", "rest")
BY_PROGRAM = ("program", "times", "xla")
_COMPILED = "/jax/core/compile/backend_compile_duration"
_TRACED = ("/jax/core/compile/jaxpr_trace_duration", "/jax/core/compile/jaxpr_to_mlir_module_duration")
_READ = "/jax/compilation_cache/cache_hits"


_Totals = defaultdict[str, float]


@dataclass
class _Meter:
    """CPU seconds by what they went to, since the last look."""

    spent: _Totals = field(default_factory=lambda: defaultdict(float))
    times: _Totals = field(default_factory=lambda: defaultdict(float))  # by program
    xla: _Totals = field(default_factory=lambda: defaultdict(float))
    open: list[float] = field(default_factory=list)  # when each span now open began, moved by what went to inner ones
    last: float = field(default_factory=lambda: _cpu_seconds())

    def begin(self, event: str, value: float, **about: Any) -> None:
        if event == _COMPILED or event in _TRACED:
            self.open.append(time.process_time())

    def end(self, event: str, start_time: float, end_time: float, **about: Any) -> None:
        if (event == _COMPILED or event in _TRACED) and self.open:
            seconds = time.process_time() - self.open.pop()
            self.open = [begun + seconds for begun in self.open]
            self.spent["xla" if event == _COMPILED else "trace"] += seconds
            if event == _COMPILED:
                name = str(about.get("fun_name", "?"))
                self.times[name] += 1
                self.xla[name] += seconds

    def count(self, event: str, **about: Any) -> None:
        self.spent["read"] += event == _READ

    def look(self) -> dict[str, dict[str, float]]:
        """What came since the last look, in a form that travels between processes."""
        now = _cpu_seconds()
        self.spent["rest"] = now - self.last - self.spent["xla"] - self.spent["trace"]
        self.spent["compiled"] = sum(self.times.values()) - self.spent["read"]
        found = {"spent": dict(self.spent), "times": dict(self.times), "xla": dict(self.xla)}
        self.last = now
        for counts in (self.spent, self.times, self.xla):
            counts.clear()
        return found


def _cpu_seconds() -> float:
    """Of this process and of those that it has started and seen end."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


_METER = _Meter()
_FILES: dict[str, _Totals] = {}
_PROGRAMS: dict[str, _Totals] = {"times": defaultdict(float), "xla": defaultdict(float)}


def pytest_configure(config: pytest.Config) -> None:
    jax.monitoring.register_scalar_listener(_METER.begin)
    jax.monitoring.register_event_time_span_listener(_METER.end)
    jax.monitoring.register_event_listener(_METER.count)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    _METER.look()
    return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    if call.when == "teardown":  # the report takes it to the process that writes the tables
        item.user_properties.append((__name__, _METER.look()))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    for name, found in report.user_properties if report.when == "teardown" else ():
        if name == __name__:
            assert isinstance(found, dict)
            row = _FILES.setdefault(report.nodeid.partition("::")[0], defaultdict(float))
            _add(row, {"tests": 1.0, **found["spent"]})
            for column, total in _PROGRAMS.items():
                _add(total, found[column])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    files, programs = RESULTS / "suite_profile.csv", RESULTS / "suite_programs.csv"
    rows = {}
    if files.exists():
        with files.open(newline="") as file:
            rows = {row["file"]: {name: float(row[name]) for name in BY_FILE[1:]} for row in csv.DictReader(file)}
    rows = {name: row for name, row in rows.items() if Path(terminalreporter.config.rootpath, name).exists()} | _FILES
    heaviest = sorted(rows.items(), key=lambda row: -sum(row[1][name] for name in BY_FILE[4:]))
    numbers = {name: [f"{row[c]:.{int(c in BY_FILE[4:])}f}" for c in BY_FILE[1:]] for name, row in heaviest}
    _write(files, BY_FILE, ([name, *shown] for name, shown in numbers.items()))
    times, xla = _PROGRAMS["times"], _PROGRAMS["xla"]
    _write(
        programs,
        BY_PROGRAM,
        ([name, f"{times[name]:.0f}", f"{cpu:.2f}"] for name, cpu in sorted(xla.items(), key=lambda item: -item[1])),
    )
    total: _Totals = defaultdict(float)
    for row in _FILES.values():
        _add(total, row)
    ran = [(name, row) for name, row in heaviest if name in _FILES]
    for name, row in [*ran[:20], (f"all {len(ran)} files", total)]:
        terminalreporter.write_line(
            f"{name}: {row['tests']:.0f} tests, {row['compiled']:.0f} programs compiled, {row['read']:.0f} read; "
            f"CPU seconds: {row['xla']:.1f} XLA, {row['trace']:.1f} tracing, {row['rest']:.1f} the rest"
        )


def _add(total: _Totals, more: Mapping[str, float]) -> None:
    for name, value in more.items():
        total[name] += value


def _write(path: Path, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    with path.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(columns)
        table.writerows(rows)
