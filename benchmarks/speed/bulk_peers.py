"""Many surfaces, jaxcal against the peers: same surfaces, same starts, one run, turns in one process."""

import time
from collections.abc import Callable
from statistics import median

import numpy as np

import jaxcal as jc
from benchmarks.inputs.many_surfaces import Many, many, parameters_of, works
from benchmarks.inputs.work import Work
from benchmarks.peers import prepare

PRECISIONS = ("float64", "float32", "mixed")
ONE_BY_ONE = ("QuantLib, Analytic", "fourier-option-pricer", "scipy LM")
TOGETHER = "optimistix LM, vmap"
YARDSTICK = "QuantLib, Analytic"

Row = dict[str, object]
Run = Callable[[], np.ndarray]  # parameters [B, 5]


def peers_part(size: int, peer_size: int, rounds: int, say: Callable[[str], None]) -> list[Row]:
    """A row a runner. jaxcal fits all `size` surfaces in a batch and finds its own starts within the time; a peer fits
    the first `peer_size` of them and gets the starts. Seconds are the medians over the turns.
    """
    say(f"exact volatilities of {size} surfaces")
    surfaces = many(size)
    runs, steps = _own(surfaces)
    counts = dict.fromkeys(runs, size)
    for name, run in _peers(works(surfaces, peer_size), say).items():
        runs[name], counts[name] = run, peer_size
    found, first = {}, {}
    for name, run in runs.items():
        say(f"first run: {name}")
        began = time.perf_counter()
        found[name], first[name] = run(), time.perf_counter() - began
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        for name in list(runs)[:: 1 if number % 2 == 0 else -1]:
            # what compiled code fits in a second is repeated, so that it is not timed with another's cold caches
            for _ in range(3 if name.startswith("jaxcal") else 1):
                began, began_cpu = time.perf_counter(), time.process_time()
                runs[name]()
                seconds[name].append((time.perf_counter() - began, time.process_time() - began_cpu))
    cpu = {name: median(c for _, c in times) / counts[name] for name, times in seconds.items()}
    rows: list[Row] = []
    for name, times in seconds.items():
        wall = median(w for w, _ in times) / counts[name]
        row: Row = {
            "part": "peers", "row": name, "surfaces": counts[name], "quotes": surfaces.vol[0].size,
            "surfaces/s": 1.0 / wall, "CPU ms": 1e3 * cpu[name], "first s": first[name],
            "recovered": float(np.mean(surfaces.recovered(found[name]))),
        }  # fmt: skip
        if name in steps:
            row |= {"mean steps": steps[name].mean(), "most steps": int(steps[name].max())}
        rows.append(row | {f"{yard} CPU / CPU": cpu[yard] / cpu[name] for yard in ONE_BY_ONE[:2] if yard in cpu})
    for yard in ONE_BY_ONE[:2]:
        if yard in cpu:
            say(f"CPU seconds of {yard} / those of jaxcal, float64: {cpu[yard] / cpu['jaxcal, float64']:.1f}")
    return rows


def _own(surfaces: Many) -> tuple[dict[str, Run], dict[str, np.ndarray]]:
    """jaxcal in every precision; the steps of the last run of each."""
    batch, steps = surfaces.surface(), {}

    def of(precision: str) -> Run:
        def run() -> np.ndarray:
            fits = jc.calibrate_many(jc.Heston, batch, precision=precision)  # pyright: ignore[reportArgumentType]
            steps[f"jaxcal, {precision}"] = fits.num_steps
            return parameters_of(fits.model)

        return run

    return {f"jaxcal, {precision}": of(precision) for precision in PRECISIONS}, steps


def _peers(given: list[Work], say: Callable[[str], None]) -> dict[str, Run]:
    runs: dict[str, Run] = {}
    for name in ONE_BY_ONE:
        try:
            fits = [prepare(name, work) for work in given]
        except ImportError as error:
            say(f"skipped: {name} ({error})")
            continue

        def run(fits: list = fits) -> np.ndarray:
            found = np.full((len(fits), 5), np.nan)
            for i, fit in enumerate(fits):
                try:
                    found[i] = fit().parameters
                except (RuntimeError, ValueError):  # a peer that gives up on a surface has not recovered it
                    continue
            return found

        runs[name] = run
    try:
        from benchmarks.peers.optimistix_many import ManyFits

        runs[TOGETHER] = ManyFits(given)
    except ImportError as error:
        say(f"skipped: {TOGETHER} ({error})")
    return runs
