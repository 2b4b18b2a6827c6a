"""One Heston fit, side by side.

`python -m benchmarks.speed.one_surface` prints the tables and writes `benchmarks/results/`.

Every runner gets the same quotes and the same start, builds its market objects before the clock starts, and is timed
from the start parameters to the fitted ones. What it found is judged by one reference integral, not by its own prices.
"""

import argparse
import csv
import tempfile
from pathlib import Path
from statistics import median, quantiles

from rich.console import Console
from rich.table import Table

from benchmarks.inputs.surfaces import dax_work, max_relative_error, rmse_vol, synthetic_work
from benchmarks.inputs.work import Work
from benchmarks.instruments import machine
from benchmarks.instruments.timing import Timing, take_turns
from benchmarks.peers import PEERS, Fit, prepare
from benchmarks.speed import cold_start

RESULTS = Path(__file__).resolve().parents[1] / "results"
YARDSTICK = "QuantLib, Analytic"
COLUMNS = (
    "runner",
    "compile s",
    "cold process s",
    "cold, cached s",
    "warm wall ms",
    "CPU ms",
    "steps",
    "RMSE vol pts",
    "max rel. error",
    "QuantLib wall / wall",
    "QuantLib CPU / CPU",
)


def prepare_all(names: list[str], work: Work) -> tuple[dict[str, Fit], dict[str, str]]:
    """The runners that can run, and the reason for each that cannot."""
    fits: dict[str, Fit] = {}
    missing: dict[str, str] = {}
    for name in names:
        try:
            fits[name] = prepare(name, work)
        except ImportError as error:
            missing[name] = str(error)
    return fits, missing


def row(name: str, work: Work, timings: dict[str, Timing], cold: dict[str, tuple[float, ...]]) -> dict[str, str]:
    """One line of the table; an empty cell where a figure was not asked for or does not exist."""
    timing = timings[name]
    parameters = timing.outcome.parameters
    yard = timings.get(YARDSTICK)

    def seconds(key: str) -> str:
        return f"{median(cold[key]):.2f}" if key in cold else ""

    return dict(
        zip(
            COLUMNS,
            (
                name,
                f"{timing.compile:.2f}",
                seconds(name),
                seconds(f"{name}, cached"),
                f"{timing.warm * 1e3:.3g}",
                f"{timing.cpu_seconds * 1e3:.3g}",
                f"{timing.outcome.steps} {timing.outcome.unit}",
                f"{rmse_vol(work, parameters) * 100:.3g}",
                f"{max_relative_error(work, parameters):.1e}",
                f"{yard.warm / timing.warm:.3g}" if yard else "",
                f"{yard.cpu_seconds / timing.cpu_seconds:.3g}" if yard else "",
            ),
            strict=True,
        )
    )


def spread(timings: dict[str, Timing]) -> str:
    """First and third quartile of the wall times of each runner, in milliseconds, and how many fits were timed."""
    parts = []
    for name, timing in timings.items():
        low, _, high = quantiles([1e3 * second for second in timing.wall], n=4) if len(timing.wall) > 1 else [0.0] * 3
        parts.append(f"{name} {low:.3g} to {high:.3g} ({len(timing.wall)} fits)")
    return "; ".join(parts)


def markdown(rows: list[dict[str, str]]) -> str:
    """The rows as a Markdown table."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * len(COLUMNS)]
    lines += ["| " + " | ".join(r[c] for c in COLUMNS) + " |" for r in rows]
    return "\n".join(lines)


def show(console: Console, title: str, rows: list[dict[str, str]]) -> None:
    """Print one surface's table."""
    table = Table(*COLUMNS, title=title)
    for r in rows:
        table.add_row(*(r[c] for c in COLUMNS))
    console.print(table)


def run(names: list[str], rounds: int, cold_repeats: int, out: Path, console: Console) -> None:
    """Measure, print and write `one_surface.md` and `one_surface.csv` into `out`."""
    about = machine.description()
    works = [synthetic_work(), dax_work()]
    text = ["# One Heston surface", "", *(f"- {key}: {value}" for key, value in about.items())]
    lines: list[dict[str, str]] = []
    cold: dict[str, tuple[float, ...]] = {}
    for number, work in enumerate(works):
        fits, missing = prepare_all(names, work)
        for name, reason in missing.items():
            console.print(f"skipped: {name} ({reason})")
        if number == 0 and cold_repeats:
            console.print("cold processes")
            with tempfile.TemporaryDirectory() as folder:
                work_file = Path(folder) / "work.npz"
                work.save(work_file)
                cold = cold_start.measure(list(fits), work_file, cold_repeats)
        timings = take_turns(fits, rounds, console.print)
        rows = [row(name, work, timings, cold if number == 0 else {}) for name in fits]
        show(console, work.name, rows)
        text += ["", f"## {work.name}", "", markdown(rows), "", f"Wall ms, quartiles: {spread(timings)}."]
        text += [f"Skipped: {name} ({reason})." for name, reason in missing.items()]
        lines += [{"surface": work.name, **r} for r in rows]
    if cold:
        ranges = (f"{name} {median(t):.2f} ({min(t):.2f} to {max(t):.2f})" for name, t in cold.items())
        sentence = f"Cold processes, seconds, median (smallest to largest): {'; '.join(ranges)}."
        console.print(sentence)
        text += ["", sentence]
    out.mkdir(parents=True, exist_ok=True)
    (out / "one_surface.md").write_text("\n".join(text) + "\n")
    with (out / "one_surface.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ("surface", *COLUMNS, *about))
        writer.writeheader()
        writer.writerows({**line, **about} for line in lines)
    console.print(f"written: {(out / 'one_surface.md')}")


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(PEERS), choices=list(PEERS), help="runners, default all")
    parser.add_argument("--rounds", type=int, default=7, help="turns each runner gets on each surface")
    parser.add_argument("--cold-repeats", type=int, default=3, help="fresh processes a figure; 0 for none")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    run(arguments.only, arguments.rounds, arguments.cold_repeats, arguments.out, Console(width=160))


if __name__ == "__main__":
    main()
